//! A run: send every attack, hear the witnesses, judge, report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::token::Smith;
use super::wire::Filling;
use super::{
    Answers, AppRecord, Attack, Corpus, Expect, Facts, HostileToken, Origin, RawAnswer, Shot,
    Target, judge, read_answers,
};
use crate::case::{Caller, Profile};
use crate::evidence::{AccessRecord, Evidence};
use crate::poll::{Poll, Step, TimedOut, Timeouts};
use crate::redact::redact;
use crate::report::phases::Phases;
use crate::report::{Phase, Row, Run};
use crate::run::obtain_grants;
use crate::stage::Stage;
use crate::token::grant::Grants;
use crate::token::{Keyring, Mint, Object, Provenance, Recipe};
use crate::verdict::{Mismatch, Outcome, excerpt};

/// Attacks under way at once.
const IN_FLIGHT: usize = 16;
/// The name of the check that no attack has done more than it says.
const ACCOUNTS: &str = "nothing else reached an application";

/// Which attacks are sent.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Parts of names or classes, or patterns.
    pub filters: Vec<String>,
    /// One of each group only.
    pub short: bool,
    /// The folder of the corpus.
    pub corpus: PathBuf,
}

/// Sends the selected attacks to a mesh that stands under profile `full`, and
/// says what became of each.
pub async fn fire(
    stage: &impl Stage,
    grants: &Grants,
    selection: &Selection,
    phases: &Phases,
    timeouts: &Timeouts,
) -> Result<Run> {
    let started = Timestamp::now();
    let corpus = Corpus::load(&selection.corpus, grants)?;
    let attacks = corpus.select(&selection.filters, selection.short)?;
    let secrets = stage.secrets().await?;
    let keyring = Keyring::new(secrets.get("MYREALM_PRIVATE_KEY")?)?;
    // The controls at the end need the first two, whoever attacks.
    let mut needed = BTreeSet::from(["user", "frontend"]);
    for attack in &attacks {
        needed.extend(attack.spec.token.grant());
        needed.extend(attack.spec.other_token.grant());
    }
    let granted = obtain_grants(stage, &needed, grants, &secrets).await?;
    let mint = Mint {
        granted: &granted,
        keyring: &keyring,
    };
    let smith = Smith::new(mint)?;
    let (sent, complete) = phases
        .time("attack", async {
            let sent = send_all(stage, &smith, &attacks).await?;
            let complete = close_the_books(stage, &smith, &sent, timeouts).await?;
            Ok((sent, complete))
        })
        .await?;
    let books = Books::of(stage, &sent, complete);
    let (_, frontend_claims) = smith.make(
        &HostileToken::Recipe(Recipe::Granted("frontend".to_owned())),
        started,
    )?;
    let mut rows: Vec<Row> = attacks
        .iter()
        .map(
            |attack| match sent.iter().find(|sent| sent.attack.name == attack.name) {
                Some(sent) => books.row(stage, sent, &frontend_claims),
                None => skipped_row(stage, attack),
            },
        )
        .collect();
    rows.push(books.accounts(stage));
    Ok(Run {
        id: format!(
            "{}-{}-attacks",
            started.strftime("%Y%m%dT%H%M%S"),
            stage.name()
        ),
        started,
        stage: stage.name(),
        profile: Profile::Full,
        versions: stage.versions(),
        phases: phases
            .done()
            .into_iter()
            .map(|(name, took)| Phase {
                name,
                seconds: took.as_secs_f64(),
            })
            .collect(),
        rows,
    })
}

/// An attack that was sent.
struct SentAttack<'a> {
    attack: &'a Attack,
    id: String,
    claims: Object,
    other_claims: Object,
    /// From before the connection to after its end.
    time: (Timestamp, Timestamp),
    address: Option<(IpAddr, Option<u16>)>,
    answers: Answers,
    refused_connections: Option<u64>,
}

async fn send_all<'a>(
    stage: &impl Stage,
    smith: &Smith<'_>,
    attacks: &[&'a Attack],
) -> Result<Vec<SentAttack<'a>>> {
    let possible = attacks
        .iter()
        .filter(|attack| reason_to_skip(stage, attack).is_none());
    // Those whose witness is a counter go one by one.
    let (counted, others): (Vec<&Attack>, Vec<&Attack>) =
        possible.partition(|attack| attack.spec.is_counted());
    let mut sent: Vec<_> = stream::iter(others)
        .map(|attack| send(stage, smith, attack))
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    for attack in counted {
        let before = stage.refused_connections(attack.spec.to).await?;
        let mut shot = send(stage, smith, attack).await?;
        shot.refused_connections = match before {
            Some(before) => Some(refused_since(stage, attack, before).await?),
            None => None,
        };
        sent.push(shot);
    }
    Ok(sent)
}

/// How many connections the proxy has refused since its count was `before`: it may
/// count a moment after it hung up.
async fn refused_since(stage: &impl Stage, attack: &Attack, before: u64) -> Result<u64> {
    let waited = Poll::new("the proxy's count", Duration::from_secs(1))
        .every(Duration::from_millis(20))
        .until(async || {
            let now = stage.refused_connections(attack.spec.to).await?;
            Ok(match now.and_then(|now| now.checked_sub(before)) {
                Some(more @ 1..) => Step::Done(more),
                _ => Step::NotYet(format!("{before}, as before")),
            })
        })
        .await;
    match waited {
        Err(error) if error.is::<TimedOut>() => Ok(0),
        other => other,
    }
}

fn reason_to_skip(stage: &impl Stage, attack: &Attack) -> Option<String> {
    let spec = &attack.spec;
    let told = spec.skip.get(&stage.name()).cloned();
    told.or_else(|| stage.cannot_attack(&spec.from, &spec.request))
}

async fn send<'a>(
    stage: &impl Stage,
    smith: &Smith<'_>,
    attack: &'a Attack,
) -> Result<SentAttack<'a>> {
    let spec = &attack.spec;
    let now = Timestamp::now();
    let in_words = || format!("attack `{}`", attack.name);
    let (token, claims) = smith.make(&spec.token, now).with_context(in_words)?;
    let (other_token, other_claims) = smith.make(&spec.other_token, now).with_context(in_words)?;
    let id = Uuid::new_v4().simple().to_string();
    let filling = Filling {
        id: &id,
        token: &token,
        other_token: &other_token,
        host: &spec.to.host(),
    };
    let bytes = spec.request.bytes(spec.to, !spec.token.is_none(), &filling);
    let shot = Shot {
        from: spec.from.clone(),
        to: spec.to,
        alpn: spec.request.alpn.clone(),
        server_name: spec.request.server_name.clone(),
        bytes: bytes
            .map_err(|problem| anyhow!(problem))
            .with_context(in_words)?,
    };
    let raw = stage.attack(&shot).await.with_context(in_words)?;
    Ok(SentAttack {
        attack,
        claims,
        other_claims,
        address: address(stage, &spec.from, &raw)?,
        time: (now, Timestamp::now()),
        answers: read_answers(&raw, spec.request.is_head()),
        refused_connections: None,
        id,
    })
}

fn address(
    stage: &impl Stage,
    from: &Origin,
    raw: &RawAnswer,
) -> Result<Option<(IpAddr, Option<u16>)>> {
    if let Some(local) = raw.local {
        return Ok(Some((local.ip(), Some(local.port()))));
    }
    match from {
        Origin::Caller(caller) => Ok(Some((stage.address_of(*caller)?, None))),
        _ => Ok(None),
    }
}

/// Lets one good request through to each application, and waits until the logs
/// tell it: what they have not told by then did not reach them. Returns whether
/// they came to that.
async fn close_the_books(
    stage: &impl Stage,
    smith: &Smith<'_>,
    sent: &[SentAttack<'_>],
    timeouts: &Timeouts,
) -> Result<Complete> {
    let mut ids = Vec::new();
    for (from, to, path, grant) in [
        (Caller::TokenClient, Target::Backend, "/data", "user"),
        (Caller::TokenClient, Target::Frontend, "/", "user"),
    ] {
        let (token, _) = smith.make(
            &HostileToken::Recipe(Recipe::Granted(grant.to_owned())),
            Timestamp::now(),
        )?;
        let id = Uuid::new_v4().simple().to_string();
        let token = String::from_utf8(token)?;
        let request = token_client::batch::Request {
            headers: vec![
                ("x-request-id".to_owned(), id.clone()),
                ("authorization".to_owned(), format!("Bearer {token}")),
            ],
            ..token_client::batch::Request::get(&id, format!("http://{}{path}", to.host()))
        };
        stage.ask(from, &[request]).await?;
        ids.push((to, id));
    }
    let waited = Poll::new("logs of proxies and applications", timeouts.access_log)
        .every(Duration::from_millis(50))
        .until(async || {
            let lines = stage.app_lines();
            let told = |(at, id): &&(Target, String)| {
                lines
                    .iter()
                    .any(|line| line.at == *at && line.text.contains(id.as_str()))
            };
            let missing: Vec<_> = ids.iter().filter(|id| !told(id)).collect();
            if let Some((at, _)) = missing.first() {
                return Ok(Step::NotYet(format!(
                    "the last good request is not in the log of {at}"
                )));
            }
            let evidence = stage.evidence();
            let silent = sent.iter().filter(|sent| !sent.attack.spec.is_counted());
            let silent = silent
                .filter(|sent| sent.records(&evidence).is_empty())
                .count();
            Ok(match silent {
                0 => Step::Done(()),
                n => Step::NotYet(format!("{n} attacks are in no proxy's log")),
            })
        })
        .await;
    match waited {
        Ok(()) => {}
        Err(error) if error.is::<TimedOut>() => eprintln!("warning: {error:#}"),
        Err(error) => return Err(error),
    }
    let lines = stage.app_lines();
    Ok(Complete {
        apps: ids
            .iter()
            .map(|(at, id)| {
                (
                    *at,
                    lines
                        .iter()
                        .any(|line| line.at == *at && line.text.contains(id.as_str())),
                )
            })
            .collect(),
        ids: ids.into_iter().map(|(_, id)| id).collect(),
    })
}

/// How far the applications' logs are to be believed.
struct Complete {
    /// Whether an application's log was read to its end.
    apps: BTreeMap<Target, bool>,
    /// The ids of the good requests.
    ids: Vec<String>,
}

impl SentAttack<'_> {
    /// Its records, by request id or by the connection's own end.
    fn records<'e>(&self, evidence: &'e Evidence) -> Vec<&'e AccessRecord> {
        let here = |record: &&AccessRecord| {
            let by_id = record
                .request_id
                .as_ref()
                .is_some_and(|id| id.contains(&self.id));
            // A port is used again, and a request with an id is known by that.
            let by_address = || match self.address {
                Some((ip, Some(port))) if !has_id(record) => {
                    let (from, to) = self.time;
                    let time = record.start_time.as_millisecond();
                    record.downstream_remote_address.as_deref()
                        == Some(&SocketAddr::new(ip, port).to_string())
                        && (from.as_millisecond()..=to.as_millisecond()).contains(&time)
                }
                _ => false,
            };
            let outbound = record
                .upstream_cluster
                .as_deref()
                .is_some_and(|cluster| cluster.starts_with("outbound|"));
            !outbound && (by_id || by_address())
        };
        evidence.records().iter().filter(here).collect()
    }
}

/// Whether the request has an id such as attacks have.
fn has_id(record: &AccessRecord) -> bool {
    let id = record.request_id.as_deref().unwrap_or_default().as_bytes();
    id.len() >= 32 && id[..32].iter().all(u8::is_ascii_hexdigit)
}

/// All that the witnesses have said.
struct Books<'s, 'a> {
    sent: &'s [SentAttack<'a>],
    evidence: Evidence,
    seen: Vec<AppRecord>,
    complete: Complete,
}

impl<'s, 'a> Books<'s, 'a> {
    fn of(stage: &impl Stage, sent: &'s [SentAttack<'a>], complete: Complete) -> Self {
        Self {
            sent,
            evidence: stage.evidence(),
            seen: stage
                .app_lines()
                .iter()
                .filter_map(AppRecord::parse)
                .collect(),
            complete,
        }
    }

    fn row(&self, stage: &impl Stage, sent: &SentAttack<'_>, frontend_claims: &Object) -> Row {
        let records = sent.records(&self.evidence);
        let seen: Vec<_> = self
            .seen
            .iter()
            .filter(|seen| seen.request_id.contains(&sent.id))
            .cloned()
            .collect();
        let spec = &sent.attack.spec;
        let wrong = judge(&Facts {
            spec,
            claims: &sent.claims,
            other_claims: &sent.other_claims,
            frontend_claims,
            address: sent.address,
            answers: &sent.answers,
            records: &records,
            refused_connections: sent.refused_connections,
            seen: &seen,
            app_log_is_complete: self.complete.apps.values().all(|complete| *complete),
        });
        let decided = records.first().map_or_else(
            || match sent.refused_connections {
                Some(1..) => "mtls".to_owned(),
                _ => "-".to_owned(),
            },
            |record| match record.decided_by() {
                Ok(filter) => filter.to_string(),
                Err(unrecognised) => unrecognised.to_string(),
            },
        );
        let mut row = empty_row(stage, sent.attack);
        row.request_id = Some(sent.id.clone());
        row.got = redact(&sent.answers.in_words());
        row.decided_by = decided;
        row.evidence = records.first().map(|record| (*record).clone());
        row.body = sent
            .answers
            .answers
            .first()
            .map(|answer| redact(&excerpt(&answer.body)));
        row.outcome = Outcome::of(wrong);
        row
    }

    /// Whether every request that reached an application is some attack's.
    fn accounts(&self, stage: &impl Stage) -> Row {
        let known = |seen: &&AppRecord| {
            let ids = self
                .sent
                .iter()
                .map(|sent| &sent.id)
                .chain(&self.complete.ids);
            ids.into_iter()
                .any(|id| seen.request_id.contains(id.as_str()))
        };
        let strangers: Vec<_> = self.seen.iter().filter(|seen| !known(seen)).collect();
        let wrong = strangers.iter().map(|seen| {
            let got = format!(
                "{}, request id {}",
                seen.in_words(),
                excerpt(&seen.request_id)
            );
            Mismatch::new("app's log", "requests of this run only", got)
        });
        let outcome = Outcome::of(wrong.collect());
        let got = format!(
            "{} requests, {} of them unknown",
            self.seen.len(),
            strangers.len()
        );
        let mut row = Row::check(
            ACCOUNTS,
            "accounts",
            stage.name(),
            Profile::Full,
            ["-", "0 unknown", &got],
            outcome,
        );
        row.rerun = rerun(stage, "");
        row
    }
}

fn skipped_row(stage: &impl Stage, attack: &Attack) -> Row {
    let reason = reason_to_skip(stage, attack).unwrap_or_else(|| "it was not sent".to_owned());
    let mut row = empty_row(stage, attack);
    row.outcome = Outcome::Skipped { reason };
    row
}

/// The row without what came of the attack.
fn empty_row(stage: &impl Stage, attack: &Attack) -> Row {
    let spec = &attack.spec;
    let (method, path) = spec.request.target(spec.to);
    let request = format!(
        "{} {}",
        method.unwrap_or_default(),
        path.unwrap_or_default()
    );
    let tokens = [&spec.token, &spec.other_token]
        .into_iter()
        .filter(|token| !token.is_none());
    let tokens: Vec<_> = tokens.map(ToString::to_string).collect();
    let because = match &spec.expect {
        Expect::ByDesign(design) => Some(design.because.clone()),
        Expect::Refused(_) => None,
    };
    Row {
        name: attack.name.clone(),
        family: attack.class.clone(),
        why: because.or_else(|| attack.why.clone()),
        caller: match spec.from {
            Origin::Caller(caller) => Some(caller),
            _ => None,
        },
        provenance: match &spec.token {
            HostileToken::Recipe(recipe) => recipe.provenance(),
            HostileToken::Jws(_) => Provenance::Forged,
        },
        token: if tokens.is_empty() {
            "none".to_owned()
        } else {
            tokens.join("; ")
        },
        request: excerpt(&request).escape_debug().to_string(),
        request_id: None,
        want: spec.expect.to_string(),
        got: "-".to_owned(),
        decided_by: "-".to_owned(),
        evidence: None,
        body: None,
        elapsed_ms: None,
        explained: None,
        difference: None,
        outcome: Outcome::Passed,
        rerun: rerun(stage, &attack.name),
    }
}

fn rerun(stage: &impl Stage, name: &str) -> String {
    let filter = if name.is_empty() {
        String::new()
    } else {
        format!(" --filter '{}'", name.replace('\'', r"'\''"))
    };
    format!("cargo mesh attacks --stage {}{filter}", stage.name())
}

#[cfg(test)]
mod tests;
