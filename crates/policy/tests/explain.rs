//! The demo's own policy explained: verdict, reply, nearest rule.

mod support;

use policy::{KeySets, Passed, Peer, Style, Token, Verdict};
use serde_json::json;
use support::{Ask, NOW, codes, demo, policy, service_account, token, user};

#[test]
fn the_user_may_read() {
    let explanation = Ask::demo().claims(&user(&json!({}))).explain();
    assert_eq!(explanation.verdict, Verdict::Allowed);
    assert_eq!(codes(&explanation), [""; 0]);
}

#[test]
fn the_frontend_may_read_with_its_own_token() {
    assert!(Ask::demo().claims(&service_account()).allowed());
}

#[test]
fn the_frontends_token_is_worth_nothing_to_another_workload() {
    let stolen = Ask::demo()
        .claims(&service_account())
        .request(|request| request.peer = Peer::mtls("cluster.local/ns/demo/sa/intruder"));
    let explanation = stolen.explain();
    assert_eq!(explanation.nearest.len(), 2, "an email would do as well");
    let near = &explanation.nearest[0];
    assert_eq!(
        (near.policy.as_str(), near.rule, near.proven),
        ("demo/backend", Some(1), true)
    );
    assert_eq!(near.conditions.len(), 1);
    assert_eq!(near.conditions[0].what, "principals");
    assert_eq!(
        near.conditions[0].wanted,
        "`cluster.local/ns/demo/sa/frontend`"
    );
    assert_eq!(
        near.conditions[0].had.as_deref(),
        Some("`cluster.local/ns/demo/sa/intruder`")
    );
}

#[test]
fn a_missing_token_is_answered_401_by_the_extension() {
    let outcome = Ask::demo().explain().outcome.expect("one outcome");
    assert_eq!(outcome.status, Some(401));
    assert_eq!(outcome.body.as_deref(), Some("Jwt is missing"));
    assert_eq!(outcome.www_authenticate.as_deref(), Some("Bearer"));
    assert_eq!(
        outcome.response_code_details.as_deref(),
        Some("lua_response")
    );
    assert_eq!(outcome.policy.as_deref(), Some("demo/missing-token"));
}

#[test]
fn a_header_that_is_no_bearer_token_counts_as_missing_and_says_so() {
    let explanation = Ask::demo().header("authorization", "Basic abc").explain();
    assert_eq!(
        explanation.outcome.as_ref().expect("one").body.as_deref(),
        Some("Jwt is missing")
    );
    assert_eq!(codes(&explanation), ["MO0013"]);
}

#[test]
fn a_call_without_a_sidecar_gets_no_answer() {
    let explanation = Ask::demo()
        .claims(&user(&json!({})))
        .request(|request| request.peer = Peer::Plaintext)
        .explain();
    let outcome = explanation.outcome.expect("one outcome");
    assert_eq!(
        (outcome.status, outcome.filter.as_str()),
        (None, "connection")
    );
    assert_eq!(outcome.policy.as_deref(), Some("demo/strict"));
    assert_eq!(
        outcome.response_code_details.as_deref(),
        Some("filter_chain_not_found"),
        "as the listener logs it"
    );
}

#[test]
fn a_certificate_of_another_mesh_gets_no_answer() {
    let from = |principal: &str| {
        Ask::demo()
            .claims(&user(&json!({})))
            .request(|request| request.peer = Peer::mtls(principal))
    };
    let explanation = from("elsewhere.org/ns/demo/sa/frontend").explain();
    let outcome = explanation.outcome.expect("one outcome");
    assert_eq!(
        (outcome.status, outcome.filter.as_str()),
        (None, "connection")
    );
    assert!(
        outcome.reason.contains("trust domain"),
        "{}",
        outcome.reason
    );
    assert_eq!(outcome.response_code_details, None, "no request was read");

    let mut alias = from("old.domain/ns/demo/sa/frontend");
    alias.mesh.trust_domain_aliases = vec!["old.domain".to_owned()];
    assert!(alias.allowed());
}

#[test]
fn a_wrong_method_misses_one_condition_and_the_change_is_proven() {
    let explanation = Ask::demo()
        .claims(&user(&json!({})))
        .request(|request| request.method = Some("POST".to_owned()))
        .explain();
    let near = &explanation.nearest[0];
    assert_eq!(near.rule, Some(1), "it also has the frontend's identity");
    assert_eq!(near.conditions.len(), 1);
    assert_eq!(near.conditions[0].had.as_deref(), Some("`POST`"));
    assert_eq!(
        near.changes[0].caller.as_deref(),
        Some("request: methods: `GET`")
    );
    assert!(near.proven);
    let place = near.conditions[0].location.as_ref().expect("a place");
    let line = demo()
        .lines()
        .nth(usize::try_from(place.line).expect("small") - 1)
        .map(str::to_owned);
    assert!(line.expect("a line").contains("methods"), "{place}");
}

#[test]
fn a_change_that_a_deny_policy_spoils_is_not_called_proven() {
    let yaml = policy("a", "ALLOW", "[{to: [{operation: {methods: [POST]}}]}]")
        + &policy("d", "DENY", "[{to: [{operation: {methods: [POST]}}]}]");
    let near = Ask::new(&yaml).explain().nearest.remove(0);
    assert!(!near.proven);
}

#[test]
fn a_deny_rule_that_matches_shows_its_conditions_and_one_way_out() {
    let yaml = policy(
        "d",
        "DENY",
        "[{to: [{operation: {paths: [\"/data*\"]}}], when: [{key: \"request.headers[x-a]\", values: [\"1\"]}]}]",
    );
    let near = Ask::new(&yaml)
        .header("x-a", "1")
        .explain()
        .nearest
        .remove(0);
    assert!(!near.missed_allow && near.proven);
    assert_eq!((near.conditions.len(), near.changes.len()), (2, 1));
}

#[test]
fn inputs_that_were_not_given_are_asked_for_only_if_they_matter() {
    let unknown_path = Ask::demo()
        .claims(&user(&json!({})))
        .request(|request| request.path = None);
    let explanation = unknown_path.explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(explanation.missing, ["path"]);
    assert_eq!(explanation.possible.len(), 2);

    let other_user = Ask::demo()
        .claims(&user(&json!({"email": "x@example.com", "azp": "x"})))
        .request(|request| request.path = None);
    assert_eq!(
        other_user.explain().verdict,
        Verdict::Refused,
        "on any path"
    );
}

#[test]
fn a_script_that_is_not_known_leaves_the_answer_open_by_name() {
    let yaml = demo().replace("== nil", "~= nil");
    let explanation = Ask::new(&yaml).claims(&user(&json!({}))).explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(
        explanation.missing,
        ["Lua extension demo/missing-token is not modelled"]
    );
}

#[test]
fn an_envoy_filter_is_told_as_an_assumption() {
    let yaml = demo()
        + "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: e, namespace: demo}\nspec: {}\n";
    let explanation = Ask::new(&yaml).explain();
    assert!(
        explanation
            .assumptions
            .iter()
            .any(|one| one.contains("EnvoyFilter demo/e"))
    );
}

// Nothing secret

#[test]
fn neither_the_token_nor_its_signature_is_ever_shown() {
    let secret = token(&user(&json!({"exp": NOW - 100})));
    let parts: Vec<&str> = secret.split('.').collect();
    let in_query = format!("/data?access_token={secret}&other={secret}");
    let asks = [
        Ask::demo().token(&secret),
        Ask::demo().header("authorization", &format!("Bearer {secret}")),
        Ask::demo()
            .header("cookie", &secret)
            .header("x-token", &secret),
        Ask::demo().request(|request| request.path = Some(in_query)),
    ];
    for ask in asks {
        let explanation = ask.explain();
        let shown = [
            explanation.render(Style::default()),
            serde_json::to_string(&explanation).expect("JSON"),
            format!("{explanation:?} {:?} {:?}", ask.request, ask.token),
        ]
        .concat();
        for part in &parts {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}

#[test]
fn a_failed_condition_on_the_authorization_header_does_not_show_it() {
    let rules = "[{when: [{key: \"request.headers[authorization]\", values: [x]}]}]";
    let near = Ask::new(&policy("p", "ALLOW", rules))
        .header("authorization", "Bearer short")
        .explain()
        .nearest
        .remove(0);
    assert_eq!(
        near.conditions[0].had.as_deref(),
        Some("a value that is not shown")
    );
}

#[test]
fn claims_that_no_failed_check_is_about_are_not_shown() {
    let explanation = Ask::demo()
        .claims(&user(
            &json!({"email": "other@example.com", "azp": "web", "phone": "555-0100"}),
        ))
        .explain();
    let shown = explanation.render(Style::default());
    assert!(
        shown.contains("other@example.com"),
        "the failed check needs it:\n{shown}"
    );
    assert!(
        !shown.contains("555-0100") && !shown.contains("f3b1"),
        "{shown}"
    );
}

// Text

#[test]
fn the_text_names_reply_condition_place_and_change() {
    let text = Ask::demo()
        .claims(&user(&json!({"email": "other@example.com", "azp": "web"})))
        .explain()
        .render(Style::default());
    for part in [
        "REFUSED 403 by envoy.filters.http.rbac",
        "response_code_details: rbac_access_denied_matched_policy[none]",
        "nearest ALLOW: demo/backend rule 0 (policy.yaml:",
        "nearest ALLOW: demo/backend rule 1 (policy.yaml:",
        "✗ request.auth.claims[email]: wanted `user@example.com`, had `other@example.com`",
        "token: claim email: `user@example.com`",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(text.lines().count() <= 24, "one screen:\n{text}");
    assert!(!text.contains('\x1b'));
}

#[test]
fn colours_come_only_when_asked_for() {
    let text = Ask::demo().explain().render(Style { colour: true });
    assert!(text.contains("\x1b[1;31mREFUSED"));
}

#[test]
fn the_json_has_the_same_answer() {
    let explanation = Ask::demo().explain();
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["outcome"]["status"], 401);
    assert_eq!(json["steps"][0]["passed"], "yes");
    assert_eq!(explanation.steps[0].passed, Passed::Yes);
}

#[test]
fn without_any_input_the_answer_is_open_and_says_what_is_wanted() {
    let mut nothing = Ask::new(&demo());
    nothing.request = policy::Request::default();
    nothing.token = Token::Unknown;
    nothing.keys = KeySets::new();
    let explanation = nothing.explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(
        explanation.missing,
        ["method", "path", "source principal", "token"]
    );
}
