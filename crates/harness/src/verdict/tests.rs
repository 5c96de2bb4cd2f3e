//! Every way in which a row can be wrong turns it red.

use serde_json::json;
use token_client::batch;

use super::*;
use crate::suite::Suite;
use crate::suite::tests::with_cases;
use crate::token::{Keyring, Mint};

const DETAILS: &str = "jwt_authn_access_denied{Jwt_is_expired}";

/// The verdict that these lines of YAML expect.
fn expected(yaml: &str) -> Expected {
    serde_saphyr::from_str(yaml).unwrap()
}

fn expired() -> Expected {
    expected(
        "{status: 401, body: Jwt is expired, headers: {www-authenticate: Bearer}, decided_by: authn,
          details: 'jwt_authn_access_denied{Jwt_is_expired}'}",
    )
}

fn answer(status: u16, body: &str) -> Answer {
    let answer = json!({
        "id": "4f2c",
        "status": status,
        "headers": [["www-authenticate", "Bearer"], ["server", "envoy"]],
        "body": body,
        "elapsed_ms": 3
    });
    serde_json::from_value(answer).unwrap()
}

fn no_answer() -> Answer {
    serde_json::from_value(json!({"id": "4f2c", "error": "connection reset", "elapsed_ms": 3}))
        .unwrap()
}

fn record(details: &str) -> AccessRecord {
    let record = json!({
        "start_time": "2026-11-24T08:00:00Z",
        "method": "GET",
        "response_code": 401,
        "response_code_details": details
    });
    serde_json::from_value(record).unwrap()
}

fn refusal() -> AccessRecord {
    let record =
        json!({"start_time": "2026-11-24T08:00:00Z", "response_code": 0, "response_flags": "NR"});
    serde_json::from_value(record).unwrap()
}

/// What mismatches are about, in their order.
fn complaints(mismatches: &[Mismatch]) -> Vec<&str> {
    mismatches.iter().map(|m| m.about.as_str()).collect()
}

// === Answer and evidence ===

#[test]
fn answer_and_evidence_as_expected_pass() {
    let outcome = judge(
        &expired(),
        &answer(401, "Jwt is expired"),
        &[record(DETAILS)],
    );
    assert_eq!(outcome, []);
}

#[test]
fn every_mismatch_is_told_not_only_the_first() {
    let mut answer = answer(403, "RBAC: access denied");
    if let batch::Outcome::Response(response) = &mut answer.outcome {
        response.headers.clear();
    }
    let record = record("rbac_access_denied_matched_policy[none]");
    let outcome = judge(&expired(), &answer, &[record]);
    let told = |about: &str, want: &str, got: &str| Mismatch::new(about, want, got);
    assert_eq!(
        outcome,
        [
            told("status", "401", "403"),
            told("body", "Jwt is expired", "RBAC: access denied"),
            told("header www-authenticate", "Bearer", "absent"),
            told("decided by", "authn", "authz"),
            told(
                "response_code_details",
                DETAILS,
                "rbac_access_denied_matched_policy[none]"
            ),
        ]
    );
}

#[test]
fn right_answer_by_the_wrong_filter_fails() {
    let outcome = judge(
        &expired(),
        &answer(401, "Jwt is expired"),
        &[record("via_upstream")],
    );
    assert_eq!(
        complaints(&outcome),
        ["decided by", "response_code_details"]
    );
}

#[test]
fn right_answer_without_evidence_fails() {
    let outcome = judge(&expired(), &answer(401, "Jwt is expired"), &[]);
    assert_eq!(complaints(&outcome), ["evidence"]);
}

#[test]
fn request_that_was_sent_twice_fails() {
    let record = record(DETAILS);
    let outcome = judge(
        &expired(),
        &answer(401, "Jwt is expired"),
        &[record.clone(), record],
    );
    assert_eq!(complaints(&outcome), ["evidence"]);
}

#[test]
fn unrecognised_details_never_equal_an_expectation() {
    let expected = expected("{status: 401, decided_by: gateway}");
    let outcome = judge(&expected, &answer(401, ""), &[record("something_new")]);
    assert_eq!(complaints(&outcome), ["decided by"]);
}

#[test]
fn details_may_be_given_by_their_beginning() {
    let expected = |details: &str| {
        expected(&format!(
            "{{status: 401, decided_by: authn, details: '{details}'}}"
        ))
    };
    let outcome = |details: &str| judge(&expected(details), &answer(401, ""), &[record(DETAILS)]);
    assert_eq!(outcome("jwt_authn_access_denied{*"), []);
    assert_eq!(
        complaints(&outcome("jwt_authn_access_denied{")),
        ["response_code_details"]
    );
}

#[test]
fn missing_answer_fails_where_one_was_due() {
    let outcome = judge(&expired(), &no_answer(), &[record(DETAILS)]);
    assert_eq!(
        outcome,
        [Mismatch::new(
            "answer",
            "401",
            "no answer: connection reset"
        )]
    );
}

// === Refused connections ===

#[test]
fn refused_connection_passes_with_evidence_only() {
    let refused = expected("{connection: refused, decided_by: mtls}");
    assert_eq!(judge(&refused, &no_answer(), &[refusal()]), []);
    assert_eq!(judge(&refused, &no_answer(), &[refusal(), refusal()]), []);
    assert_eq!(
        complaints(&judge(&refused, &no_answer(), &[])),
        ["evidence"]
    );
}

#[test]
fn answer_fails_where_the_connection_was_to_be_refused() {
    let refused = expected("{connection: refused, decided_by: mtls}");
    let outcome = judge(&refused, &answer(200, ""), &[record("via_upstream")]);
    assert_eq!(complaints(&outcome), ["answer", "decided by"]);
}

// === Bodies and headers ===

fn body_complaints(body: &str, got: &str) -> usize {
    let expected = expected(&format!("{{status: 200, {body}, decided_by: app}}"));
    complaints(&judge(
        &expected,
        &answer(200, got),
        &[record("via_upstream")],
    ))
    .len()
}

#[test]
fn body_is_compared_as_the_case_wants_it() {
    assert_eq!(body_complaints("body: data", "data"), 0);
    assert_eq!(body_complaints("body: data", "data!"), 1);
    assert_eq!(body_complaints("body_contains: data", "some data!"), 0);
    assert_eq!(body_complaints("body_contains: data", "some"), 1);
}

#[test]
fn json_body_may_have_more_members_but_no_others() {
    assert_eq!(
        body_complaints("json: {sub: '42'}", r#"{"sub":"42","azp":"a"}"#),
        0
    );
    assert_eq!(body_complaints("json: {sub: '42'}", r#"{"sub":"43"}"#), 1);
    assert_eq!(body_complaints("json: {sub: '42'}", "{}"), 1);
    assert_eq!(body_complaints("json: {email: null}", "{}"), 0);
    assert_eq!(
        body_complaints("json: {email: null}", r#"{"email":null}"#),
        0
    );
    assert_eq!(
        body_complaints("json: {email: null}", r#"{"email":"a"}"#),
        1
    );
    assert_eq!(body_complaints("json: {email: null}", "not JSON"), 1);
}

#[test]
fn header_that_came_twice_fails() {
    let mut answer = answer(401, "Jwt is expired");
    if let batch::Outcome::Response(response) = &mut answer.outcome {
        response
            .headers
            .push(("WWW-Authenticate".into(), "Basic".into()));
    }
    let outcome = judge(&expired(), &answer, &[record(DETAILS)]);
    assert_eq!(complaints(&outcome), ["header www-authenticate"]);
}

// === Controls and lateness ===

/// A control and a negative case beside it.
fn table() -> Suite {
    with_cases(
        "
family: some
control: ok
expect: {status: 401, decided_by: authn}
cases:
  - {name: ok, token: {granted: user}, expect: {status: 200, decided_by: app}}
  - {name: bad, token: {raw: junk}, answer_within: 1s}
",
    )
    .unwrap()
}

fn beside(control: Option<bool>, negative: Outcome) -> Outcome {
    let table = table();
    negative.beside_control(&table.cases.all()[1], |name| {
        assert_eq!(name, "ok");
        control
    })
}

#[test]
fn negative_row_beside_a_passing_control_counts() {
    assert_eq!(beside(Some(true), Outcome::Passed), Outcome::Passed);
}

#[test]
fn row_without_a_passing_control_is_inconclusive() {
    let told = |control| match beside(control, Outcome::Passed) {
        Outcome::Inconclusive { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(Some(false)), "its control `ok` did not pass");
    assert_eq!(told(None), "its control `ok` was not asked");
}

#[test]
fn row_that_differs_by_itself_fails_whatever_its_control_did() {
    let failed = Outcome::of(vec![Mismatch::new("status", "401", "200")]);
    assert_eq!(beside(Some(false), failed.clone()), failed);
    let skipped = Outcome::Skipped {
        reason: "because".into(),
    };
    assert_eq!(
        beside(None, skipped.clone()),
        skipped,
        "nothing was claimed"
    );
}

#[test]
fn answer_that_came_too_late_fails_whatever_it_was() {
    let table = table();
    let [ok, bad, ..] = table.cases.all() else {
        panic!("two cases")
    };
    let is_judged =
        |case: &Case, millis: u64| judge_lateness(case, Duration::from_millis(millis)).is_some();
    assert!(!is_judged(bad, 1000));
    assert!(is_judged(bad, 1001));
    assert!(!is_judged(ok, 60_000));
}

// === The whole way ===

#[test]
fn row_goes_from_recipe_to_verdict() {
    let table = table();
    let keyring = Keyring::new([]).unwrap();
    let granted = std::collections::BTreeMap::new();
    let mint = Mint {
        granted: &granted,
        keyring: &keyring,
    };
    let bad = &table.cases.all()[1];
    let prepared = bad
        .prepare("full", &mint, jiff::Timestamp::UNIX_EPOCH)
        .unwrap();
    let outcome = judge(&prepared.expected, &answer(401, ""), &[record(DETAILS)]);
    assert_eq!(outcome, []);
}
