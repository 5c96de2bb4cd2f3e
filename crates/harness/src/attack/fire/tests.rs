//! Counter-proofs: meshes that are broken in one way, played by a stage of lines,
//! and the project's own corpus, which must be red.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use token_client::batch::{self, Outcome as Sent, Response};

use async_trait::async_trait;

use super::super::{AppLine, Origin, Sent as Request, Target};
use super::*;
use crate::case::StageName;
use crate::poll::Timeouts;
use crate::rules::Rules;
use crate::secrets::RealmSecrets;
use crate::suite::Suite;
use crate::workspace;

/// What is wrong with a mesh.
#[derive(Clone, Copy, PartialEq)]
enum Broken {
    /// Every request reaches the application.
    Open,
    /// No request reaches it, not even a good one.
    Shut,
    /// Nothing that the application logs can be read.
    Unheard,
    /// The proxies record nothing.
    Unrecorded,
    /// Refusals are in order, and the application hears of something else.
    Leaking,
}

struct Play {
    broken: Broken,
    secrets: RealmSecrets,
    evidence: Mutex<Evidence>,
    lines: Mutex<Vec<AppLine>>,
}

impl Play {
    fn new(broken: Broken, suite: &Suite) -> Self {
        Self {
            broken,
            secrets: RealmSecrets::generate(suite).unwrap(),
            evidence: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    fn record(&self, id: &str, status: u16, details: &str) {
        if self.broken == Broken::Unrecorded {
            return;
        }
        let record = json!({
            "start_time": "2026-11-24T08:00:00Z",
            "request_id": id,
            "response_code": status,
            "response_code_details": details,
            "upstream_cluster": "inbound|8080||",
        });
        self.evidence
            .lock()
            .unwrap()
            .read([record.to_string().as_str()]);
    }

    fn log(&self, at: &str, id: &str) {
        if self.broken == Broken::Unheard {
            return;
        }
        let span = json!({"request_id": id, "method": "GET", "path": "/data"});
        let text = json!({"status": 200, "span": span}).to_string();
        let at = at.to_owned();
        self.lines.lock().unwrap().push(AppLine { at, text });
    }
}

/// The 32 digits of the request id, wherever they are.
fn id_in(bytes: &[u8]) -> String {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_id = |window: &&[u8]| {
        window.iter().all(is_digit) && window.iter().any(|byte| *byte != window[0])
    };
    let id = bytes.windows(32).find(is_id);
    id.map_or_else(String::new, |id| String::from_utf8_lossy(id).into_owned())
}

#[async_trait(?Send)]
impl Stage for Play {
    fn name(&self) -> StageName {
        StageName::Local
    }

    fn place(&self) -> String {
        "--stage local".to_owned()
    }

    fn versions(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    async fn secrets(&self) -> Result<RealmSecrets> {
        Ok(self.secrets.clone())
    }

    async fn apply(&self, _: &Rules) -> Result<()> {
        Ok(())
    }

    /// Grants every token.
    async fn ask(
        &self,
        _: &str,
        requests: &[batch::Request],
    ) -> Result<HashMap<String, batch::Answer>> {
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let answer = |request: &batch::Request| {
            let token = format!(
                "{}.{}.c2ln",
                encode(json!({"alg": "RS256", "kid": "k"})),
                encode(json!({"sub": "1"}))
            );
            let body = json!({"access_token": token, "refresh_token": token}).to_string();
            let answer = batch::Answer {
                id: Some(request.id.clone()),
                outcome: Sent::Response(Response {
                    status: 200,
                    headers: Vec::new(),
                    body,
                }),
                elapsed_ms: 0,
            };
            (request.id.clone(), answer)
        };
        Ok(requests.iter().map(answer).collect())
    }

    fn evidence(&self) -> Evidence {
        self.evidence.lock().unwrap().clone()
    }

    fn address_of(&self, _: &str) -> Result<IpAddr> {
        Ok([127, 0, 0, 1].into())
    }

    fn cannot_attack(&self, _: &Origin, _: &Request) -> Option<String> {
        None
    }

    async fn attack(&self, shot: &Shot) -> Result<RawAnswer> {
        let id = id_in(&shot.bytes);
        let status = if self.broken == Broken::Open {
            self.record(&id, 200, "via_upstream");
            self.log(&shot.to.name, &id);
            200
        } else {
            self.record(&id, 401, "lua_response");
            401
        };
        if self.broken == Broken::Leaking {
            self.log(&shot.to.name, "a request that nobody sent");
        }
        Ok(RawAnswer {
            local: None,
            local_at_own_proxy: None,
            bytes: format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").into_bytes(),
            closed: Some("end of stream".to_owned()),
        })
    }

    async fn refused_connections(&self, _: &Target) -> Result<Option<u64>> {
        Ok(Some(0))
    }

    fn app_lines(&self) -> Vec<AppLine> {
        self.lines.lock().unwrap().clone()
    }

    async fn dump(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

/// What the short form of the project's corpus says of such a mesh.
async fn fire_at(broken: Broken) -> Run {
    let suite = Suite::load(&workspace::path("e2e")).unwrap();
    let selection = Selection {
        short: true,
        ..Selection::default()
    };
    let timeouts = Timeouts {
        access_log: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let stage = Play::new(broken, &suite);
    let asker = Asker::new(&suite, &stage, &timeouts).await.unwrap();
    fire(&asker, &selection, &Phases::default()).await.unwrap()
}

fn about(row: &Row) -> String {
    match &row.outcome {
        Outcome::Failed { mismatches } => mismatches
            .iter()
            .map(|mismatch| mismatch.about.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        _ => "passed".to_owned(),
    }
}

fn is_refusal(row: &Row) -> bool {
    row.want.starts_with("refused")
}

#[tokio::test]
async fn an_open_mesh_is_red_for_every_refusal() {
    let run = fire_at(Broken::Open).await;
    assert!(!run.succeeded());
    let refusals: Vec<_> = run.rows.iter().filter(|row| is_refusal(row)).collect();
    assert!(refusals.len() > 50, "{}", refusals.len());
    for row in refusals {
        let about = about(row);
        for witness in ["answer", "proxy's log", "app's log"] {
            assert!(about.contains(witness), "{}: {about}", row.name);
        }
    }
}

#[tokio::test]
async fn a_mesh_that_refuses_everything_is_red_for_its_controls() {
    let run = fire_at(Broken::Shut).await;
    assert!(!run.succeeded());
    for row in run
        .rows
        .iter()
        .filter(|row| row.family == super::super::corpus::CONTROLS)
    {
        assert!(row.outcome.is_failed(), "{}", row.name);
    }
}

#[tokio::test]
async fn a_witness_that_is_not_heard_leaves_nothing_green() {
    for broken in [Broken::Unheard, Broken::Unrecorded] {
        let run = fire_at(broken).await;
        for row in run.rows.iter().filter(|row| row.family != "accounts") {
            assert!(row.outcome.is_failed(), "{}", row.name);
        }
    }
}

#[tokio::test]
async fn a_request_of_nobody_is_red_though_every_attack_was_refused() {
    let run = fire_at(Broken::Leaking).await;
    let accounts = run.rows.last().unwrap();
    assert_eq!(accounts.name, ACCOUNTS);
    assert!(accounts.outcome.is_failed());
    assert!(about(accounts).contains("app's log"));
}

#[tokio::test]
async fn no_token_is_in_any_report() {
    let run = fire_at(Broken::Open).await;
    let text = crate::report::json::render(&run).unwrap();
    let text =
        text + &crate::report::table::render(&run, false) + &crate::report::markdown::render(&run);
    assert!(!text.contains("eyJ"), "a JSON object in base64");
    assert!(!text.contains("c2ln"), "a signature");
}
