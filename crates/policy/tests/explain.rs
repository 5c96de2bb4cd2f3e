//! The demo's own policy explained: verdict, reply, nearest rule, findings.

mod support;

use policy::{Explanation, KeySets, Passed, Peer, Style, Token, Verdict, findings};
use serde_json::{Value, json};
use support::{Ask, ISSUER, NOW, allow, demo, policy, request_authentication, token, user};

/// The demo's manifests, asked by the frontend's pod.
fn ask() -> Ask {
    Ask::new(&demo()).request(|request| {
        request.peer = Peer::mtls("cluster.local/ns/demo/sa/frontend");
    })
}

fn service_account() -> Value {
    user(&json!({
        "email": null,
        "aud": ["my-backend-client", "account"],
        "preferred_username": "service-account-frontend",
        "client_id": "frontend",
    }))
}

/// The findings, except that the demo lets in by an email.
fn codes(explanation: &Explanation) -> Vec<&str> {
    let findings = explanation.findings.iter();
    let codes = findings.map(|finding| finding.code);
    codes.filter(|code| *code != "MO0022").collect()
}

#[test]
fn the_user_may_read() {
    let explanation = ask().claims(&user(&json!({}))).explain();
    assert_eq!(explanation.verdict, Verdict::Allowed);
    assert_eq!(codes(&explanation), [""; 0]);
}

#[test]
fn the_frontend_may_read_with_its_own_token() {
    assert!(ask().claims(&service_account()).allowed());
}

#[test]
fn the_frontends_token_is_worth_nothing_to_another_workload() {
    let stolen = ask()
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
    let outcome = ask().explain().outcome.expect("one outcome");
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
    let explanation = ask().header("authorization", "Basic abc").explain();
    assert_eq!(
        explanation.outcome.as_ref().expect("one").body.as_deref(),
        Some("Jwt is missing")
    );
    assert_eq!(codes(&explanation), ["MO0013"]);
}

#[test]
fn a_call_without_a_sidecar_gets_no_answer() {
    let explanation = ask()
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
        ask()
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
    let explanation = ask()
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
    let unknown_path = ask()
        .claims(&user(&json!({})))
        .request(|request| request.path = None);
    let explanation = unknown_path.explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert_eq!(explanation.missing, ["path"]);
    assert_eq!(explanation.possible.len(), 2);

    let other_user = ask()
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
        ask().token(&secret),
        ask().header("authorization", &format!("Bearer {secret}")),
        ask().header("cookie", &secret).header("x-token", &secret),
        ask().request(|request| request.path = Some(in_query)),
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
    let explanation = ask()
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
    let text = ask()
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
    let text = ask().explain().render(Style { colour: true });
    assert!(text.contains("\x1b[1;31mREFUSED"));
}

#[test]
fn the_json_has_the_same_answer() {
    let explanation = ask().explain();
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["outcome"]["status"], 401);
    assert_eq!(json["steps"][0]["passed"], "yes");
    assert_eq!(explanation.steps[0].passed, Passed::Yes);
}

// Findings

#[test]
fn every_code_has_a_page_with_its_title() {
    for (code, title) in findings::CODES {
        let page = findings::page(code).expect("a page");
        assert!(page.starts_with(&format!("# {code}: {title}\n")), "{code}");
        assert!(page.contains("## Why") && page.contains("## Fix"), "{code}");
    }
    assert_eq!(findings::page("MO9999"), None);
}

#[test]
fn mo0001_claims_without_request_authentication() {
    let yaml = policy(
        "p",
        "ALLOW",
        "[{when: [{key: \"request.auth.claims[a]\", values: [b]}]}]",
    );
    let explanation = Ask::new(&yaml).claims(&user(&json!({"a": "b"}))).explain();
    assert_eq!(
        explanation.verdict,
        Verdict::Refused,
        "nobody verifies the token"
    );
    assert_eq!(codes(&explanation), ["MO0001"]);
    assert_eq!(
        explanation.findings[0]
            .location
            .as_ref()
            .expect("a place")
            .line,
        7
    );
}

#[test]
fn mo0002_issuers_that_differ_by_what_people_overlook() {
    for issuer in [
        format!("{ISSUER}/"),
        ISSUER.replace("http:", "https:"),
        ISSUER.replace("/realms", ":8080/realms"),
        ISSUER.replace("/realms", "/auth/realms"),
    ] {
        let explanation = ask().claims(&user(&json!({"iss": issuer}))).explain();
        assert_eq!(codes(&explanation), ["MO0002"], "{issuer}");
    }
    let foreign = ask()
        .claims(&user(&json!({"iss": "https://other/realms/myrealm"})))
        .explain();
    assert!(codes(&foreign).is_empty());

    let rules =
        format!("[{{when: [{{key: \"request.auth.claims[iss]\", values: [\"{ISSUER}/\"]}}]}}]");
    assert!(
        codes(&Ask::new(&allow(&rules)).explain()).contains(&"MO0002"),
        "in the policy, too"
    );
}

#[test]
fn mo0003_an_audience_that_keycloak_does_not_put_in() {
    let explanation = ask().claims(&user(&json!({"aud": "account"}))).explain();
    assert_eq!(explanation.outcome.as_ref().expect("one").status, Some(403));
    assert_eq!(codes(&explanation), ["MO0003"]);
    assert!(
        explanation.findings[0]
            .keycloak
            .as_ref()
            .expect("a fix")
            .contains("audience mapper")
    );

    let rules = "[{when: [{key: request.auth.audiences, values: [other]}]}]";
    let by_policy = Ask::new(&allow(rules)).claims(&user(&json!({}))).explain();
    assert!(codes(&by_policy).contains(&"MO0003"));
}

#[test]
fn mo0004_no_subject() {
    let rules = "[{from: [{source: {requestPrincipals: [\"*\"]}}]}]";
    let explanation = Ask::new(&allow(rules))
        .claims(&user(&json!({"sub": null})))
        .explain();
    assert!(codes(&explanation).contains(&"MO0004"));
}

#[test]
fn mo0005_an_email_of_a_service_account() {
    let elsewhere = ask()
        .claims(&service_account())
        .request(|request| request.peer = Peer::Unknown);
    let rules = "[{when: [{key: \"request.auth.claims[email]\", values: [\"*\"]}]}]";
    let explanation = Ask {
        yaml: allow(rules),
        ..elsewhere
    }
    .explain();
    assert!(codes(&explanation).contains(&"MO0005"));
    let person = Ask::new(&allow(rules))
        .claims(&user(&json!({"email": null})))
        .explain();
    assert!(!codes(&person).contains(&"MO0005"));
}

fn service(port: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: backend, namespace: demo}}
spec: {{selector: {{app: backend}}, ports: [{{port: 80, {port}}}]}}
"
    )
}

#[test]
fn mo0006_http_rules_on_a_tcp_port() {
    let has =
        |port: &str| codes(&Ask::new(&(demo() + &service(port))).explain()).contains(&"MO0006");
    assert!(has("name: tcp-web"));
    assert!(has("appProtocol: tcp, name: http"));
    assert!(!has("name: http-web"));
    assert!(!has("name: web"), "Istio detects it");
}

#[test]
fn mo0007_a_selector_that_matches_nothing() {
    let deployment = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: backend, namespace: demo}
spec: {template: {metadata: {labels: {app: backend}}}}
";
    let other = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: other, namespace: demo}
spec: {selector: {matchLabels: {app: bakend}}}
";
    let explanation = Ask::new(&(demo() + deployment + other)).explain();
    assert_eq!(codes(&explanation), ["MO0007"]);
    assert!(explanation.findings[0].message.contains("demo/other"));
}

#[test]
fn mo0008_stars_that_do_not_mean_what_they_seem_to() {
    let realms = ISSUER.trim_end_matches("/myrealm");
    let star = |rules: &str| codes(&Ask::new(&allow(rules)).explain()).contains(&"MO0008");
    assert!(star(&format!(
        "[{{from: [{{source: {{requestPrincipals: [\"{realms}/my*\"]}}}}]}}]"
    )));
    assert!(!star(&format!(
        "[{{from: [{{source: {{requestPrincipals: [\"{ISSUER}/*\"]}}}}]}}]"
    )));
    assert!(star("[{to: [{operation: {paths: [\"/a/*/b\"]}}]}]"));
    assert!(!star(
        "[{to: [{operation: {paths: [\"/a/{*}/b\", \"/a/*\"]}}]}]"
    ));
}

#[test]
fn mo0009_target_refs_on_a_sidecar() {
    let yaml = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: demo}
spec: {targetRefs: [{kind: Service, name: backend}]}
";
    assert_eq!(codes(&Ask::new(yaml).explain()), ["MO0009"]);
}

#[test]
fn mo0010_a_missing_token_satisfies_it() {
    let satisfied = |rules: &str| codes(&Ask::new(&allow(rules)).explain()).contains(&"MO0010");
    assert!(satisfied(
        "[{when: [{key: \"request.auth.claims[role]\", notValues: [banned]}]}]"
    ));
    assert!(!satisfied(
        "[{from: [{source: {requestPrincipals: [\"*\"]}}],
           when: [{key: \"request.auth.claims[role]\", notValues: [banned]}]}]"
    ));
}

#[test]
fn mo0011_a_claim_that_is_no_string() {
    let rules = "[{when: [{key: \"request.auth.claims[email_verified]\", values: [\"true\"]}]}]";
    let explanation = Ask::new(&allow(rules))
        .claims(&user(&json!({"email_verified": true})))
        .explain();
    assert!(codes(&explanation).contains(&"MO0011"));
}

#[test]
fn mo0012_roles_are_nested() {
    let rules = "[{when: [{key: \"request.auth.claims[roles]\", values: [reader]}]}]";
    let claims = user(&json!({"realm_access": {"roles": ["reader"]}}));
    let explanation = Ask::new(&allow(rules)).claims(&claims).explain();
    let finding = explanation
        .findings
        .iter()
        .find(|finding| finding.code == "MO0012");
    let fix = finding.expect("found").istio.as_ref().expect("a fix");
    assert!(fix.contains("request.auth.claims[realm_access][roles]"));
}

#[test]
fn mo0013_a_token_where_nobody_looks() {
    let yaml = request_authentication(", audiences: [a], fromHeaders: [{name: x-token}]");
    let explanation = Ask::new(&yaml).claims(&user(&json!({}))).explain();
    assert_eq!(codes(&explanation), ["MO0013"]);
}

#[test]
fn mo0014_keys_that_do_not_fit() {
    let mut other = ask().claims(&user(&json!({})));
    let set = json!({"keys": [{"kty": "oct", "kid": "k9", "k": "AAAA"}]}).to_string();
    other.keys = KeySets::from([(ISSUER.to_owned(), set)]);
    let explanation = other.explain();
    assert_eq!(codes(&explanation), ["MO0014"]);
    assert!(explanation.findings[0].message.contains("`k1`"));
}

#[test]
fn mo0015_any_audience() {
    assert_eq!(
        codes(&Ask::new(&request_authentication("")).explain()),
        ["MO0015"]
    );
}

#[test]
fn mo0016_an_issuer_that_nobody_verifies() {
    let rules = "[{when: [{key: \"request.auth.claims[iss]\", values: [\"https://other\"]}]}]";
    assert!(codes(&Ask::new(&allow(rules)).explain()).contains(&"MO0016"));
}

#[test]
fn mo0017_a_host_with_a_port() {
    let yaml = policy(
        "p",
        "ALLOW",
        "[{to: [{operation: {hosts: [backend.demo]}}]}]",
    );
    let explanation = Ask::new(&yaml)
        .request(|request| request.host = Some("backend.demo:8080".to_owned()))
        .explain();
    assert_eq!(codes(&explanation), ["MO0017"]);
}

#[test]
fn mo0018_an_identity_on_plain_text() {
    let yaml = policy("p", "ALLOW", "[{from: [{source: {namespaces: [demo]}}]}]");
    let explanation = Ask::new(&yaml)
        .request(|request| request.peer = Peer::Plaintext)
        .explain();
    assert_eq!(codes(&explanation), ["MO0018"]);
}

#[test]
fn mo0019_a_rule_on_the_header_that_was_removed() {
    let rules = "[{when: [{key: \"request.headers[Authorization]\", values: [\"Bearer *\"]}]}]";
    assert!(codes(&Ask::new(&allow(rules)).explain()).contains(&"MO0019"));
}

#[test]
fn mo0020_a_token_out_of_time() {
    let explanation = ask().claims(&user(&json!({"exp": NOW - 61}))).explain();
    assert_eq!(codes(&explanation), ["MO0020"]);
}

/// Whether tokens taken from there are a finding where claims become headers.
fn is_mo0021(fields: &str) -> bool {
    let outputs = ", audiences: [a], outputClaimToHeaders: [{header: x-sub, claim: sub}]";
    let yaml = request_authentication(&format!("{outputs}{fields}"));
    codes(&Ask::new(&yaml).explain()).contains(&"MO0021")
}

#[test]
fn mo0021_identity_headers_of_several_tokens() {
    assert!(is_mo0021(""));
    assert!(is_mo0021(", fromHeaders: [{name: a}, {name: b}]"));
    assert!(is_mo0021(", fromHeaders: [{name: a}], fromParams: [t]"));
    assert!(!is_mo0021(", fromHeaders: [{name: a}]"));
    assert!(!is_mo0021(", fromParams: [t]"));
    let silent = request_authentication(", audiences: [a]");
    assert!(!codes(&Ask::new(&silent).explain()).contains(&"MO0021"));
}

#[test]
fn mo0021_identity_headers_of_several_issuers() {
    let yaml = request_authentication(
        ", fromHeaders: [{name: a}], outputClaimToHeaders: [{header: x-sub, claim: sub}]",
    );
    let other = "    - {issuer: other, fromHeaders: [{name: a}]}\n";
    let explanation = Ask::new(&format!("{yaml}{other}")).explain();
    assert!(codes(&explanation).contains(&"MO0021"));
}

#[test]
fn mo0022_a_rule_on_an_email() {
    let with = |action: &str, rule: &str| {
        let yaml = request_authentication("") + &policy("p", action, rule);
        let claims = user(&json!({"email": "a@b.c", "sub": "a"}));
        let found = Ask::new(&yaml).claims(&claims).explain().findings;
        found.into_iter().find(|finding| finding.code == "MO0022")
    };
    let email = "[{when: [{key: \"request.auth.claims[email]\", values: [a@b.c]}]}]";
    let found = with("ALLOW", email).expect("found");
    assert!(
        found
            .message
            .contains("`email_verified` cannot be asked for")
    );
    assert!(
        found
            .istio
            .expect("a fix")
            .contains("request.auth.claims[sub]")
    );
    assert!(found.location.is_some());
    assert_eq!(with("DENY", email), None);
    let sub = "[{when: [{key: \"request.auth.claims[sub]\", values: [a]}]}]";
    assert_eq!(with("ALLOW", sub), None);
}

#[test]
fn mo0022_is_said_once_where_it_would_be_the_same_word_for_word() {
    let email = "{key: \"request.auth.claims[email]\", values: [\"*\"]}";
    let rules = format!("[{{when: [{email}, {email}]}}]");
    let claims = user(&json!({"email": "a@b.c"}));
    let explanation = Ask::new(&allow(&rules)).claims(&claims).explain();
    let found = explanation.findings.iter();
    assert_eq!(found.filter(|one| one.code == "MO0022").count(), 1);
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
