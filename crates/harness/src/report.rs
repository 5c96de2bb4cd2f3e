//! Reports: one model of a run, rendered for people and for machines.
//!
//! | file | for |
//! |---|---|
//! | [`table`] | the terminal |
//! | [`markdown`] | `GITHUB_STEP_SUMMARY` |
//! | [`junit`] | CI systems |
//! | [`json`] | programs |
//!
//! Every renderer redacts the run before it lays it out: once a token is broken
//! into lines, nothing would recognise its second half.

pub mod json;
pub mod junit;
pub mod markdown;
pub mod phases;
pub mod table;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use token_client::batch::Answer;

use crate::case::{Case, StageName};
use crate::evidence::AccessRecord;
use crate::redact::redact_json;
use crate::rules::prediction::Explained;
use crate::suite::Suite;
use crate::token::{Provenance, Recipe};
use crate::verdict::{Outcome, excerpt, received};

/// Whether standard output may be coloured (<https://no-color.org>).
pub fn colours() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One run of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The name of the run, and of its folder.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
    /// Where the mesh ran.
    pub stage: StageName,
    /// Which rules were in force.
    pub profile: String,
    /// The caller that goes without saying.
    pub usual_caller: String,
    /// What took part, with its version: `istio`, `keycloak`…
    pub versions: BTreeMap<String, String>,
    /// What took how long, in the order it was done.
    pub phases: Vec<Phase>,
    /// How many rows there are to ask, with those that were not meant.
    pub of: usize,
    /// The rows, in the table's order.
    pub rows: Vec<Row>,
}

/// One step of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
}

/// One case or check, and how it came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The name of the case or check.
    pub name: String,
    /// What it has in common with others.
    pub family: String,
    /// Why the verdict is to be what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Where the request left from; absent where none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Where the token came from.
    pub provenance: Provenance,
    /// That, and its recipe, in words; of both tokens if there are two.
    pub token: String,
    /// Method and path; the host where it is not the usual one.
    pub request: String,
    /// The request's `x-request-id`; absent if it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Status and filter that were expected.
    pub want: String,
    /// What came back.
    pub got: String,
    /// Who decided, by the access log.
    pub decided_by: String,
    /// The access-log record itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<AccessRecord>,
    /// The beginning of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Time until the answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// Why the request got what it got, by the model; absent where the model
    /// does not reach, as with a gateway's routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
    /// What differs, line by line, where two configurations were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// How it came out.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The command that asks this row again.
    pub rerun: String,
}

/// How many rows came out how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// As expected, and worth nothing for want of a control.
    #[serde(default)]
    pub inconclusive: usize,
    /// Not asked, with a reason.
    pub skipped: usize,
}

impl Tally {
    /// Counts rows.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut tally = Self {
            passed: 0,
            failed: 0,
            inconclusive: 0,
            skipped: 0,
        };
        for row in rows {
            match row.outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed { .. } => tally.failed += 1,
                Outcome::Inconclusive { .. } => tally.inconclusive += 1,
                Outcome::Skipped { .. } => tally.skipped += 1,
            }
        }
        tally
    }

    /// How many came to a verdict.
    pub fn judged(&self) -> usize {
        self.passed + self.failed + self.inconclusive
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, ", self.passed, self.failed)?;
        if self.inconclusive > 0 {
            write!(f, "{} inconclusive, ", self.inconclusive)?;
        }
        write!(f, "{} skipped", self.skipped)
    }
}

impl Run {
    /// Counts the rows.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.rows)
    }

    /// Whether every verdict was as expected, and there was any.
    pub fn succeeded(&self) -> bool {
        let tally = self.tally();
        tally.failed + tally.inconclusive == 0 && tally.passed > 0
    }

    fn redacted(&self) -> Self {
        let mut run = serde_json::to_value(self).expect("a run is made for JSON");
        redact_json(&mut run);
        serde_json::from_value(run).expect("redaction keeps the shape of the run")
    }

    fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.outcome.is_failed())
    }

    /// The rows that prove nothing because their control did not pass, in one
    /// line; `None` if there is none.
    fn inconclusive(&self) -> Option<String> {
        let rows = self.rows.iter().filter(|row| row.outcome.is_inconclusive());
        let names: Vec<_> = rows.map(|row| row.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "inconclusive, because their control did not pass: {}",
                names.join("; ")
            )
        })
    }

    /// The verdict on the run in one line.
    pub fn summary(&self) -> String {
        let tally = self.tally();
        format!("{} of {} rows judged: {tally}", tally.judged(), self.of)
    }
}

/// What all rows of a run have in common.
#[derive(Clone, Copy)]
pub struct RowOf<'a> {
    /// The suite they are of.
    pub suite: &'a Suite,
    /// Where they are asked.
    pub stage: StageName,
    /// What means it on the command line.
    pub place: &'a str,
    /// The rules in force.
    pub profile: &'a str,
}

impl RowOf<'_> {
    /// The row of a case that was asked.
    pub fn case(
        &self,
        case: &Case,
        answer: &Answer,
        records: &[AccessRecord],
        explained: Option<Explained>,
        outcome: Outcome,
    ) -> Row {
        let body = answer.response().map(|response| excerpt(&response.body));
        let decided = |record: &AccessRecord| match record.decided_by() {
            Ok(filter) => filter.to_string(),
            Err(unrecognised) => unrecognised.to_string(),
        };
        Row {
            request_id: answer.id.clone(),
            got: received(answer),
            decided_by: records.first().map_or_else(nothing, decided),
            evidence: records.first().cloned(),
            body,
            elapsed_ms: Some(answer.elapsed_ms),
            explained,
            ..self.skipped_or_asked(case, outcome)
        }
    }

    /// The row of a case that this stage cannot ask.
    pub fn skipped(&self, case: &Case, reason: String) -> Row {
        self.skipped_or_asked(case, Outcome::Skipped { reason })
    }

    fn skipped_or_asked(&self, case: &Case, outcome: Outcome) -> Row {
        let request = &case.request;
        let host = if request.host == self.suite.request.host {
            ""
        } else {
            request.host.split('.').next().unwrap_or_default()
        };
        Row {
            family: case.family.clone(),
            why: case.why.clone(),
            caller: Some(case.caller.clone()),
            provenance: case.token.provenance(),
            token: tokens(case),
            request: format!("{} {host}{}", request.method, request.path),
            want: case.expected(self.profile).to_string(),
            ..self.row(&case.name, outcome)
        }
    }

    /// The row of a check, for which no request is sent.
    pub fn check(
        &self,
        name: &str,
        family: &str,
        [what, want, got]: [&str; 3],
        difference: Option<String>,
        outcome: Outcome,
    ) -> Row {
        Row {
            family: family.to_owned(),
            request: what.to_owned(),
            want: want.to_owned(),
            got: got.to_owned(),
            difference,
            ..self.row(name, outcome)
        }
    }

    /// A row of which nothing but its outcome is known.
    fn row(&self, name: &str, outcome: Outcome) -> Row {
        Row {
            name: name.to_owned(),
            family: nothing(),
            why: None,
            caller: None,
            provenance: Provenance::None,
            token: nothing(),
            request: nothing(),
            request_id: None,
            want: nothing(),
            got: nothing(),
            decided_by: nothing(),
            evidence: None,
            body: None,
            elapsed_ms: None,
            explained: None,
            difference: None,
            outcome,
            rerun: self.rerun(name),
        }
    }

    /// The command that asks a row again.
    fn rerun(&self, name: &str) -> String {
        let usual = self.profile == self.suite.usual_profile().name;
        let profile = if usual {
            String::new()
        } else {
            format!(" --profile {}", self.profile)
        };
        let (place, name) = (self.place, name.replace('\'', r"'\''"));
        format!("cargo mesh verify {place}{profile} --filter '{name}'")
    }
}

fn nothing() -> String {
    "-".to_owned()
}

impl Row {
    /// The beginning of the difference, if there is one; the evidence folder
    /// has the whole.
    fn beginning_of_difference(&self) -> Option<String> {
        const ROOM: usize = 40;
        let difference = self.difference.as_ref()?;
        let mut lines: Vec<_> = difference.lines().take(ROOM).map(excerpt).collect();
        let more = difference.lines().count() - lines.len();
        if more > 0 {
            lines.push(format!("… and {more} lines more, in the evidence folder"));
        }
        Some(lines.join("\n"))
    }

    /// What was asked, and from where.
    fn request_and_caller(&self) -> String {
        match &self.caller {
            Some(caller) => format!("{} from {caller}", self.request),
            None => self.request.clone(),
        }
    }
}

fn tokens(case: &Case) -> String {
    let told = |recipe: &Recipe| match recipe {
        Recipe::None => "none".to_owned(),
        recipe => format!("{}: {recipe}", recipe.provenance()),
    };
    let tokens = std::iter::once(&case.token).chain(&case.other_token);
    tokens.map(told).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests;
