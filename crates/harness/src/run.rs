//! A run: ask every case of the table from inside the mesh, hold answers and
//! evidence against what had to come, report.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use token_client::batch;

use crate::case::{Caller, Case, Cases, ExpectedAnswer, Prepared, Profile, grants_needed};
use crate::evidence::{AccessRecord, DecidedBy, Evidence};
use crate::model::comparison;
use crate::model::prediction::{self, Explained};
use crate::model::{Model, Sent, host_and_path};
use crate::poll::{Poll, Step, TimedOut, Timeouts};
use crate::redact::redact;
use crate::report::phases::Phases;
use crate::report::{self, Phase, Row, Run};
use crate::secrets::RealmSecrets;
use crate::stage::Stage;
use crate::token::grant::{Grant, Grants};
use crate::token::{Granted, Keyring, Mint};
use crate::trouble::Trouble;
use crate::verdict::{self, Outcome};
use crate::workspace;

/// How often a row whose answer came too late to mean anything is asked.
const ATTEMPTS: usize = 5;
/// How often in a row the controls must pass before the rules count as in force.
const CONSECUTIVE: u32 = 3;

/// istiod keeps an issuer's keys for 20 minutes, also those of a Keycloak that
/// is gone.
const OLD_KEYS: &str = "  if every good token gets 401, istiod may hold keys of an earlier mesh: \
    kubectl -n istio-system rollout restart deployment/istiod";

/// Where a realm's endpoints are, as seen from inside the mesh.
pub fn issuer(realm: &str) -> String {
    format!("http://keycloak.keycloak.svc.cluster.local/realms/{realm}")
}

/// The table and the grants it needs, as they are in the workspace.
pub fn load_cases() -> Result<(Cases, Grants)> {
    let grants = Grants::load(&workspace::path("e2e/grants.yaml"))?;
    let cases = Cases::load(&workspace::path("e2e/cases"), &grants)?;
    Ok((cases, grants))
}

/// Asks the selected cases and returns what came of them. The report is
/// written to a folder of the run's own.
pub async fn verify(
    stage: &impl Stage,
    profile: Profile,
    filters: &[String],
    phases: &Phases,
    timeouts: &Timeouts,
) -> Result<Run> {
    let started = Timestamp::now();
    let (cases, grants) = load_cases()?;
    let checks = comparison::select(stage, filters);
    let selected = match cases.select(filters) {
        Err(_) if !checks.is_empty() => Vec::new(),
        selected => selected?,
    };
    let model = Model::of(stage, profile).await?;
    let mut rows = phases
        .time(
            "ask the table",
            ask_table(stage, profile, &selected, &grants, Some(&model), timeouts),
        )
        .await?;
    if !checks.is_empty() {
        let compare = comparison::compare(stage, profile, &model, &checks);
        rows.extend(
            phases
                .time("compare sidecars with the model", compare)
                .await?,
        );
    }
    let run = Run {
        id: format!(
            "{}-{}-{profile}",
            started.strftime("%Y%m%dT%H%M%S"),
            stage.name()
        ),
        started,
        stage: stage.name(),
        profile,
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
    };
    let folder = write_reports(&run)?;
    if !run.succeeded() {
        let evidence = folder.join("evidence");
        fs::create_dir_all(&evidence)?;
        write_differences(&run, &evidence)?;
        // What cannot be collected must not hide the verdict.
        if let Err(error) = stage.dump(&evidence).await {
            eprintln!("warning: evidence is incomplete: {error:#}");
        }
        eprintln!("evidence: {}", evidence.display());
    }
    eprintln!("report:   {}", folder.display());
    Ok(run)
}

/// Applies the rules of a profile and waits until the proxies decide by them:
/// the controls, and the cases in which the profiles differ, must come out as
/// they should several times in a row. Returns whether they came to that; if
/// not, it is the table's to say which rows are wrong.
pub async fn put_in_force(
    stage: &impl Stage,
    profile: Profile,
    phases: &Phases,
    timeouts: &Timeouts,
) -> Result<bool> {
    let (cases, grants) = load_cases()?;
    let telling: Vec<_> = cases
        .all()
        .iter()
        .filter(|case| {
            case.expected(Profile::Full) != case.expected(Profile::Stock)
                || cases
                    .all()
                    .iter()
                    .any(|other| other.control.as_ref() == Some(&case.name))
        })
        .collect();
    let settle = async {
        stage.apply_policy(profile).await?;
        let waited = Poll::new(
            format!("rules of profile {profile} in force"),
            timeouts.policy_in_force,
        )
        .consecutive(CONSECUTIVE)
        .until(async || {
            let rows = ask_table(stage, profile, &telling, &grants, None, timeouts).await?;
            Ok(match rows.iter().find(|row| row.outcome.is_failed()) {
                None => Step::Done(()),
                Some(row) => {
                    Step::NotYet(format!("`{}` got {} {}", row.name, row.got, row.decided_by))
                }
            })
        })
        .await;
        match waited {
            Err(error) if error.is::<TimedOut>() => {
                eprintln!("warning: {error:#}");
                eprintln!("{OLD_KEYS}");
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
pub async fn prepare(stage: &impl Stage, case: &Case, grants: &Grants) -> Result<Prepared> {
    if let Some(reason) = case.skip.get(&stage.name()) {
        bail!(
            "case `{}` cannot be asked on stage {}: {reason}",
            case.name,
            stage.name()
        );
    }
    let secrets = stage.secrets().await?;
    let keyring = Keyring::new(secrets.get("MYREALM_PRIVATE_KEY")?)?;
    let granted = obtain_grants(stage, &grants_needed([case]), grants, &secrets).await?;
    let mint = Mint {
        granted: &granted,
        keyring: &keyring,
    };
    Ok(case.prepare(Profile::Full, &mint, Timestamp::now())?)
}

/// Sends one request and waits for what the proxy before the app says of it.
pub async fn ask_one(
    stage: &impl Stage,
    caller: Caller,
    request: &batch::Request,
    timeouts: &Timeouts,
) -> Result<(batch::Answer, Option<AccessRecord>)> {
    let since = Timestamp::now();
    let address = stage.address_of(caller)?;
    let mut answers = stage.ask(caller, std::slice::from_ref(request)).await?;
    let answer = answers
        .remove(&request.id)
        .context("a request without answer")?;
    let (host, _) = host_and_path(&request.url)?;
    let host = host.split(':').next().unwrap_or(host);
    let waited = Poll::new("access-log record", timeouts.access_log)
        .every(Duration::from_millis(50))
        .until(async || {
            let evidence = stage.evidence();
            let records = match answer.response() {
                Some(_) => evidence.of_request(&request.id, host),
                None => evidence.of_refused_connections(address, since),
            };
            Ok(match records.first() {
                Some(record) => Step::Done((*record).clone()),
                None => Step::NotYet("none yet".to_owned()),
            })
        })
        .await;
    match waited {
        Ok(record) => Ok((answer, Some(record))),
        Err(error) if error.is::<TimedOut>() => Ok((answer, None)),
        Err(error) => Err(error),
    }
}

/// Asks cases and judges them, in the order given; with a model, its
/// explanations as well.
async fn ask_table(
    stage: &impl Stage,
    profile: Profile,
    cases: &[&Case],
    grants: &Grants,
    model: Option<&Model>,
    timeouts: &Timeouts,
) -> Result<Vec<Row>> {
    let secrets = stage.secrets().await?;
    let keyring = Keyring::new(secrets.get("MYREALM_PRIVATE_KEY")?)?;
    let needed = grants_needed(cases.iter().copied());
    let granted = obtain_grants(stage, &needed, grants, &secrets).await?;
    let asking = Asking {
        stage,
        profile,
        mint: Mint {
            granted: &granted,
            keyring: &keyring,
        },
    };
    let mut by_caller = BTreeMap::<Caller, Vec<&Case>>::new();
    for case in cases
        .iter()
        .filter(|case| !case.skip.contains_key(&stage.name()))
    {
        by_caller.entry(case.caller).or_default().push(case);
    }
    let answered = future::try_join_all(
        by_caller
            .into_iter()
            .map(|(caller, cases)| asking.ask(caller, cases)),
    )
    .await?
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    let evidence = wait_for_evidence(stage, &answered, timeouts).await?;
    let by_name: HashMap<_, _> = answered
        .iter()
        .map(|row| (row.case.name.as_str(), row))
        .collect();
    let mut rows = Vec::new();
    for case in cases {
        let answered = by_name.get(case.name.as_str());
        let (outcome, explained) = match answered {
            None => {
                let reason = case.skip[&stage.name()].clone();
                (Outcome::Skipped { reason }, None)
            }
            Some(answered) => answered.judge(&evidence, model)?,
        };
        let records = answered.map_or_else(Vec::new, |row| row.records(&evidence));
        let answer = answered.map(|row| &row.answer);
        let mut row = Row::new(case, stage.name(), profile, answer, &records, outcome);
        row.explained = explained;
        rows.push(row);
    }
    let judged = cases.iter().copied().zip(&mut rows);
    verdict::require_controls(judged.map(|(case, row)| (case, &mut row.outcome)));
    Ok(rows)
}

/// What it takes to ask a case.
struct Asking<'a, S> {
    stage: &'a S,
    profile: Profile,
    mint: Mint<'a>,
}

/// A case that was asked.
struct Answered<'a> {
    case: &'a Case,
    prepared: Prepared,
    answer: batch::Answer,
    since_minting: Duration,
    /// The caller's address.
    address: IpAddr,
}

impl Answered<'_> {
    fn judge(
        &self,
        evidence: &Evidence,
        model: Option<&Model>,
    ) -> Result<(Outcome, Option<Explained>)> {
        let records = self.records(evidence);
        let expected = &self.prepared.expected;
        let mut outcome = verdict::judge(expected, &self.answer, &records);
        verdict::judge_lateness(self.case, self.since_minting, &mut outcome);
        // Where a proxy's routes decide there is no policy to explain.
        let model = model.filter(|_| expected.decided_by != DecidedBy::Gateway);
        let Some(model) = model else {
            return Ok((outcome, None));
        };
        let record = records.first().copied();
        let explanation = model.explain(Sent {
            caller: self.case.caller,
            source_ip: Some(self.address),
            request: &self.prepared.request,
            at: record.map_or(self.prepared.minted_at, |record| record.start_time),
        })?;
        let cause = self.case.because.as_ref();
        prediction::judge(&explanation, &self.answer, record)
            .into_iter()
            .chain(cause.and_then(|cause| prediction::judge_cause(&explanation, cause)))
            .for_each(|mismatch| outcome.add(mismatch));
        Ok((outcome, Some(Explained::from(&explanation))))
    }

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
}

impl<'a, S: Stage> Asking<'a, S> {
    /// Asks the cases of one caller. Those that mean something only for a
    /// short time after minting go first, each by itself.
    async fn ask(&self, caller: Caller, cases: Vec<&'a Case>) -> Result<Vec<Answered<'a>>> {
        let (pressing, others): (Vec<_>, Vec<_>) = cases
            .into_iter()
            .partition(|case| case.answer_within.is_some());
        let mut answered = Vec::new();
        for case in pressing {
            answered.push(self.ask_in_time(caller, case).await?);
        }
        answered.extend(self.ask_once(caller, &others).await?);
        Ok(answered)
    }

    /// Asks again only where the answer came too late, whatever it was.
    async fn ask_in_time(&self, caller: Caller, case: &'a Case) -> Result<Answered<'a>> {
        let mut attempts = 1;
        loop {
            let answered = self.ask_once(caller, &[case]).await?.remove(0);
            if attempts == ATTEMPTS || !verdict::is_late(case, answered.since_minting) {
                return Ok(answered);
            }
            attempts += 1;
        }
    }

    async fn ask_once(&self, caller: Caller, cases: &[&'a Case]) -> Result<Vec<Answered<'a>>> {
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let now = Timestamp::now();
        let prepared = cases
            .iter()
            .map(|case| {
                case.prepare(self.profile, &self.mint, now)
                    .with_context(|| format!("case `{}`", case.name))
            })
            .collect::<Result<Vec<_>>>()?;
        let requests: Vec<_> = prepared.iter().map(|row| row.request.clone()).collect();
        let mut answers = self.stage.ask(caller, &requests).await?;
        let since_minting = started.elapsed();
        cases
            .iter()
            .zip(prepared)
            .map(|(case, prepared)| {
                let answer = answers
                    .remove(&prepared.request.id)
                    .context("a request without answer")?;
                Ok(Answered {
                    case,
                    prepared,
                    answer,
                    since_minting,
                    address: self.stage.address_of(caller)?,
                })
            })
            .collect()
    }
}

/// The access log comes a moment after the answer. A row whose record does not
/// come at all is the verdict's to fail.
async fn wait_for_evidence(
    stage: &impl Stage,
    answered: &[Answered<'_>],
    timeouts: &Timeouts,
) -> Result<Evidence> {
    let waited = Poll::new("access-log records", timeouts.access_log)
        .every(Duration::from_millis(50))
        .until(async || {
            let evidence = stage.evidence();
            let missing = answered
                .iter()
                .filter(|row| row.records(&evidence).is_empty())
                .count();
            Ok(match missing {
                0 => Step::Done(evidence),
                n => Step::NotYet(format!("{n} of {} are missing", answered.len())),
            })
        })
        .await;
    match waited {
        Err(error) if error.is::<TimedOut>() => Ok(stage.evidence()),
        other => other,
    }
}

/// Has Keycloak grant the tokens of these names, asked from inside the mesh.
pub async fn obtain_grants(
    stage: &impl Stage,
    needed: &BTreeSet<&str>,
    grants: &Grants,
    secrets: &RealmSecrets,
) -> Result<BTreeMap<String, Granted>> {
    let requests = needed
        .iter()
        .map(|name| token_request(name, &grants.grants[*name], secrets))
        .collect::<Result<Vec<_>>>()?;
    let answers = stage.ask(Caller::TokenClient, &requests).await?;
    answers
        .into_iter()
        .map(|(name, answer)| Ok((name.clone(), read_grant(&name, &answer)?)))
        .collect()
}

/// RFC 6749 §4.3.2 and §4.4.2, the client's secret in the body (§2.3.1).
fn token_request(name: &str, grant: &Grant, secrets: &RealmSecrets) -> Result<batch::Request> {
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
    let url = format!("{}/protocol/openid-connect/token", issuer(&grant.realm));
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

fn read_grant(name: &str, answer: &batch::Answer) -> Result<Granted> {
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
        access_token: granted.access_token,
        refresh_token: granted.refresh_token,
    })
}

/// Writes a run's reports into its folder, and the summary to where GitHub
/// Actions shows it.
pub fn write_reports(run: &Run) -> Result<PathBuf> {
    let folder = workspace::target_dir().join("e2e").join(&run.id);
    fs::create_dir_all(&folder)?;
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
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(Path::new(&path))
            .and_then(|mut file| file.write_all(summary.as_bytes()))
            .context("cannot write the step summary")?;
    }
    Ok(folder)
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

/// Shows a run on standard output.
pub fn show(run: &Run, as_json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = if as_json {
        report::json::render(run)?
    } else {
        report::table::render(run, report::colours())
    };
    writeln!(out, "{}", text.trim_end())?;
    Ok(())
}
