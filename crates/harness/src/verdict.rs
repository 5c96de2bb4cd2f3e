//! Verdicts: what came back, held against what had to.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use token_client::batch::{Answer, Response};

use crate::case::{Case, Expected, ExpectedAnswer, ExpectedBody};
use crate::evidence::AccessRecord;
use crate::token::Object;

/// How a row came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything was as expected, and the proxy's log says so too.
    Passed,
    /// Something was not.
    Failed {
        /// All that was not, not only the first.
        mismatches: Vec<Mismatch>,
    },
    /// Nothing was wrong with the row, and yet it proves nothing: its positive
    /// control did not pass beside it. A mesh that refuses everything must not
    /// look like one that works.
    Inconclusive {
        /// The control, and what became of it.
        reason: String,
    },
    /// This stage cannot run the row.
    Skipped {
        /// Why not.
        reason: String,
    },
}

/// One thing that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// What it is about: `status`, `header www-authenticate`, `decided by`…
    pub about: String,
    /// What it had to be.
    pub want: String,
    /// What it was.
    pub got: String,
}

impl Mismatch {
    /// A mismatch about something that is neither answer nor evidence.
    pub fn new(about: impl Into<String>, want: impl Into<String>, got: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            want: want.into(),
            got: got.into(),
        }
    }
}

impl Outcome {
    /// Passed without mismatches, else failed.
    pub fn of(mismatches: Vec<Mismatch>) -> Self {
        if mismatches.is_empty() {
            Self::Passed
        } else {
            Self::Failed { mismatches }
        }
    }

    /// Whether the row passed.
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// Whether the row failed.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// Whether the row proves nothing for want of its control.
    pub fn is_inconclusive(&self) -> bool {
        matches!(self, Self::Inconclusive { .. })
    }

    /// What this outcome is worth beside the case's control; `passed` tells
    /// whether a case passed, if it was asked. What failed by itself stays so.
    #[must_use]
    pub fn beside_control(self, case: &Case, passed: impl Fn(&str) -> Option<bool>) -> Self {
        let (Self::Passed, Some(control)) = (&self, &case.control) else {
            return self;
        };
        let became = match passed(control) {
            Some(true) => return self,
            Some(false) => "did not pass",
            None => "was not asked",
        };
        Self::Inconclusive {
            reason: format!("its control `{control}` {became}"),
        }
    }
}

/// Holds the answer and the access-log records of one request against what had
/// to come.
pub fn judge(expected: &Expected, answer: &Answer, records: &[AccessRecord]) -> Vec<Mismatch> {
    let mut mismatches = judge_answer(&expected.answer, answer);
    mismatches.extend(judge_records(expected, records));
    mismatches
}

fn judge_answer(expected: &ExpectedAnswer, answer: &Answer) -> Vec<Mismatch> {
    match (expected, answer.response()) {
        (ExpectedAnswer::ConnectionRefused, None) => vec![],
        (ExpectedAnswer::ConnectionRefused, Some(_)) => {
            vec![Mismatch::new(
                "answer",
                "a refused connection",
                received(answer),
            )]
        }
        (ExpectedAnswer::Http { status, .. }, None) => {
            vec![Mismatch::new(
                "answer",
                status.to_string(),
                received(answer),
            )]
        }
        (
            ExpectedAnswer::Http {
                status,
                body,
                headers,
            },
            Some(response),
        ) => {
            let body = body
                .as_ref()
                .and_then(|body| judge_body(body, &response.body));
            let headers = headers
                .iter()
                .filter_map(|header| judge_header(header, response));
            judge_status(*status, response)
                .into_iter()
                .chain(body)
                .chain(headers)
                .collect()
        }
    }
}

fn judge_status(want: u16, response: &Response) -> Option<Mismatch> {
    let got = response.status;
    (got != want).then(|| Mismatch::new("status", want.to_string(), got.to_string()))
}

/// The answer in one line.
pub fn received(answer: &Answer) -> String {
    match answer.response() {
        Some(response) => response.status.to_string(),
        None => format!("no answer: {}", answer.error().unwrap_or("unknown")),
    }
}

/// A body's beginning, as much as a report has room for.
pub fn excerpt(body: &str) -> String {
    const ROOM: usize = 300;
    match body.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body.to_owned(),
    }
}

fn judge_body(expected: &ExpectedBody, body: &str) -> Option<Mismatch> {
    let (fits, want) = match expected {
        ExpectedBody::Exact(text) => (body == text, text.clone()),
        ExpectedBody::Contains(part) => (body.contains(part), format!("with `{part}` in it")),
        ExpectedBody::Json(members) => {
            let want = Value::Object(members.clone()).to_string();
            (has_members(body, members), want)
        }
    };
    (!fits).then(|| Mismatch::new("body", want, excerpt(body)))
}

/// Whether the body is a JSON object with these members; an absent one is null.
fn has_members(body: &str, members: &Object) -> bool {
    let Ok(Value::Object(got)) = serde_json::from_str(body) else {
        return false;
    };
    members
        .iter()
        .all(|(name, want)| got.get(name).unwrap_or(&Value::Null) == want)
}

fn judge_header((name, want): (&String, &String), response: &Response) -> Option<Mismatch> {
    let values: Vec<_> = response
        .headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect();
    if values == [want] {
        return None;
    }
    let got = if values.is_empty() {
        "absent".to_owned()
    } else {
        values.join(" | ")
    };
    Some(Mismatch::new(format!("header {name}"), want, got))
}

fn judge_records(expected: &Expected, records: &[AccessRecord]) -> Vec<Mismatch> {
    let about = "evidence";
    // A refused connection has no request id, so retries of it count as well.
    let one_is_due = matches!(expected.answer, ExpectedAnswer::Http { .. });
    match records {
        [] => vec![Mismatch::new(about, "an access-log record", "none")],
        [_, _, ..] if one_is_due => {
            let got = format!("{}: the request was sent more than once", records.len());
            vec![Mismatch::new(about, "one access-log record", got)]
        }
        _ => records
            .iter()
            .flat_map(|record| judge_record(expected, record))
            .collect(),
    }
}

fn judge_record(expected: &Expected, record: &AccessRecord) -> Vec<Mismatch> {
    let mut mismatches = vec![];
    let decided = record.decided_by();
    if decided.as_ref() != Ok(&expected.decided_by) {
        let got = decided.map_or_else(|other| other.to_string(), |filter| filter.to_string());
        mismatches.push(Mismatch::new(
            "decided by",
            expected.decided_by.to_string(),
            got,
        ));
    }
    let details = record.response_code_details.as_deref().unwrap_or("absent");
    if let Some(want) = &expected.details {
        let fits = match want.strip_suffix('*') {
            Some(beginning) => details.starts_with(beginning),
            None => details == want,
        };
        if !fits {
            mismatches.push(Mismatch::new("response_code_details", want, details));
        }
    }
    mismatches
}

/// An answer that came so long after minting that it proves nothing. Ask again
/// first: see [`is_late`].
pub fn judge_lateness(case: &Case, since_minting: Duration) -> Option<Mismatch> {
    let limit = case
        .answer_within
        .filter(|_| is_late(case, since_minting))?;
    Some(Mismatch::new(
        "time of the answer",
        format!("within {limit:#}"),
        format!("after {:.1} s", since_minting.as_secs_f64()),
    ))
}

/// Whether the answer came too late after minting to mean anything.
pub fn is_late(case: &Case, since_minting: Duration) -> bool {
    case.answer_within
        .is_some_and(|limit| limit.unsigned_abs() < since_minting)
}

#[cfg(test)]
mod tests;
