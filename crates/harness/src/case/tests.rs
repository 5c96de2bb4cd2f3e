//! The loader's complaints, the selection, and the project's own table.

use std::fs;

use secrecy::SecretString;

use super::*;
use crate::suite::tests::{project, with_cases};
use crate::token::{Granted, Keyring, generate_private_key};
use crate::workspace;

/// Loads one file of this text.
fn load(yaml: &str) -> Result<Cases, String> {
    with_cases(yaml).map(|suite| suite.cases)
}

/// A file with a control, then these lines as further cases.
fn with_control(cases: &str) -> String {
    let control = "{name: ok, token: {granted: user}, expect: {status: 200, decided_by: app}}";
    format!("family: some\ncontrol: ok\ncases:\n  - {control}\n{cases}")
}

fn complaint(cases: &str) -> String {
    load(&with_control(cases)).unwrap_err()
}

// === The project's own table ===

#[test]
fn the_projects_own_table_loads() {
    let cases = &project().cases;
    assert!(cases.all().len() > 50, "{} cases", cases.all().len());
}

#[test]
fn every_refusal_by_the_rules_says_what_was_missed() {
    let suite = project();
    for case in suite.cases.all() {
        let expected = case.expected(&suite.usual_profile().name);
        let by_rules = expected.decided_by == DecidedBy::Authz;
        assert_eq!(expected.because.is_some(), by_rules, "{}", case.name);
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for entry in fs::read_dir(workspace::path("e2e/cases")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
    }
}

// === Complaints ===

#[test]
fn unknown_key_is_refused_with_file_and_line() {
    let text = complaint("  - {name: a, token: none, expectation: 1}");
    assert!(
        text.starts_with("10-some.yaml:5: unknown field `expectation`"),
        "{text}"
    );
}

#[test]
fn unreadable_time_is_refused_with_file_and_line() {
    let text = complaint("  - name: a\n    token: {minted: {like: user, claims: {exp: now-soon}}}");
    assert_eq!(
        text,
        "10-some.yaml:6: cannot read the time `now-soon`: write `now`, `now-59s` or `now+1h`"
    );
}

#[test]
fn two_kinds_of_body_are_refused() {
    let text = complaint(
        "  - name: a\n    token: none\n    expect: {status: 401, body: a, body_contains: b, decided_by: authn}",
    );
    assert_eq!(
        text,
        "10-some.yaml:7: give one of `body`, `body_contains` and `json`"
    );
}

#[test]
fn refused_connection_cannot_have_a_body() {
    let text = complaint(
        "  - name: a\n    token: none\n    expect: {connection: refused, body: a, decided_by: mtls}",
    );
    assert_eq!(
        text,
        "10-some.yaml:7: a refused connection has neither headers nor a body"
    );
}

#[test]
fn cause_is_for_refusals_by_authz_only() {
    let text = complaint(
        "  - {name: a, token: none, because: paths, expect: {status: 401, decided_by: authn}}",
    );
    assert_eq!(
        text,
        "10-some.yaml:5: `because` is for refusals by authz; other filters say why"
    );
}

#[test]
fn all_problems_are_told_not_only_the_first() {
    let text = complaint(
        "  - {name: ok, token: {granted: nobody}, expect: {status: 403, decided_by: authz}}
  - {name: b, token: none, request: {authorization: 'Bearer {token}'}, expect: {status: 401, decided_by: authn}}
  - {name: c, token: none, control: c, expect: {status: 401, decided_by: authn}}
  - {name: d, token: none, control: b, expect: {status: 401, decided_by: authn}}
  - {name: e, token: none, control: gone, expect: {status: 401, decided_by: authn}}
  - {name: f, token: none}",
    );
    insta::assert_snapshot!(text, @"
    10-some.yaml:5: `ok` is also the name of a case in 10-some.yaml:4
    10-some.yaml:5: a case cannot be its own control
    10-some.yaml:5: the suite has no grant `nobody`
    10-some.yaml:6: `token` and `{token}` in the request belong together
    10-some.yaml:7: a case cannot be its own control
    10-some.yaml:8: `b` cannot be a control: it does not expect a success
    10-some.yaml:9: there is no case `gone` to be the control
    10-some.yaml:10: no `expect`, here or at the top
    ");
}

#[test]
fn unknown_caller_and_profile_are_refused() {
    let text = complaint(
        "  - {name: a, caller: nobody, token: none, expect: {status: 200, decided_by: app}, profiles: {odd: {status: 200, decided_by: app}}}",
    );
    assert_eq!(
        text,
        "10-some.yaml:5: the suite has no caller `nobody`; it has asker, stranger\n\
         10-some.yaml:5: the suite has no profile `odd`; it has full, stock"
    );
}

#[test]
fn negative_case_without_a_control_is_refused() {
    let text = load(
        "family: some\ncases: [{name: a, token: none, expect: {status: 401, decided_by: authn}}]",
    )
    .unwrap_err();
    assert_eq!(
        text,
        "10-some.yaml:2: a negative case needs a `control`: a case that succeeds"
    );
}

#[test]
fn case_that_is_negative_in_one_profile_only_needs_a_control() {
    let text = load(
        "family: some\ncases: [{name: a, token: none, expect: {status: 200, decided_by: app}, profiles: {stock: {status: 403, decided_by: authz}}}]",
    )
    .unwrap_err();
    assert!(text.contains("needs a `control`"), "{text}");
}

#[test]
fn control_that_is_skipped_where_the_case_is_not_is_refused() {
    let text = load(
        "family: some
cases:
  - {name: ok, token: {granted: user}, skip: {local: because}, expect: {status: 200, decided_by: app}}
  - {name: no, token: none, control: ok, expect: {status: 401, decided_by: authn}}",
    )
    .unwrap_err();
    assert_eq!(
        text,
        "10-some.yaml:4: the control `ok` is skipped on `local`, where this case is not"
    );
}

#[test]
fn file_without_cases_is_refused_by_name() {
    for text in [
        "family: none\ncases: []\n",
        "family: none\ncases:\n",
        "",
        "# all gone\n",
    ] {
        let error = load(text).unwrap_err();
        assert!(error.starts_with("10-some.yaml"), "{error}");
    }
}

#[test]
fn expectation_that_holds_of_every_answer_is_refused() {
    for (expected, complaint) in [
        (
            "body_contains: ''",
            "every body has an empty `body_contains`",
        ),
        ("json: {}", "every object has no members"),
        ("details: '*'", "everything matches the details `*`"),
    ] {
        let text = complaint_of_verdict(expected);
        assert!(text.starts_with("10-some.yaml:5: "), "{text}");
        assert!(text.contains(complaint), "{text}");
    }
}

#[test]
fn member_that_is_null_everywhere_is_taken_for_misspelled() {
    let text = complaint_of_verdict("json: {sub: x, emial: null}");
    assert_eq!(
        text,
        "10-some.yaml:5: `emial: null` holds of every body if it is misspelled: some case must \
         expect a value of `emial`"
    );
    let another =
        "  - {name: b, token: none, expect: {status: 200, json: {email: a@b}, decided_by: app}}";
    let both = format!(
        "  - {{name: a, token: none, expect: {{status: 200, json: {{email: null}}, decided_by: app}}}}\n{another}"
    );
    assert!(load(&with_control(&both)).is_ok());
}

fn complaint_of_verdict(expected: &str) -> String {
    complaint(&format!(
        "  - {{name: a, token: none, expect: {{status: 200, {expected}, decided_by: app}}}}"
    ))
}

// === Inheritance ===

const TWO_PROFILES: &str = "
family: some
control: ok
expect: {status: 401, decided_by: missing-token}
profiles: {stock: {status: 403, decided_by: authz}}
cases:
  - {name: ok, token: {granted: user}, expect: {status: 200, decided_by: app}}
  - {name: no token, token: none}
  - {name: junk, token: {raw: junk}, expect: {status: 401, decided_by: authn}}
";

fn by_name<'a>(cases: &'a Cases, name: &str) -> &'a Case {
    cases.all().iter().find(|case| case.name == name).unwrap()
}

#[test]
fn case_without_expect_takes_both_verdicts_from_the_top() {
    let cases = load(TWO_PROFILES).unwrap();
    let case = by_name(&cases, "no token");
    assert_eq!(case.expected("full").to_string(), "401 missing-token");
    assert_eq!(case.expected("stock").to_string(), "403 authz");
    assert_eq!(case.control.as_deref(), Some("ok"));
}

#[test]
fn case_with_expect_takes_neither_verdict_from_the_top() {
    let cases = load(TWO_PROFILES).unwrap();
    let case = by_name(&cases, "junk");
    assert_eq!(case.expected("stock").to_string(), "401 authn");
}

#[test]
fn positive_case_needs_no_control_and_takes_none() {
    let cases = load(TWO_PROFILES).unwrap();
    assert_eq!(by_name(&cases, "ok").control, None);
}

#[test]
fn one_case_is_found_by_its_name_or_a_part_that_no_other_has() {
    let cases = load(TWO_PROFILES).unwrap();
    assert_eq!(cases.find("no token").unwrap().name, "no token");
    assert_eq!(cases.find("jun").unwrap().name, "junk");
    assert_eq!(
        cases.find("ok").unwrap().name,
        "ok",
        "though `no token` has it too"
    );
    let text = cases.find("o").unwrap_err().to_string();
    assert_eq!(
        text,
        "`o` may mean `ok` or `no token`: give more of the case's name"
    );
    let text = cases.find("x").unwrap_err().to_string();
    assert_eq!(text, "no case is called `x`; `mesh verify` lists them");
}

// === Preparation ===

/// Prepares the case of these lines with the token `e30.eyJzdWIiOiI0MiJ9.c2ln`,
/// whose only claim is `sub: "42"`.
fn prepare(lines: &str) -> Prepared {
    let cases = load(&with_control(lines)).unwrap();
    let token = SecretString::from("e30.eyJzdWIiOiI0MiJ9.c2ln");
    let granted = Granted {
        realm: "myrealm".to_owned(),
        access_token: token,
        refresh_token: None,
    };
    let granted = BTreeMap::from([("user".to_owned(), granted)]);
    let keyring = Keyring::new([("myrealm", &generate_private_key().unwrap())]).unwrap();
    let mint = Mint {
        granted: &granted,
        keyring: &keyring,
    };
    cases.all()[1]
        .prepare("full", &mint, Timestamp::UNIX_EPOCH)
        .unwrap()
}

fn authorization(prepared: &Prepared) -> Vec<&str> {
    let headers = prepared.request.headers.iter();
    headers
        .filter(|(name, _)| name == "authorization")
        .map(|(_, value)| value.as_str())
        .collect()
}

const TOKEN: &str = "e30.eyJzdWIiOiI0MiJ9.c2ln";
const REFUSED: &str = "expect: {status: 401, decided_by: authn}";

#[test]
fn token_is_presented_as_bearer_by_default() {
    let prepared = prepare(&format!(
        "  - {{name: a, token: {{granted: user}}, {REFUSED}}}"
    ));
    assert_eq!(authorization(&prepared), [format!("Bearer {TOKEN}")]);
    assert_eq!(
        prepared.request.url,
        "http://backend.demo.svc.cluster.local/data"
    );
    assert_eq!(prepared.request.method, "GET");
}

#[test]
fn no_token_means_no_header() {
    let prepared = prepare(&format!("  - {{name: a, token: none, {REFUSED}}}"));
    assert!(authorization(&prepared).is_empty());
}

#[test]
fn token_goes_where_the_case_wants_it() {
    let prepared = prepare(&format!(
        "  - name: a
    token: {{granted: user}}
    other_token: {{raw: junk}}
    request:
      path: '/data?access_token={{token}}'
      authorization: ['bearer {{token}}', 'Bearer {{other_token}}']
      headers: {{x-token: '{{token}}'}}
    {REFUSED}"
    ));
    assert_eq!(
        authorization(&prepared),
        [format!("bearer {TOKEN}"), "Bearer junk".to_owned()]
    );
    assert!(
        prepared
            .request
            .url
            .ends_with(&format!("/data?access_token={TOKEN}"))
    );
    assert!(
        prepared
            .request
            .headers
            .contains(&("x-token".to_owned(), TOKEN.to_owned()))
    );
}

#[test]
fn request_id_is_sent_and_is_one_that_envoy_leaves_alone() {
    let prepared = prepare(&format!("  - {{name: a, token: none, {REFUSED}}}"));
    let id = &prepared.request.id;
    assert!(
        prepared
            .request
            .headers
            .contains(&("x-request-id".to_owned(), id.clone()))
    );
    // Envoy rewrites only ids of a dashed UUID's 36 characters.
    assert_eq!(id.len(), 32);
}

#[test]
fn claims_of_the_token_are_filled_into_the_expected_body() {
    let prepared = prepare(
        "  - name: a
    token: {granted: user}
    expect: {status: 200, json: {sub: '{token.sub}', emial: '{token.emial}'}, decided_by: app}",
    );
    let ExpectedAnswer::Http {
        body: Some(ExpectedBody::Json(members)),
        ..
    } = prepared.expected.answer
    else {
        panic!("the case expects JSON")
    };
    assert_eq!(
        Value::Object(members),
        serde_json::json!({"sub": "42", "emial": "{token.emial}"}),
        "a claim that the token has not is no `null`, which absence would match"
    );
}

#[test]
fn prepared_case_does_not_show_its_token() {
    let prepared = prepare(&format!(
        "  - {{name: a, token: {{granted: user}}, {REFUSED}}}"
    ));
    assert!(
        !format!("{prepared:?}").contains("eyJzdWIi"),
        "{prepared:?}"
    );
}
