//! One run with a row of every kind, as each renderer shows it.

use super::*;
use crate::suite::tests::project;
use crate::verdict::Mismatch;

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl";

fn of(profile: &str) -> RowOf<'_> {
    RowOf {
        suite: project(),
        stage: StageName::Kind,
        place: "--stage kind",
        profile,
    }
}

fn row(name: &str, family: &str, outcome: Outcome) -> Row {
    Row {
        name: name.into(),
        family: family.into(),
        why: None,
        caller: Some("token-client".into()),
        provenance: Provenance::Granted,
        token: "granted: user".into(),
        request: "GET /data".into(),
        request_id: Some("0d9f6d1c5a3b4f0e8f1d2c3b4a596877".into()),
        want: "200 app".into(),
        got: "200".into(),
        decided_by: "app".into(),
        evidence: AccessRecord::parse(
            r#"{"start_time": "2026-11-24T08:00:00.123Z", "method": "GET", "response_code": 200,
                "response_code_details": "via_upstream", "response_flags": "-",
                "downstream_peer_principal": "spiffe://cluster.local/ns/demo/sa/token-client",
                "duration": 3}"#,
        ),
        body: Some("Data from backend!".into()),
        elapsed_ms: Some(4),
        explained: None,
        difference: None,
        outcome,
        rerun: of("full").rerun(name),
    }
}

pub(crate) fn run() -> Run {
    let passed = row("user is allowed", "allowed", Outcome::Passed);
    let mismatches = vec![
        Mismatch::new("status", "401", "200"),
        Mismatch::new(
            "body",
            "Jwt verification fails",
            format!("{{\"you sent\": \"{JWT}\"}}"),
        ),
        Mismatch::new("decided by", "authn", "app"),
    ];
    let failed = Row {
        why: Some("the kid only picks a key, the signature decides".into()),
        provenance: Provenance::Forged,
        token: "forged: user, signed with foreign-key".into(),
        want: "401 authn".into(),
        ..row(
            "foreign key under the right kid",
            "not signed by the realm",
            Outcome::Failed { mismatches },
        )
    };
    let skipped = Row {
        caller: Some("outsider".into()),
        request_id: None,
        want: "refused mtls".into(),
        got: "-".into(),
        decided_by: "-".into(),
        evidence: None,
        body: None,
        elapsed_ms: None,
        ..row(
            "good token in plain text",
            "plain text",
            Outcome::Skipped {
                reason: "no workload without a proxy here".into(),
            },
        )
    };
    Run {
        id: "20261124T080000-kind-full".into(),
        started: "2026-11-24T08:00:00Z".parse().unwrap(),
        stage: StageName::Kind,
        profile: "full".into(),
        usual_caller: "token-client".into(),
        versions: [("istio", "1.31.0"), ("keycloak", "26.7.3")]
            .map(|(name, version)| (name.into(), version.into()))
            .into(),
        phases: vec![
            Phase {
                name: "create the cluster".into(),
                seconds: 11.8,
            },
            Phase {
                name: "ask the table".into(),
                seconds: 2.04,
            },
        ],
        of: 5,
        rows: vec![passed, failed, skipped],
    }
}

fn all_passed() -> Run {
    let mut run = run();
    run.rows.truncate(1);
    run
}

// === What each looks like ===

#[test]
fn table_breaks_no_name_of_a_query() {
    let mut run = run();
    run.rows[0].request = "GET /whoami?access_token={other_token}".into();
    run.rows[0].decided_by = "missing-token".into();
    run.rows[0].want = "401 missing-token".into();
    let table = table::render(&run, false);
    for whole in ["?access_token=", "{other_token}"] {
        assert!(table.contains(whole), "{table}");
    }
    assert!(
        table.lines().all(|line| line.chars().count() <= 120),
        "{table}"
    );
}

#[test]
fn table_shows_every_row_and_all_about_failures() {
    insta::assert_snapshot!(table::render(&run(), false));
}

#[test]
fn markdown_shows_failures_first() {
    insta::assert_snapshot!(markdown::render(&run()));
}

#[test]
fn junit_has_a_suite_per_family() {
    insta::assert_snapshot!(junit::render(&run()).unwrap());
}

#[test]
fn json_holds_everything() {
    insta::assert_snapshot!(json::render(&run()).unwrap());
}

// === What holds for all of them ===

#[test]
fn no_renderer_lets_a_token_out() {
    let mut run = run();
    // Long enough to be broken into lines.
    run.rows[0].got = format!("no answer: {JWT}{}", "Ab3dEf7h".repeat(100));
    for text in [
        table::render(&run, true),
        markdown::render(&run),
        junit::render(&run).unwrap(),
        json::render(&run).unwrap(),
    ] {
        assert!(!text.contains("eyJ"), "{text}");
        assert!(!text.contains("Ab3dEf7h"), "{text}");
        assert!(text.contains("redacted"), "{text}");
    }
}

#[test]
fn run_in_which_nothing_was_judged_does_not_succeed() {
    let mut run = run();
    run.rows.drain(..2);
    assert!(!run.succeeded());
    assert_eq!(
        run.summary(),
        "0 of 5 rows judged: 0 passed, 0 failed, 1 skipped"
    );
    assert!(all_passed().succeeded());
}

#[test]
fn one_failure_is_enough_to_fail_the_run() {
    assert!(!run().succeeded());
    assert_eq!(
        run().summary(),
        "2 of 5 rows judged: 1 passed, 1 failed, 1 skipped"
    );
}

#[test]
fn row_without_its_control_fails_the_run_and_is_told_in_one_line() {
    let mut run = all_passed();
    let reason = "its control `user is allowed` did not pass".to_owned();
    for name in ["no token", "junk"] {
        let outcome = Outcome::Inconclusive {
            reason: reason.clone(),
        };
        run.rows.push(row(name, "refused", outcome));
    }
    assert!(!run.succeeded());
    assert_eq!(
        run.summary(),
        "3 of 5 rows judged: 1 passed, 0 failed, 2 inconclusive, 0 skipped"
    );
    let line = "inconclusive, because their control did not pass: no token; junk";
    for text in [table::render(&run, false), markdown::render(&run)] {
        assert_eq!(text.matches(line).count(), 1, "{text}");
    }
    assert!(
        junit::render(&run)
            .unwrap()
            .contains("inconclusive: its control")
    );
}

#[test]
fn failed_row_is_told_with_the_cause_that_the_model_sees() {
    let mut run = run();
    run.rows[1].explained = Some(Explained {
        verdict: "refused".into(),
        filter: "envoy.filters.http.rbac".into(),
        policy: Some("demo/backend".into()),
        reason: "no rule matches".into(),
        wanted: vec!["request.auth.claims[email]: `other@example.com`".into()],
    });
    let text = table::render(&run, false);
    assert!(
        text.contains(
            "explained: refused by demo/backend: no rule matches; wanted \
             request.auth.claims[email]: `other@example.com`"
        ),
        "{text}"
    );
}

#[test]
fn table_fits_its_width() {
    let mut run = run();
    run.rows[0].name = "a very long name ".repeat(8);
    run.rows[0].token = "user, aud [\"account\",\"my-backend-client\"] ".repeat(3);
    run.rows[0].request = format!("GET /data?{}", "x".repeat(200));
    let text = table::render(&run, false);
    let widest = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.chars().count());
    assert!(widest.max().unwrap() <= usize::from(table::WIDTH), "{text}");
}

#[test]
fn colours_are_there_only_if_asked() {
    assert!(table::render(&run(), true).contains('\u{1b}'));
    assert!(!table::render(&run(), false).contains('\u{1b}'));
}

#[test]
fn markdown_stays_below_its_limit_and_says_that_it_was_cut() {
    let mut run = run();
    let failed = run.rows[1].clone();
    run.rows = vec![failed; 5000];
    let text = markdown::render(&run);
    assert!(text.len() <= markdown::MAX_BYTES, "{} bytes", text.len());
    assert!(
        text.trim_end()
            .ends_with("the whole report is in the artefact `report.json`.**")
    );
}

#[test]
fn markdown_keeps_markup_of_others_from_being_read() {
    let mut run = run();
    run.rows[0].name = "a | b <script> *c*\nd".into();
    let text = markdown::render(&run);
    assert!(text.contains(r"a \| b &lt;script> \*c\* d"), "{text}");
}

#[test]
fn command_to_ask_again_survives_the_shell() {
    assert_eq!(
        RowOf {
            place: "--stage local --name two",
            ..of("stock")
        }
        .rerun("user's token"),
        r"cargo mesh verify --stage local --name two --profile stock --filter 'user'\''s token'"
    );
}

#[test]
fn difference_is_shown_with_its_lines_and_cut_where_it_is_long() {
    let mut run = run();
    let difference = format!("--- model\n+++ sidecar\n{}", "-  any: true\n".repeat(50));
    run.rows = vec![of("full").check(
        "model of backend equals its sidecar",
        "model",
        ["filters of its sidecar", "equal", "different"],
        Some(difference),
        Outcome::of(vec![Mismatch::new("filters", "the model's", "others")]),
    )];
    for text in [
        table::render(&run, false),
        markdown::render(&run),
        junit::render(&run).unwrap(),
    ] {
        assert!(text.contains("+++ sidecar\n"), "{text}");
        assert!(
            text.contains("12 lines more, in the evidence folder"),
            "{text}"
        );
        assert!(!text.contains(" from "), "no request, so no caller: {text}");
    }
    assert_eq!(json::render(&run).unwrap().matches("any: true").count(), 50);
}

#[test]
fn json_report_can_be_read_back() {
    let read: Run = serde_json::from_str(&json::render(&run()).unwrap()).unwrap();
    assert_eq!(read.tally(), run().tally());
    assert_eq!(read.rows[0].name, "user is allowed");
}
