//! Asking: every case of the table from inside the mesh, answers and evidence
//! held against what had to come.
//!
//! A case goes one way: [`Prepared`] (its tokens are made) → `Asked` (it has an
//! answer) → `Observed` (and records of it) → `Judged` → [`Row`].

pub mod selection;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use token_client::batch;

use crate::attack::witness::AppRecord;
use crate::case::{Case, ExpectedAnswer, Prepared, grants_needed};
use crate::evidence::{AccessRecord, DecidedBy, Evidence};
use crate::output::say;
use crate::poll::{Poll, Step, TimedOut, Timeouts};
use crate::redact::redact;
use crate::report::phases::Phases;
use crate::report::{self, Row, RowOf, Run};
use crate::rules::prediction::{self, Explained};
use crate::rules::{Rules, Sent, arrival, comparison, host_and_path};
use crate::secrets::RealmSecrets;
use crate::stage::{Parts, Stage, broken, done_when_ok};
use crate::suite::Suite;
use crate::suite::grant::Grant;
use crate::token::{Granted, Keyring, Mint};
use crate::trouble::Trouble;
use crate::verdict::{self, Outcome};
use crate::workspace;
use selection::Selection;

/// How often a row whose answer came too late to mean anything is asked.
const ATTEMPTS: usize = 5;
/// How often in a row the controls must pass before the rules count as in force.
const CONSECUTIVE: u32 = 3;

/// istiod keeps an issuer's keys for 20 minutes, also those of a Keycloak that
/// is gone.
const OLD_KEYS: &str = "  if every good token gets 401, istiod may hold keys of an earlier mesh: \
    kubectl -n istio-system rollout restart deployment/istiod";

/// Waits until the discovery documents of the realms in use answer from inside
/// the mesh: only then may rules be applied, because istiod reads the keys once.
pub async fn wait_for_discovery(
    suite: &Suite,
    stage: &dyn Stage,
    timeouts: &Timeouts,
) -> Result<()> {
    for realm in suite.realms_in_use() {
        let issuer = &suite.realms[realm].issuer;
        let url = format!("{issuer}/.well-known/openid-configuration");
        Poll::new(format!("discovery at {url}"), timeouts.discovery)
            .until(async || {
                let request = batch::Request::get("discovery", &url);
                let answers = stage.ask(&suite.usual_caller().name, &[request]).await?;
                let answer = answers.values().next().context("no answer")?;
                Ok(done_when_ok(answer))
            })
            .await?;
    }
    Ok(())
}

/// Who asks a suite's cases of a stage.
pub struct Asker<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) stage: &'a dyn Stage,
    pub(crate) timeouts: &'a Timeouts,
    secrets: RealmSecrets,
    keyring: Keyring,
    place: String,
}

impl<'a> Asker<'a> {
    /// Takes the secrets of a mesh that stands.
    pub async fn new(
        suite: &'a Suite,
        stage: &'a dyn Stage,
        timeouts: &'a Timeouts,
    ) -> Result<Self> {
        let secrets = stage.secrets().await?;
        let keys = suite
            .signing_keys()
            .map(|(realm, name)| Ok((realm, secrets.get(name)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            suite,
            stage,
            timeouts,
            keyring: Keyring::new(keys)?,
            place: stage.place(),
            secrets,
        })
    }

    /// Asks the selected cases and returns what came of them. The report is
    /// written to a folder of the run's own.
    pub async fn verify(&self, rules: &Rules, filters: &[String], phases: &Phases) -> Result<Run> {
        let started = Timestamp::now();
        let selected = Selection::new(self.suite, self.stage.name(), filters)?;
        let parts = self.stage.parts().await?;
        let rows = match self.ask_and_compare(rules, &selected, phases).await {
            Ok(rows) => rows,
            Err(error) => match self.broken_since(&parts).await {
                Some(trouble) => return Err(error.context(trouble)),
                None => return Err(error),
            },
        };
        let stage = self.stage.name();
        let mut run = Run {
            id: run_id(started, &format!("{stage}-{}", rules.profile)),
            started,
            stage,
            profile: rules.profile.clone(),
            usual_caller: self.suite.usual_caller().name.clone(),
            versions: self.stage.versions(),
            phases: phases.done(),
            of: selected.of,
            rows,
        };
        let folder = write_reports(&mut run)?;
        if !run.succeeded() {
            let evidence = folder.join("evidence");
            fs::create_dir_all(&evidence)?;
            write_differences(&run, &evidence)?;
            // What cannot be collected must not hide the verdict.
            if let Err(error) = self.stage.dump(&evidence).await {
                say(format!("warning: evidence is incomplete: {error:#}"));
            }
            say(format!("evidence: {}", evidence.display()));
        }
        say(format!("report:   {}", folder.display()));
        if !run.succeeded()
            && let Some(trouble) = self.broken_since(&parts).await
        {
            bail!(trouble);
        }
        Ok(run)
    }

    async fn ask_and_compare(
        &self,
        rules: &Rules,
        selected: &Selection<'_>,
        phases: &Phases,
    ) -> Result<Vec<Row>> {
        let asked = self.ask_table(&rules.profile, &selected.cases, Some(rules));
        let mut rows = phases.time("ask the table", asked).await?;
        if !selected.compared.is_empty() {
            let of = self.rows_of(&rules.profile);
            let compare = comparison::compare(self.stage, rules, &of, &selected.compared);
            let compared = phases.time("compare sidecars with the model", compare);
            rows.extend(compared.await?);
        }
        Ok(rows)
    }

    /// Whether a part of the mesh has ended meanwhile: what came of the rows then says
    /// nothing of the rules.
    async fn broken_since(&self, before: &Parts) -> Option<Trouble> {
        let after = self.stage.parts().await.ok()?;
        let broken = broken(before, &after);
        (!broken.is_empty()).then(|| {
            Trouble::new(
                format!("the mesh did not last the run: {}", broken.join("; ")),
                format!("when it is whole again: mesh verify {}", self.place),
            )
        })
    }

    /// Applies rules and waits until the proxies decide by them: the controls,
    /// and the cases in which the profiles differ, must come out as they should
    /// several times in a row. Returns whether they came to that; if not, it is
    /// the table's to say which rows are wrong.
    pub async fn put_in_force(&self, rules: &Rules, phases: &Phases) -> Result<bool> {
        let cases = self.suite.cases.all();
        let is_control = |case: &Case| {
            let mut others = cases.iter();
            others.any(|other| other.control.as_ref() == Some(&case.name))
        };
        let telling: Vec<_> = cases
            .iter()
            .filter(|case| case.tells_profiles() || is_control(case))
            .collect();
        let profile = &rules.profile;
        let settle = async {
            self.stage.apply(rules).await?;
            let waited = Poll::new(
                format!("rules of profile {profile} in force"),
                self.timeouts.policy_in_force,
            )
            .consecutive(CONSECUTIVE)
            .until(async || {
                let rows = self.ask_table(profile, &telling, None).await?;
                let wrong = rows.iter().find(|row| row.outcome.is_failed());
                Ok(match wrong {
                    None => Step::Done(()),
                    Some(row) => {
                        Step::NotYet(format!("`{}` got {} {}", row.name, row.got, row.decided_by))
                    }
                })
            })
            .await;
            match waited {
                Err(error) if error.is::<TimedOut>() => {
                    say(format!("warning: {error:#}"));
                    say(OLD_KEYS);
                    Ok(false)
                }
                other => other.map(|()| true),
            }
        };
        phases
            .time(&format!("put profile {profile} in force"), settle)
            .await
    }

    /// Makes the tokens and the request of one case.
    pub async fn prepare(&self, case: &Case) -> Result<Prepared> {
        let stage = self.stage.name();
        if let Some(reason) = case.skip.get(&stage) {
            bail!(
                "case `{}` cannot be asked on stage {stage}: {reason}",
                case.name
            );
        }
        let granted = self.obtain_grants(&grants_needed([case])).await?;
        let mint = self.mint(&granted);
        let profile = &self.suite.usual_profile().name;
        Ok(case.prepare(profile, &mint, Timestamp::now())?)
    }

    /// Sends one request and waits for what the proxy before the app says of it.
    pub async fn ask_one(
        &self,
        caller: &str,
        request: &batch::Request,
    ) -> Result<(batch::Answer, Option<AccessRecord>)> {
        let since = Timestamp::now();
        let address = self.stage.address_of(caller)?;
        let mut answers = self
            .stage
            .ask(caller, std::slice::from_ref(request))
            .await?;
        let answer = answers
            .remove(&request.id)
            .context("a request without answer")?;
        let (host, _) = host_and_path(&request.url)?;
        let records = |evidence: &Evidence| -> Vec<AccessRecord> {
            let records = match answer.response() {
                Some(_) => evidence.of_request(&request.id, host),
                None => evidence.of_refused_connections(address, since),
            };
            records.into_iter().cloned().collect()
        };
        let evidence = self
            .wait_for_evidence(1, |evidence| usize::from(records(evidence).is_empty()))
            .await?;
        let record = records(&evidence).into_iter().next();
        Ok((answer, record))
    }

    /// The access log comes a moment after the answer. `missing` counts the
    /// requests that have no record yet; what does not come at all is the
    /// verdict's to fail.
    async fn wait_for_evidence(
        &self,
        awaited: usize,
        missing: impl Fn(&Evidence) -> usize,
    ) -> Result<Evidence> {
        let waited = Poll::new("access-log records", self.timeouts.access_log)
            .every(Duration::from_millis(50))
            .until(async || {
                let evidence = self.stage.evidence();
                Ok(match missing(&evidence) {
                    0 => Step::Done(evidence),
                    n => Step::NotYet(format!("{n} of {awaited} are missing")),
                })
            })
            .await;
        match waited {
            Err(error) if error.is::<TimedOut>() => Ok(self.stage.evidence()),
            other => other,
        }
    }

    /// What applications record of requests, a moment after their answers. Those that
    /// keep no such log are not waited for.
    async fn wait_for_apps(&self, asked: &[Asked<'_>]) -> Result<Vec<AppRecord>> {
        let reached = asked
            .iter()
            .filter(|one| one.prepared.expected.decided_by == DecidedBy::App)
            .filter(|one| one.answer.response().is_some_and(|it| it.status == 200));
        let awaited: Vec<_> = reached
            .filter_map(|one| {
                let app = self.suite.serving(&one.case.request.host)?;
                Some((app.name.as_str(), one.prepared.request.id.as_str()))
            })
            .collect();
        let read = || -> Vec<AppRecord> {
            let lines = self.stage.app_lines();
            lines.iter().filter_map(AppRecord::parse).collect()
        };
        let waited = Poll::new("records of applications", self.timeouts.access_log)
            .every(Duration::from_millis(50))
            .until(async || {
                let log = read();
                let missing = awaited.iter().filter(|(at, id)| {
                    arrival::keeps_log(at, &log) && !log.iter().any(|it| it.request_id == **id)
                });
                Ok(match missing.count() {
                    0 => Step::Done(log),
                    n => Step::NotYet(format!("{n} of {} are missing", awaited.len())),
                })
            })
            .await;
        match waited {
            Err(error) if error.is::<TimedOut>() => Ok(read()),
            other => other,
        }
    }

    /// Asks cases and judges them, in the order given; with rules, their
    /// explanations as well.
    pub(crate) async fn ask_table(
        &self,
        profile: &str,
        cases: &[&Case],
        rules: Option<&Rules>,
    ) -> Result<Vec<Row>> {
        let needed = grants_needed(cases.iter().copied());
        let granted = self.obtain_grants(&needed).await?;
        let mint = self.mint(&granted);
        let stage = self.stage.name();
        let mut by_caller = BTreeMap::<&str, Vec<&Case>>::new();
        for case in cases.iter().filter(|case| !case.skip.contains_key(&stage)) {
            by_caller.entry(&case.caller).or_default().push(case);
        }
        let asked: Vec<_> = future::try_join_all(
            by_caller
                .into_iter()
                .map(|(caller, cases)| self.ask(caller, profile, &mint, cases)),
        )
        .await?
        .into_iter()
        .flatten()
        .collect();
        let evidence = self
            .wait_for_evidence(asked.len(), |evidence| {
                let missing = asked.iter().filter(|one| one.records(evidence).is_empty());
                missing.count()
            })
            .await?;
        let log = self.wait_for_apps(&asked).await?;
        let mut judged = asked
            .into_iter()
            .map(|one| {
                let judged = one.observed(&evidence).judged(self.suite, rules, &log)?;
                Ok((judged.observed.asked.case.name.clone(), judged))
            })
            .collect::<Result<HashMap<_, _>>>()?;
        let passed: HashMap<_, _> = judged
            .iter()
            .map(|(name, one)| (name.clone(), one.outcome.is_passed()))
            .collect();
        let of = self.rows_of(profile);
        let rows = cases.iter().map(|case| match judged.remove(&case.name) {
            None => of.skipped(case, case.skip[&stage].clone()),
            Some(one) => {
                let outcome = one
                    .outcome
                    .beside_control(case, |name| passed.get(name).copied());
                of.case(
                    case,
                    &one.observed.asked.answer,
                    &one.observed.records,
                    one.explained,
                    outcome,
                )
            }
        });
        Ok(rows.collect())
    }

    pub(crate) fn mint<'m>(&'m self, granted: &'m BTreeMap<String, Granted>) -> Mint<'m> {
        Mint {
            granted,
            keyring: &self.keyring,
        }
    }

    pub(crate) fn rows_of<'r>(&'r self, profile: &'r str) -> RowOf<'r> {
        RowOf {
            suite: self.suite,
            stage: self.stage.name(),
            place: &self.place,
            profile,
        }
    }

    /// Asks the cases of one caller. Those that mean something only for a
    /// short time after minting go first, each by itself.
    async fn ask<'c>(
        &self,
        caller: &str,
        profile: &str,
        mint: &Mint<'_>,
        cases: Vec<&'c Case>,
    ) -> Result<Vec<Asked<'c>>> {
        let (pressing, others): (Vec<_>, Vec<_>) = cases
            .into_iter()
            .partition(|case| case.answer_within.is_some());
        let mut asked = Vec::new();
        for case in pressing {
            asked.push(self.ask_in_time(caller, profile, mint, case).await?);
        }
        asked.extend(self.ask_once(caller, profile, mint, &others).await?);
        Ok(asked)
    }

    /// Asks again only where the answer came too late, whatever it was.
    async fn ask_in_time<'c>(
        &self,
        caller: &str,
        profile: &str,
        mint: &Mint<'_>,
        case: &'c Case,
    ) -> Result<Asked<'c>> {
        let mut attempts = 1;
        loop {
            let mut asked = self.ask_once(caller, profile, mint, &[case]).await?;
            let asked = asked.remove(0);
            if attempts == ATTEMPTS || !verdict::is_late(case, asked.since_minting) {
                return Ok(asked);
            }
            attempts += 1;
        }
    }

    async fn ask_once<'c>(
        &self,
        caller: &str,
        profile: &str,
        mint: &Mint<'_>,
        cases: &[&'c Case],
    ) -> Result<Vec<Asked<'c>>> {
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let now = Timestamp::now();
        let prepared = cases
            .iter()
            .map(|case| {
                case.prepare(profile, mint, now)
                    .with_context(|| format!("case `{}`", case.name))
            })
            .collect::<Result<Vec<_>>>()?;
        let requests: Vec<_> = prepared.iter().map(|row| row.request.clone()).collect();
        let mut answers = self.stage.ask(caller, &requests).await?;
        let since_minting = started.elapsed();
        let address = self.stage.address_of(caller)?;
        cases
            .iter()
            .zip(prepared)
            .map(|(case, prepared)| {
                let answer = answers
                    .remove(&prepared.request.id)
                    .context("a request without answer")?;
                Ok(Asked {
                    case,
                    prepared,
                    answer,
                    since_minting,
                    address,
                })
            })
            .collect()
    }

    /// Has Keycloak grant the tokens that these cases begin with, asked from
    /// inside the mesh.
    pub(crate) async fn obtain_grants(
        &self,
        needed: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, Granted>> {
        let requests = needed
            .iter()
            .map(|name| self.token_request(name, &self.suite.grants[*name]))
            .collect::<Result<Vec<_>>>()?;
        let caller = &self.suite.usual_caller().name;
        let turn = self.stage.turn_to_sign_in().await?;
        let answers = self.stage.ask(caller, &requests).await?;
        drop(turn);
        answers
            .into_iter()
            .map(|(name, answer)| {
                let realm = self.suite.grants[&name].realm.clone();
                Ok((name.clone(), read_grant(&name, realm, &answer)?))
            })
            .collect()
    }

    /// RFC 6749 §4.3.2 and §4.4.2, the client's secret in the body (§2.3.1).
    fn token_request(&self, name: &str, grant: &Grant) -> Result<batch::Request> {
        let secrets = &self.secrets;
        let mut form = vec![
            ("client_id", grant.client_id.as_str()),
            (
                "client_secret",
                secrets.get(&grant.client_secret)?.expose_secret(),
            ),
        ];
        match &grant.user {
            Some(user) => form.extend([
                ("grant_type", "password"),
                ("username", &user.username),
                ("password", secrets.get(&user.password)?.expose_secret()),
            ]),
            None => form.push(("grant_type", "client_credentials")),
        }
        let body = serde_urlencoded::to_string(form)?;
        let issuer = &self.suite.realms[&grant.realm].issuer;
        let url = format!("{issuer}/protocol/openid-connect/token");
        Ok(batch::Request {
            method: "POST".to_owned(),
            headers: vec![(
                "content-type".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            )],
            body: Some(body),
            ..batch::Request::get(name, url)
        })
    }
}

/// A case that was asked.
struct Asked<'a> {
    case: &'a Case,
    prepared: Prepared,
    answer: batch::Answer,
    since_minting: Duration,
    /// The caller's address.
    address: IpAddr,
}

impl<'a> Asked<'a> {
    fn records<'e>(&self, evidence: &'e Evidence) -> Vec<&'e AccessRecord> {
        match self.prepared.expected.answer {
            ExpectedAnswer::ConnectionRefused => {
                evidence.of_refused_connections(self.address, self.prepared.minted_at)
            }
            ExpectedAnswer::Http { .. } => {
                evidence.of_request(&self.prepared.request.id, &self.case.request.host)
            }
        }
    }

    fn observed(self, evidence: &Evidence) -> Observed<'a> {
        let records = self.records(evidence).into_iter().cloned().collect();
        Observed {
            asked: self,
            records,
        }
    }
}

/// A case with what the proxies recorded of it.
struct Observed<'a> {
    asked: Asked<'a>,
    records: Vec<AccessRecord>,
}

impl<'a> Observed<'a> {
    fn judged(self, suite: &Suite, rules: Option<&Rules>, log: &[AppRecord]) -> Result<Judged<'a>> {
        let Asked {
            case,
            prepared,
            answer,
            since_minting,
            address,
        } = &self.asked;
        let expected = &prepared.expected;
        let mut mismatches = verdict::judge(expected, answer, &self.records);
        mismatches.extend(verdict::judge_lateness(case, *since_minting));
        // Where a proxy's routes decide there is no policy to explain.
        let rules = rules.filter(|_| expected.decided_by != DecidedBy::Gateway);
        let mut explained = None;
        if let Some(rules) = rules {
            let record = self.records.first();
            let explanation = rules.explain(
                suite,
                Sent {
                    caller: suite.caller(&case.caller)?,
                    source_ip: Some(*address),
                    request: &prepared.request,
                    at: record.map_or(prepared.minted_at, |record| record.start_time),
                },
            )?;
            mismatches.extend(prediction::judge(&explanation, answer, record));
            if let Some(app) = suite.serving(&case.request.host) {
                let id = &prepared.request.id;
                mismatches.extend(arrival::judge(&explanation, &app.name, id, log));
            }
            let cause = expected.because.as_ref();
            mismatches.extend(cause.and_then(|it| prediction::judge_cause(&explanation, it)));
            explained = Some(Explained::from(&explanation));
        }
        Ok(Judged {
            observed: self,
            explained,
            outcome: Outcome::of(mismatches),
        })
    }
}

/// A case with its verdict, seen by itself.
struct Judged<'a> {
    observed: Observed<'a>,
    explained: Option<Explained>,
    outcome: Outcome,
}

fn read_grant(name: &str, realm: String, answer: &batch::Answer) -> Result<Granted> {
    #[derive(Deserialize)]
    struct TokenResponse {
        access_token: SecretString,
        refresh_token: Option<SecretString>,
    }
    let refused = |what: String| {
        Trouble::new(
            format!("Keycloak granted no token for `{name}`: {what}"),
            "see Keycloak's log; realm and secrets are those of `mesh up`, so a new one mends a mix-up",
        )
    };
    let response = answer
        .response()
        .ok_or_else(|| refused(answer.error().unwrap_or("no answer").to_owned()))?;
    ensure!(
        response.status == 200,
        refused(format!("status {}, {}", response.status, response.body))
    );
    let granted: TokenResponse = serde_json::from_str(&response.body)
        .map_err(|_| refused("the answer is not a token response".to_owned()))?;
    Ok(Granted {
        realm,
        access_token: granted.access_token,
        refresh_token: granted.refresh_token,
    })
}

/// Writes a run's reports into a folder of its own, by which it is called from now on,
/// and the summary to where GitHub Actions shows it.
pub fn write_reports(run: &mut Run) -> Result<PathBuf> {
    let step_summary = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
    let parent = workspace::target_dir().join("e2e");
    write_reports_to(&parent, step_summary.as_deref(), run)
}

fn write_reports_to(parent: &Path, step_summary: Option<&Path>, run: &mut Run) -> Result<PathBuf> {
    let folder;
    (run.id, folder) = new_folder(parent, &run.id)?;
    let run = &*run;
    let summary = report::markdown::render(run);
    for (name, text) in [
        ("report.json", report::json::render(run)?),
        ("junit.xml", report::junit::render(run)?),
        ("summary.md", summary.clone()),
        ("table.txt", report::table::render(run, false)),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = step_summary {
        let written = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(summary.as_bytes()));
        // The same is in a file already: the verdict is not to depend on a copy.
        if let Err(error) = written {
            say(format!("warning: cannot write the step summary: {error}"));
        }
    }
    Ok(folder)
}

/// What a run is called by: when it began, and what it is about.
pub(crate) fn run_id(started: Timestamp, on: &str) -> String {
    format!("{}-{on}", started.strftime("%Y%m%dT%H%M%S"))
}

/// Makes a folder for a report on this, by the time and its name.
pub fn report_folder(on: &str) -> Result<PathBuf> {
    let id = run_id(Timestamp::now(), on);
    let (_, folder) = new_folder(&workspace::target_dir().join("e2e"), &id)?;
    Ok(folder)
}

/// Makes a folder of a run's own: others may have begun in the same second.
fn new_folder(parent: &Path, id: &str) -> Result<(String, PathBuf)> {
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let names = std::iter::once(id.to_owned()).chain((2..).map(|it| format!("{id}-{it}")));
    for name in names {
        let folder = parent.join(&name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                made.with_context(|| folder.display().to_string())?;
                return Ok((name, folder));
            }
        }
    }
    unreachable!("some number is free");
}

/// Writes every comparison that failed, as a whole, to a file of its own.
fn write_differences(run: &Run, folder: &Path) -> Result<()> {
    for row in &run.rows {
        if let Some(difference) = &row.difference {
            let path = folder
                .join(row.name.replace(' ', "-"))
                .with_extension("diff");
            fs::write(&path, redact(difference))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::{new_folder, write_reports_to};
    use crate::report::tests::run;

    #[test]
    fn step_summary_that_cannot_be_written_costs_no_report() {
        let parent = tempfile::tempdir().unwrap();
        for summary in [parent.path(), &parent.path().join("gone/summary.md")] {
            let folder = write_reports_to(parent.path(), Some(summary), &mut run()).unwrap();
            assert!(folder.join("summary.md").is_file());
        }
        let summary = parent.path().join("summary.md");
        write_reports_to(parent.path(), Some(&summary), &mut run()).unwrap();
        assert!(fs::read_to_string(summary).unwrap().contains("rows judged"));
    }

    #[test]
    fn runs_of_the_same_second_have_names_and_folders_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let made: BTreeSet<_> = std::thread::scope(|scope| {
            let begin = || new_folder(parent.path(), "20261201T050000-local-full").unwrap();
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        assert_eq!(made.len(), 4);
        for (name, folder) in made {
            assert!(folder.is_dir() && folder.ends_with(name));
        }
    }
}
