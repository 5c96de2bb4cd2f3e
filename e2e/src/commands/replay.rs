//! `mesh explain --replay`: the explanation beside what a mesh really does with the same request.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use policy::{Explanation, Token, Workload};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use token_client::batch;

use harness::asking::Asker;
use harness::case::StageName;
use harness::output::{print, print_line};
use harness::poll::Timeouts;
use harness::redact::redact;
use harness::report::table;
use harness::rules::prediction::{self, Pair};
use harness::rules::{Rules, Sent, fetch_keys};
use harness::stage::Stage;
use harness::suite::{Caller, Suite};
use harness::verdict::excerpt;

use super::explain::{Explain, ExplainOutput, exit, style};

/// A request that can be both explained and sent.
struct Sendable {
    caller: Caller,
    request: batch::Request,
    /// When its token was made.
    at: Timestamp,
    workload: Workload,
    port: Option<u16>,
}

/// What came of the request, beside what was to come.
#[derive(Serialize)]
struct Replay {
    stage: StageName,
    caller: String,
    request_id: String,
    pairs: Vec<Pair>,
    /// What the pairs that do not agree are about.
    differs_in: Vec<&'static str>,
}

#[derive(Serialize)]
struct Output<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<Replay>,
}

impl Explain {
    /// Explains with the keys of a mesh that stands, and asks it as well if it
    /// is to be a replay.
    pub async fn run_on_stage(&self) -> Result<ExitCode> {
        let timeouts = Timeouts::default();
        let suite = self.scene.suite()?.context("there is no suite")?;
        let suite = &suite;
        let stage = self.place.open(suite, &timeouts).await?;
        let stage: &dyn Stage = &*stage;
        let asker = Asker::new(suite, stage, &timeouts).await?;
        let manifests = self.scene.manifests(Some(suite))?;
        let question = self.question(suite, &asker).await?;
        let mut keys = fetch_keys(suite, stage, &manifests).await?;
        keys.extend(self.scene.keys()?);
        let rules = Rules {
            mesh: self.scene.mesh(Some(suite)),
            manifests,
            keys,
            ..Rules::read(suite, suite.usual_profile())?
        };
        let seen = if self.replay {
            Some(
                asker
                    .ask_one(&question.caller.name, &question.request)
                    .await?,
            )
        } else {
            None
        };
        let record = seen.as_ref().and_then(|(_, record)| record.as_ref());
        let sent = Sent {
            caller: &question.caller,
            source_ip: Some(stage.address_of(&question.caller.name)?),
            request: &question.request,
            at: record.map_or(question.at, |record| record.start_time),
        };
        let explanation = rules.explain_to(&question.workload, question.port, sent)?;
        let replay = seen.as_ref().map(|(answer, _)| {
            let pairs = prediction::pairs(&explanation, answer, record);
            Replay::new(stage.name(), &question, pairs)
        });
        let differs = replay.as_ref().is_some_and(|it| !it.differs_in.is_empty());
        self.print(&Output {
            explanation: &explanation,
            replay,
        })?;
        Ok(if differs {
            ExitCode::from(1)
        } else {
            exit(&explanation)
        })
    }

    async fn question(&self, suite: &Suite, with: &Asker<'_>) -> Result<Sendable> {
        if let Some(name) = &self.case {
            let case = suite.cases.find(name)?;
            let prepared = with.prepare(case).await?;
            let asked = suite.serving(&case.request.host);
            let asked =
                asked.with_context(|| format!("no workload is behind `{}`", case.request.host))?;
            return Ok(Sendable {
                caller: suite.caller(&case.caller)?.clone(),
                request: prepared.request,
                at: prepared.minted_at,
                workload: asked.workload(),
                port: asked.port,
            });
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut headers = vec![("x-request-id".to_owned(), id.clone())];
        headers.extend(self.headers.iter().cloned());
        match self.token()? {
            Token::Bearer(token) => {
                let value = format!("Bearer {}", token.expose_secret());
                headers.push(("authorization".to_owned(), value));
            }
            Token::None => {}
            Token::Unknown => {
                bail!("what is to be sent? give --token-file FILE, --no-token or --case NAME");
            }
        }
        let (workload, port) = self.asked_workload(Some(suite))?;
        let service = || match &self.workload {
            Some(name) => format!("{name}.{}.svc.cluster.local", workload.namespace),
            None => suite.request.host.clone(),
        };
        let host = self.host.clone().unwrap_or_else(service);
        let path = self.asked_path(Some(suite));
        let request = batch::Request {
            method: self.method.clone(),
            headers,
            ..batch::Request::get(id, format!("http://{host}{path}"))
        };
        let caller = match &self.caller {
            Some(name) => suite.caller(name)?,
            None => suite.usual_caller(),
        };
        Ok(Sendable {
            caller: caller.clone(),
            request,
            at: Timestamp::now(),
            workload,
            port,
        })
    }

    fn print(&self, output: &Output<'_>) -> Result<()> {
        if self.output == ExplainOutput::Json {
            print_line(serde_json::to_string_pretty(output)?)?;
            return Ok(());
        }
        print(output.explanation.render(style()))?;
        if let Some(replay) = &output.replay {
            print_line(format!("\n{}", replay.render()))?;
        }
        Ok(())
    }
}

impl Replay {
    fn new(stage: StageName, question: &Sendable, pairs: Vec<Pair>) -> Self {
        let differing = pairs.iter().filter(|pair| !pair.agrees());
        let differs_in = differing.map(|pair| pair.about).collect();
        let shown = |text: &String| excerpt(&redact(text));
        Self {
            stage,
            caller: question.caller.name.clone(),
            request_id: question.request.id.clone(),
            pairs: pairs
                .into_iter()
                .map(|pair| Pair {
                    predicted: pair.predicted.as_ref().map(shown),
                    seen: shown(&pair.seen),
                    ..pair
                })
                .collect(),
            differs_in,
        }
    }

    fn render(&self) -> String {
        let mut table = table::empty(["", "", "predicted", "seen"]);
        for pair in &self.pairs {
            let mark = if self.differs_in.contains(&pair.about) {
                "✗"
            } else {
                "✓"
            };
            let predicted = pair.predicted.as_deref().unwrap_or("(the app's own)");
            table.add_row([mark, pair.about, predicted, &pair.seen]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 1));
        }
        let verdict = if self.differs_in.is_empty() {
            "equal: the mesh did what was predicted".to_owned()
        } else {
            format!(
                "DIFFERENT in {}: other manifests are in force than these, or the model is \
                 wrong; `mesh verify` tells which",
                self.differs_in.join(", ")
            )
        };
        format!(
            "replayed on stage {} from {}, request id {}\n\n{}\n\n{verdict}",
            self.stage,
            self.caller,
            self.request_id,
            table.trim_fmt()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl";

    fn replay(status: &str) -> Replay {
        let asked = Sendable {
            caller: Caller {
                name: "frontend".to_owned(),
                namespace: "demo".to_owned(),
                account: "frontend".to_owned(),
                deployment: "caller-frontend".to_owned(),
                has_sidecar: true,
            },
            request: batch::Request::get("4f2c", "http://backend.demo/data"),
            at: Timestamp::UNIX_EPOCH,
            workload: Workload::app("demo", "backend"),
            port: Some(8080),
        };
        let pair = |about, predicted: Option<&str>, seen: &str| Pair {
            about,
            predicted: predicted.map(str::to_owned),
            seen: seen.to_owned(),
        };
        let pairs = vec![
            pair("status", Some("401"), status),
            pair("body", None, &format!("you sent {JWT}")),
        ];
        Replay::new(StageName::Kind, &asked, pairs)
    }

    #[test]
    fn prediction_and_evidence_stand_side_by_side() {
        let text = replay("401").render();
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines[0],
            "replayed on stage kind from frontend, request id 4f2c"
        );
        assert_eq!(lines[4], "✓  status  401              401");
        assert!(
            lines[5].starts_with("✓  body    (the app's own)  you sent "),
            "{text}"
        );
        assert_eq!(
            lines.last(),
            Some(&"equal: the mesh did what was predicted")
        );
    }

    #[test]
    fn what_differs_is_marked_and_named() {
        let text = replay("200").render();
        assert!(text.contains("✗  status"), "{text}");
        assert!(text.contains("DIFFERENT in status: "), "{text}");
    }

    #[test]
    fn token_that_came_back_is_not_shown() {
        let json = serde_json::to_string(&replay("200")).unwrap();
        assert!(!json.contains("eyJ") && json.contains("redacted"), "{json}");
    }
}
