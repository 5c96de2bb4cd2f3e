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
    judge, read_answers,
};
use crate::asking::{Asker, run_id};
use crate::evidence::{AccessRecord, Evidence};
use crate::output::say;
use crate::poll::{Poll, Step, TimedOut};
use crate::redact::redact;
use crate::report::phases::Phases;
use crate::report::{Row, RowOf, Run};
use crate::stage::Stage;
use crate::token::{Object, Provenance, Recipe};
use crate::trouble::Trouble;
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
    /// Another folder than the suite's own.
    pub corpus: Option<PathBuf>,
}

/// A suite that says nothing of attacks.
#[derive(Debug, thiserror::Error)]
#[error("the suite has no `attacks`; a folder of them, who sends them and to whom belong there")]
pub struct NoAttacks;

/// Sends the selected attacks to a mesh that stands under the suite's usual
/// profile, and says what became of each.
pub async fn fire(asker: &Asker<'_>, selection: &Selection, phases: &Phases) -> Result<Run> {
    let started = Timestamp::now();
    let (suite, stage) = (asker.suite, asker.stage);
    let usual = suite.attacks.as_ref().ok_or(NoAttacks)?;
    let own = suite.path(&usual.folder);
    let corpus = Corpus::load(selection.corpus.as_ref().unwrap_or(&own), suite)?;
    let attacks = corpus.select(&selection.filters, selection.short)?;
    let cannot = |attack: &&Attack| attack.is_control() || reason_to_skip(stage, attack).is_some();
    if attacks.iter().all(cannot) && !attacks.iter().all(|attack| attack.is_control()) {
        return Err(nothing_to_send(stage).into());
    }
    let needed: BTreeSet<_> = attacks.iter().flat_map(|attack| attack.grants()).collect();
    let granted = asker.obtain_grants(&needed).await?;
    let smith = Smith::new(asker.mint(&granted))?;
    let (sent, complete) = phases
        .time("attack", async {
            let sent = send_all(stage, &smith, &attacks).await?;
            let complete = close_the_books(asker, &smith, &attacks, &sent).await?;
            Ok((sent, complete))
        })
        .await?;
    let claims_of = |grant: &&str| -> Result<(String, Object)> {
        let token = HostileToken::Recipe(Recipe::Granted((*grant).to_owned()));
        Ok(((*grant).to_owned(), smith.make(&token, started)?.1))
    };
    let books = Books {
        sent: &sent,
        granted_claims: needed.iter().map(claims_of).collect::<Result<_>>()?,
        evidence: stage.evidence(),
        callers_evidence: stage.callers_evidence(),
        seen: seen(stage),
        complete,
        of: asker.rows_of(&suite.usual_profile().name),
    };
    let mut rows: Vec<Row> = attacks
        .iter()
        .map(
            |attack| match sent.iter().find(|sent| sent.attack.name == attack.name) {
                Some(sent) => books.row(sent),
                None => books.skipped(stage, attack),
            },
        )
        .collect();
    rows.push(books.accounts());
    Ok(Run {
        id: run_id(started, &format!("{}-attacks", stage.name())),
        started,
        stage: stage.name(),
        profile: suite.usual_profile().name.clone(),
        usual_caller: usual.from.clone(),
        versions: stage.versions(),
        phases: phases.done(),
        // And the check of what else arrived.
        of: corpus.all().len() + 1,
        rows,
    })
}

fn nothing_to_send(stage: &dyn Stage) -> Trouble {
    Trouble::new(
        format!(
            "nothing would be judged: none of the attacks that are meant can be sent on stage {}",
            stage.name()
        ),
        "name others with --filter, or another stage: without Docker every attack can be sent",
    )
}

fn seen(stage: &dyn Stage) -> Vec<AppRecord> {
    let lines = stage.app_lines();
    lines.iter().filter_map(AppRecord::parse).collect()
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
    at_own_proxy: Option<SocketAddr>,
    answers: Answers,
    refused_connections: Option<u64>,
}

async fn send_all<'a>(
    stage: &dyn Stage,
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
        let before = stage.refused_connections(&attack.spec.to).await?;
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
async fn refused_since(stage: &dyn Stage, attack: &Attack, before: u64) -> Result<u64> {
    let waited = Poll::new("the proxy's count", Duration::from_secs(1))
        .every(Duration::from_millis(20))
        .until(async || {
            let now = stage.refused_connections(&attack.spec.to).await?;
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

fn reason_to_skip(stage: &dyn Stage, attack: &Attack) -> Option<String> {
    let spec = &attack.spec;
    let told = spec.skip.get(&stage.name()).cloned();
    told.or_else(|| stage.cannot_attack(&spec.from, &spec.request))
}

async fn send<'a>(
    stage: &dyn Stage,
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
        host: &spec.to.host,
    };
    let bytes = spec
        .request
        .bytes(&spec.to, !spec.token.is_none(), &filling);
    let shot = Shot {
        from: spec.from.clone(),
        to: spec.to.clone(),
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
        at_own_proxy: raw.local_at_own_proxy,
        time: (now, Timestamp::now()),
        answers: read_answers(&raw, spec.request.is_head()),
        refused_connections: None,
        id,
    })
}

fn address(
    stage: &dyn Stage,
    from: &Origin,
    raw: &RawAnswer,
) -> Result<Option<(IpAddr, Option<u16>)>> {
    if let Some(local) = raw.local {
        return Ok(Some((local.ip(), Some(local.port()))));
    }
    match from {
        Origin::Caller(caller) => Ok(Some((stage.address_of(&caller.name)?, None))),
        _ => Ok(None),
    }
}

/// Sends one good request to each application once more, and waits until the logs
/// tell it: what they have not told by then did not reach them.
async fn close_the_books(
    asker: &Asker<'_>,
    smith: &Smith<'_>,
    attacks: &[&Attack],
    sent: &[SentAttack<'_>],
) -> Result<Complete> {
    let stage = asker.stage;
    let mut last = BTreeMap::<&str, String>::new();
    for control in attacks.iter().filter(|attack| attack.is_control()) {
        let at = control.spec.to.name.as_str();
        if !last.contains_key(at) && reason_to_skip(stage, control).is_none() {
            last.insert(at, send(stage, smith, control).await?.id);
        }
    }
    let told = |(at, id): (&&str, &String)| {
        let mut lines = stage.app_lines().into_iter();
        lines.any(|line| line.at == **at && line.text.contains(id.as_str()))
    };
    let waited = Poll::new(
        "logs of proxies and applications",
        asker.timeouts.access_log,
    )
    .every(Duration::from_millis(50))
    .until(async || {
        if let Some((at, _)) = last.iter().find(|one| !told(*one)) {
            return Ok(Step::NotYet(format!(
                "the last good request is not in the log of {at}"
            )));
        }
        let (evidence, callers) = (stage.evidence(), stage.callers_evidence());
        let silent = sent.iter().filter(|sent| {
            let told =
                || !sent.records(&evidence).is_empty() || sent.refused_before(&callers).is_some();
            !sent.attack.spec.is_counted() && !told()
        });
        Ok(match silent.count() {
            0 => Step::Done(()),
            n => Step::NotYet(format!("{n} attacks are in no proxy's log")),
        })
    })
    .await;
    match waited {
        Ok(()) => {}
        Err(error) if error.is::<TimedOut>() => say(format!("warning: {error:#}")),
        Err(error) => return Err(error),
    }
    let targets = attacks.iter().map(|attack| attack.spec.to.name.as_str());
    Ok(Complete {
        apps: targets
            .map(|at| {
                let id = last.get_key_value(at);
                (at.to_owned(), id.is_some_and(told))
            })
            .collect(),
        ids: last.into_values().collect(),
    })
}

/// How far the applications' logs are to be believed.
struct Complete {
    /// Whether the log of an application that is attacked was read to its end.
    apps: BTreeMap<String, bool>,
    /// The ids of the good requests.
    ids: Vec<String>,
}

impl SentAttack<'_> {
    /// What the proxies before the workloads recorded of it.
    fn records<'e>(&self, evidence: &'e Evidence) -> Vec<&'e AccessRecord> {
        let outbound = |record: &AccessRecord| {
            let cluster = record.upstream_cluster.as_deref();
            cluster.is_some_and(|cluster| cluster.starts_with("outbound|"))
        };
        let (ip, port) = self.address.unzip();
        let end = ip.zip(port.flatten()).map(SocketAddr::from);
        let records = evidence.records().iter();
        records
            .filter(|record| !outbound(record) && self.is_of_this(record, end))
            .collect()
    }

    /// The record of the caller's own proxy, if that sent nothing on.
    fn refused_before<'e>(&self, evidence: &'e Evidence) -> Option<&'e AccessRecord> {
        let records = evidence.records().iter();
        let mut own = records
            .filter(|record| self.is_of_this(record, self.at_own_proxy))
            .peekable();
        let first = own.peek().copied()?;
        own.all(|record| !judge::was_sent_on(record))
            .then_some(first)
    }

    /// Whether a record is of this attack, by request id or by the connection's own
    /// end.
    fn is_of_this(&self, record: &AccessRecord, end: Option<SocketAddr>) -> bool {
        let id = record.request_id.as_ref();
        if id.is_some_and(|id| id.contains(&self.id)) {
            return true;
        }
        // A port is used again, and a request with an id is known by that.
        let Some(end) = end.filter(|_| !has_id(record)) else {
            return false;
        };
        let (from, to) = self.time;
        let time = record.start_time.as_millisecond();
        record.downstream_remote_address == Some(end.to_string())
            && (from.as_millisecond()..=to.as_millisecond()).contains(&time)
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
    granted_claims: BTreeMap<String, Object>,
    evidence: Evidence,
    callers_evidence: Evidence,
    seen: Vec<AppRecord>,
    complete: Complete,
    of: RowOf<'s>,
}

/// Who decided, by a record, or what stands there instead.
fn by(record: &AccessRecord) -> String {
    match record.decided_by() {
        Ok(filter) => filter.to_string(),
        Err(unrecognised) => unrecognised.to_string(),
    }
}

impl Books<'_, '_> {
    fn row(&self, sent: &SentAttack<'_>) -> Row {
        let records = sent.records(&self.evidence);
        let before = sent.refused_before(&self.callers_evidence);
        let refused_before = before.filter(|_| records.is_empty());
        let seen: Vec<_> = self
            .seen
            .iter()
            .filter(|seen| seen.request_id.contains(&sent.id))
            .cloned()
            .collect();
        let wrong = judge(&Facts {
            spec: &sent.attack.spec,
            claims: &sent.claims,
            other_claims: &sent.other_claims,
            granted_claims: &self.granted_claims,
            address: sent.address,
            answers: &sent.answers,
            records: &records,
            refused_before,
            refused_connections: sent.refused_connections,
            seen: &seen,
            app_log_is_complete: self.complete.apps.values().all(|complete| *complete),
        });
        let decided = match (records.first(), refused_before, sent.refused_connections) {
            (Some(record), ..) => by(record),
            (None, Some(record), _) => format!("caller's proxy: {}", by(record)),
            (None, None, Some(1..)) => "mtls".to_owned(),
            (None, None, _) => "-".to_owned(),
        };
        let first = sent.answers.answers.first();
        Row {
            request_id: Some(sent.id.clone()),
            got: redact(&sent.answers.in_words()),
            decided_by: decided,
            evidence: records.first().copied().or(refused_before).cloned(),
            body: first.map(|answer| redact(&excerpt(&answer.body))),
            ..self.bare(sent.attack, Outcome::of(wrong))
        }
    }

    fn skipped(&self, stage: &dyn Stage, attack: &Attack) -> Row {
        let reason = reason_to_skip(stage, attack).unwrap_or_else(|| "it was not sent".to_owned());
        self.bare(attack, Outcome::Skipped { reason })
    }

    /// Whether every request that reached an application is some attack's.
    fn accounts(&self) -> Row {
        let known = |seen: &&AppRecord| {
            let sent = self.sent.iter().map(|sent| &sent.id);
            sent.chain(&self.complete.ids)
                .any(|id| seen.request_id.contains(id.as_str()))
        };
        let strangers: Vec<_> = self.seen.iter().filter(|seen| !known(seen)).collect();
        let wrong = strangers.iter().map(|seen| {
            let id = excerpt(&seen.request_id);
            let got = format!("{}, request id {id}", seen.in_words());
            Mismatch::new("app's log", "requests of this run only", got)
        });
        let got = format!(
            "{} requests, {} of them unknown",
            self.seen.len(),
            strangers.len()
        );
        let outcome = Outcome::of(wrong.collect());
        let facts = ["-", "0 unknown", &got];
        Row {
            rerun: self.rerun(""),
            ..self.of.check(ACCOUNTS, "accounts", facts, None, outcome)
        }
    }

    /// The row without what came of the attack.
    fn bare(&self, attack: &Attack, outcome: Outcome) -> Row {
        let spec = &attack.spec;
        let (method, path) = spec.request.target(&spec.to);
        let request = format!(
            "{} {}",
            method.unwrap_or_default(),
            path.unwrap_or_default()
        );
        let tokens = [&spec.token, &spec.other_token];
        let tokens: Vec<_> = tokens
            .into_iter()
            .filter(|token| !token.is_none())
            .map(ToString::to_string)
            .collect();
        let because = match &spec.expect {
            Expect::ByDesign(design) => Some(design.because.clone()),
            Expect::Refused(_) => None,
        };
        let request = excerpt(&request).escape_debug().to_string();
        let want = spec.expect.to_string();
        let facts = [request.as_str(), &want, "-"];
        Row {
            why: because.or_else(|| attack.why.clone()),
            caller: match &spec.from {
                Origin::Caller(caller) => Some(caller.name.clone()),
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
            rerun: self.rerun(&attack.name),
            ..self
                .of
                .check(&attack.name, &attack.class, facts, None, outcome)
        }
    }

    fn rerun(&self, name: &str) -> String {
        let filter = if name.is_empty() {
            String::new()
        } else {
            format!(" --filter '{}'", name.replace('\'', r"'\''"))
        };
        format!("cargo mesh attacks {}{filter}", self.of.place)
    }
}

#[cfg(test)]
mod tests;
