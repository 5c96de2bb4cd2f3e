//! Predictions: what the model says of a request, held against the answer and
//! the evidence.

use policy::{Check, Explanation, Outcome, Passed, Verdict};
use serde::{Deserialize, Serialize};
use token_client::batch::Answer;

use crate::evidence::{AccessRecord, DecidedBy};
use crate::verdict::{Mismatch, excerpt, received};

/// An explanation in short, for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// `allowed`, `refused` or `unknown`.
    pub verdict: String,
    /// The filter that decides.
    pub filter: String,
    /// The policy that decides, `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// What was asked for and was not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<String>,
}

impl From<&Explanation> for Explained {
    fn from(explanation: &Explanation) -> Self {
        let (filter, policy, reason) = match &explanation.outcome {
            Some(outcome) => (
                outcome.filter.clone(),
                outcome.policy.clone(),
                outcome.reason.clone(),
            ),
            None => ("-".to_owned(), None, depends_on(explanation)),
        };
        let last_step = explanation.steps.last().into_iter();
        let checks = last_step
            .flat_map(|step| &step.checks)
            .chain(of_nearest_rules(explanation));
        Self {
            verdict: word(explanation.verdict).to_owned(),
            filter,
            policy,
            reason,
            wanted: checks
                .filter(|check| check.passed == Passed::No)
                .map(wanted)
                .collect(),
        }
    }
}

impl Explained {
    /// The cause in one line: what decides, and what it wanted.
    pub fn in_words(&self) -> String {
        let Self {
            verdict,
            filter,
            policy,
            reason,
            wanted,
        } = self;
        let decider = policy.as_ref().unwrap_or(filter);
        let wanted = match &wanted[..] {
            [] => String::new(),
            wanted => format!("; wanted {}", wanted.join(", ")),
        };
        format!("{verdict} by {decider}: {reason}{wanted}")
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Refused => "refused",
        Verdict::Unknown => "unknown",
    }
}

fn wanted(check: &Check) -> String {
    format!("{}: {}", check.what, check.wanted)
}

fn depends_on(explanation: &Explanation) -> String {
    format!("it depends on: {}", explanation.missing.join("; "))
}

/// What the rules that came nearest ask for.
fn of_nearest_rules(explanation: &Explanation) -> impl Iterator<Item = &Check> {
    let nearest = explanation.nearest.iter();
    nearest.flat_map(|near| &near.conditions)
}

/// One thing that was predicted, beside what was seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// What it is about.
    pub about: &'static str,
    /// What the model says; `None` where that is the app's own affair.
    pub predicted: Option<String>,
    /// What came.
    pub seen: String,
}

impl Pair {
    /// Whether what came is what was predicted.
    pub fn agrees(&self) -> bool {
        self.predicted.as_ref().is_none_or(|it| *it == self.seen)
    }
}

const NONE: &str = "none";

/// Sets the prediction beside what was seen of the request.
pub fn pairs(
    explanation: &Explanation,
    answer: &Answer,
    record: Option<&AccessRecord>,
) -> Vec<Pair> {
    let Some(outcome) = &explanation.outcome else {
        return vec![Pair {
            about: "answer",
            predicted: Some(depends_on(explanation)),
            seen: received(answer),
        }];
    };
    let response = answer.response();
    let header = |name: &str| {
        let headers = response.into_iter().flat_map(|response| &response.headers);
        let values: Vec<_> = headers
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(" | "))
    };
    let text = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    // What an app answers is not the proxy's to know.
    let of_refusal = |value: Option<String>| (!outcome.allowed).then(|| text(value));
    let decided_by = match record.map(AccessRecord::decided_by) {
        Some(Ok(filter)) => filter.to_string(),
        Some(Err(unrecognised)) => unrecognised.to_string(),
        None => NONE.to_owned(),
    };
    let mut pairs = vec![
        Pair {
            about: "decided by",
            predicted: predicted_filter(outcome).map(|filter| filter.to_string()),
            seen: decided_by,
        },
        Pair {
            about: "status",
            predicted: of_refusal(outcome.status.map(|status| status.to_string())),
            seen: text(response.map(|response| response.status.to_string())),
        },
        Pair {
            about: "body",
            predicted: of_refusal(outcome.body.clone()),
            seen: text(response.map(|response| response.body.clone())),
        },
        challenge(
            of_refusal(outcome.www_authenticate.clone()),
            text(header("www-authenticate")),
        ),
        Pair {
            about: "response_code_details",
            predicted: outcome.response_code_details.clone(),
            seen: text(record.and_then(|record| record.response_code_details.clone())),
        },
    ];
    let status = outcome.grpc_status.map(|status| status.to_string());
    let message = outcome.grpc_message.clone();
    for (about, predicted) in [("grpc-status", status), ("grpc-message", message)] {
        let seen = header(about);
        if predicted.is_some() || seen.is_some() {
            pairs.push(Pair {
                about,
                predicted: of_refusal(predicted),
                seen: text(seen),
            });
        }
    }
    pairs
}

/// The realm of a challenge repeats the query. The model blots out a token that
/// is in it, so what stands in that place is blotted out here.
fn challenge(predicted: Option<String>, seen: String) -> Pair {
    let blotted = predicted.as_ref().filter(|text| fits(text, &seen));
    Pair {
        about: "www-authenticate",
        seen: blotted.cloned().unwrap_or(seen),
        predicted,
    }
}

/// Whether a text is as the model says, which tells no tokens: it writes
/// `<token>` where one stands.
pub fn fits(model: &str, text: &str) -> bool {
    let mut parts = model.split("<token>");
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    for part in parts {
        let end = rest.find(['&', '"']).unwrap_or(rest.len());
        let Some(after) = rest[end..].strip_prefix(part) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

fn predicted_filter(outcome: &Outcome) -> Option<DecidedBy> {
    match &outcome.response_code_details {
        _ if outcome.status.is_none() && !outcome.allowed => Some(DecidedBy::Mtls),
        Some(details) => DecidedBy::of_details(details),
        None => None,
    }
}

/// Where prediction and reality differ.
pub fn judge(
    explanation: &Explanation,
    answer: &Answer,
    record: Option<&AccessRecord>,
) -> Vec<Mismatch> {
    pairs(explanation, answer, record)
        .into_iter()
        .filter(|pair| !pair.agrees())
        .map(|pair| {
            let predicted = excerpt(&pair.predicted.unwrap_or_default());
            Mismatch::new(
                format!("explanation: {}", pair.about),
                format!("explained as {predicted}"),
                format!("but was {}", excerpt(&pair.seen)),
            )
        })
        .collect()
}

/// Whether the explanation names what a refusal by rules is due to: neither the
/// answer nor the log does, so nothing else would tell a wrong cause.
pub fn judge_cause(explanation: &Explanation, because: &str) -> Option<Mismatch> {
    let missed: Vec<_> = of_nearest_rules(explanation)
        .filter(|check| check.passed == Passed::No)
        .map(|check| check.what.as_str())
        .collect();
    (!missed.contains(&because)).then(|| {
        let named = if missed.is_empty() {
            "nothing".to_owned()
        } else {
            missed.join(", ")
        };
        Mismatch::new("explanation: because", because, named)
    })
}

#[cfg(test)]
mod tests {
    use policy::{Request, Token};
    use serde_json::{Value, json};

    use super::super::tests::explained_by;
    use super::*;

    /// What the model says of a request to a workload that wants a token.
    fn explained(path: &str, token: &Token) -> Explanation {
        let rules = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: demo}
spec: {jwtRules: [{issuer: https://issuer.example}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open, namespace: demo}
spec: {rules: [{to: [{operation: {paths: [/open]}}]}]}
";
        let request = Request {
            host: Some("backend.demo".to_owned()),
            ..Request::new("GET", path)
        };
        explained_by(rules, &request, token)
    }

    fn answer(status: u16, headers: &Value, body: &str) -> Answer {
        let answer = json!({"id": "1", "status": status, "headers": headers, "body": body});
        serde_json::from_value(answer).unwrap()
    }

    fn record(status: u16, details: &str) -> AccessRecord {
        let line = json!({
            "start_time": "2026-11-24T08:00:00Z", "method": "GET",
            "response_code": status, "response_code_details": details,
        });
        AccessRecord::parse(&line.to_string()).unwrap()
    }

    fn abouts(mismatches: &[Mismatch]) -> Vec<&str> {
        mismatches.iter().map(|it| it.about.as_str()).collect()
    }

    #[test]
    fn refusal_as_explained_is_no_mismatch() {
        let answer = answer(403, &json!([]), "RBAC: access denied");
        let record = record(403, "rbac_access_denied_matched_policy[none]");
        let explanation = explained("/data", &Token::None);
        assert_eq!(judge(&explanation, &answer, Some(&record)), []);
        assert_eq!(pairs(&explanation, &answer, Some(&record)).len(), 5);
    }

    #[test]
    fn body_of_an_allowed_request_is_the_apps_own() {
        let answer = answer(404, &json!([]), "no such thing");
        let record = record(404, "via_upstream");
        let explanation = explained("/open", &Token::None);
        assert_eq!(judge(&explanation, &answer, Some(&record)), []);
    }

    #[test]
    fn everything_that_came_otherwise_is_told() {
        let answer = answer(401, &json!([["www-authenticate", "Bearer"]]), "no");
        let record = record(401, "lua_response");
        let mismatches = judge(&explained("/data", &Token::None), &answer, Some(&record));
        assert_eq!(
            abouts(&mismatches),
            [
                "explanation: decided by",
                "explanation: status",
                "explanation: body",
                "explanation: www-authenticate",
                "explanation: response_code_details"
            ]
        );
        assert_eq!(mismatches[1].want, "explained as 403");
        assert_eq!(mismatches[1].got, "but was 401");
    }

    #[test]
    fn allowed_request_that_never_reached_the_app_is_told() {
        let answer = answer(403, &json!([]), "RBAC: access denied");
        let record = record(403, "rbac_access_denied_matched_policy[none]");
        let mismatches = judge(&explained("/open", &Token::None), &answer, Some(&record));
        let want = [
            "explanation: decided by",
            "explanation: response_code_details",
        ];
        assert_eq!(abouts(&mismatches), want);
    }

    #[test]
    fn answer_without_evidence_is_not_as_explained() {
        let answer = answer(200, &json!([]), "");
        let mismatches = judge(&explained("/open", &Token::None), &answer, None);
        assert_eq!(mismatches.len(), 2, "{mismatches:?}");
    }

    #[test]
    fn what_a_grpc_client_is_told_is_compared() {
        let answer = answer(200, &json!([["grpc-status", "16"]]), "");
        let record = record(200, "rbac_access_denied_matched_policy[none]");
        let plain = explained("/data", &Token::None);
        let mismatches = judge(&plain, &answer, Some(&record));
        let want = [
            "explanation: status",
            "explanation: body",
            "explanation: grpc-status",
        ];
        assert_eq!(abouts(&mismatches), want);
    }

    #[test]
    fn unknown_is_never_right() {
        let explanation = explained("/data", &Token::Unknown);
        assert!(explanation.outcome.is_none());
        let answer = answer(403, &json!([]), "RBAC: access denied");
        let record = record(403, "rbac_access_denied_matched_policy[none]");
        let mismatches = judge(&explanation, &answer, Some(&record));
        assert_eq!(abouts(&mismatches), ["explanation: answer"]);
        assert!(mismatches[0].want.contains("it depends on: token"));
    }

    #[test]
    fn token_in_a_realm_is_blotted_out_and_the_rest_compared() {
        let explanation = explained("/data?access_token=junk&a=b", &Token::None);
        let challenge = |realm: &str| {
            let value =
                format!("Bearer realm=\"http://backend.demo{realm}\", error=\"invalid_token\"");
            let answer = answer(401, &json!([["www-authenticate", value]]), "");
            let pairs = pairs(&explanation, &answer, None);
            pairs
                .into_iter()
                .find(|it| it.about == "www-authenticate")
                .unwrap()
        };
        let right = challenge("/data?access_token=junk&a=b");
        assert!(right.agrees() && !right.seen.contains("junk"), "{right:?}");
        assert!(!challenge("/data?access_token=junk&a=c").agrees());
        assert!(!challenge("/other?access_token=junk&a=b").agrees());
    }

    #[test]
    fn explained_in_short_names_filter_and_what_was_wanted() {
        let short = Explained::from(&explained("/data", &Token::None));
        assert_eq!(short.verdict, "refused");
        assert_eq!(short.filter, "envoy.filters.http.rbac");
        assert_eq!(short.wanted, ["paths: `/open`"]);
    }

    #[test]
    fn explanation_must_name_the_cause() {
        let explanation = explained("/data", &Token::None);
        assert_eq!(judge_cause(&explanation, "paths"), None);
        let wrong = judge_cause(&explanation, "methods").unwrap();
        assert_eq!(
            (wrong.want.as_str(), wrong.got.as_str()),
            ("methods", "paths")
        );
        let allowed = judge_cause(&explained("/open", &Token::None), "paths").unwrap();
        assert_eq!(allowed.got, "nothing");
    }
}
