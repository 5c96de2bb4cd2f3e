//! What the workload is sent of a request, and how a gRPC client is refused.

mod support;

use policy::{Arrival, Explanation, Style, Verdict};
use serde_json::{Value, json};
use support::{Ask, allow, policy, request_authentication, token, user};

const CLAIMS: &str =
    ", outputClaimToHeaders: [{header: X-Email, claim: email}, {header: x-sub, claim: sub}]";

/// Tokens are verified, and no rule asks for more.
fn passing(fields: &str) -> Ask {
    Ask::new(&request_authentication(fields))
}

fn arrival(ask: &Ask) -> Arrival {
    ask.explain().arrival.expect("it arrives")
}

fn identity(ask: &Ask) -> Value {
    json!(arrival(ask).identity())
}

fn bearer(changes: &Value) -> String {
    token(&user(changes))
}

#[test]
fn claims_arrive_as_headers_and_forged_ones_do_not() {
    let ask = passing(CLAIMS)
        .header("x-email", "admin@example.com")
        .claims(&user(&json!({})));
    let want = json!({"x-email": ["user@example.com"], "x-sub": ["f3b1"]});
    assert_eq!(identity(&ask), want);
    let nobody = passing(CLAIMS).header("X-Email", "admin@example.com");
    assert_eq!(identity(&nobody), json!({}));
    assert!(arrival(&nobody).removed.contains("x-email"));
}

#[test]
fn two_tokens_append_to_each_other() {
    let (first, second) = (
        bearer(&json!({})),
        bearer(&json!({"sub": "7", "email": null})),
    );
    let ask = passing(CLAIMS)
        .token(&first)
        .request(|request| request.path = Some(format!("/data?access_token={second}")));
    let want = json!({"x-email": ["user@example.com"], "x-sub": ["7", "f3b1"]});
    assert_eq!(identity(&ask), want);
}

#[test]
fn token_arrives_only_where_it_is_forwarded() {
    let has_token = |fields| {
        let arrival = arrival(&passing(fields).claims(&user(&json!({}))));
        arrival
            .headers
            .iter()
            .any(|(name, _)| name == "authorization")
    };
    assert!(!has_token(""));
    assert!(has_token(", forwardOriginalToken: true"));
}

#[test]
fn payload_arrives_as_the_rule_says() {
    let ask = passing(", outputPayloadToHeader: x-payload").claims(&user(&json!({})));
    let arrival = arrival(&ask);
    let (_, payload) = arrival
        .headers
        .iter()
        .find(|(name, _)| name == "x-payload")
        .unwrap();
    assert!(bearer(&json!({})).contains(payload.as_str()));
}

#[test]
fn path_arrives_in_its_normal_form_and_without_the_token() {
    let token = bearer(&json!({}));
    let path = format!("/x/../data?z=%2F&access_token={token}&b#f");
    let ask = passing("").request(|request| request.path = Some(path));
    let arrival = arrival(&ask);
    assert_eq!(arrival.path.as_deref(), Some("/data?b=&z=/"));
    assert_eq!(arrival.bare_path(), Some("/data"));
}

#[test]
fn nothing_arrives_of_what_is_refused_or_open() {
    let refused = Ask::new(&policy("none", "ALLOW", "[]"));
    assert_eq!(refused.explain().arrival, None);
    let mut open = passing(CLAIMS);
    open.token = policy::Token::Unknown;
    assert_eq!(open.explain().arrival, None);
}

#[test]
fn allowed_request_is_shown_as_it_arrives_without_its_token() {
    let ask = passing(&format!("{CLAIMS}, forwardOriginalToken: true"))
        .header("x-sub", "admin")
        .header("x-other", "secret")
        .claims(&user(&json!({"email": bearer(&json!({}))})));
    let explanation = ask.explain();
    let text = explanation.render(Style::default());
    assert!(
        text.contains("  arrives as: /data\n  x-email: <token>\n  x-sub: f3b1\n"),
        "{text}"
    );
    let json = serde_json::to_string(&explanation).unwrap();
    for shown in [text, json, format!("{explanation:?}")] {
        assert!(
            !shown.contains("eyJ") && !shown.contains("secret"),
            "{shown}"
        );
    }
}

#[test]
fn claim_with_a_control_character_is_never_sent() {
    for value in ["a\r\nb", "a\nb", "a\0", "a\u{7f}"] {
        let ask = passing(CLAIMS).claims(&user(&json!({"sub": value})));
        let (status, body, details) = ask.refusal();
        assert_eq!(
            (status, body.as_str()),
            (503, "invalid header value for: x-sub")
        );
        assert_eq!(
            details,
            "filter_removed_required_request_headers{invalid_header_value_for:_x-sub}"
        );
    }
    let tab = passing(CLAIMS).claims(&user(&json!({"sub": "a\tb"})));
    assert!(tab.allowed());
}

#[test]
fn connect_needs_no_token_and_gets_nowhere() {
    let connect = |yaml: &str| {
        let ask = Ask::new(yaml).token("junk").request(|request| {
            request.method = Some("CONNECT".to_owned());
            request.path = Some("backend.demo:80".to_owned());
        });
        ask.refusal().2
    };
    assert_eq!(connect(&request_authentication("")), "route_not_found");
    let rules = r#"[{to: [{operation: {paths: ["*"]}}]}]"#;
    assert_eq!(
        connect(&allow(rules)),
        "rbac_access_denied_matched_policy[none]"
    );
}

// gRPC

fn grpc(ask: Ask) -> Explanation {
    ask.header("content-type", "application/grpc").explain()
}

/// Status, `grpc-status` and `grpc-message`.
fn told(explanation: &Explanation) -> (Option<u16>, Option<u8>, Option<&str>) {
    let outcome = explanation.outcome.as_ref().expect("one outcome");
    assert_eq!(outcome.body.as_deref(), Some(""));
    (
        outcome.status,
        outcome.grpc_status,
        outcome.grpc_message.as_deref(),
    )
}

#[test]
fn grpc_client_is_told_in_its_own_terms() {
    let authn = grpc(passing("").token("junk"));
    let message = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    assert_eq!(told(&authn), (Some(200), Some(16), Some(message)));
    let challenge = authn.outcome.as_ref().unwrap().www_authenticate.as_deref();
    assert!(challenge.is_some_and(|it| it.contains("invalid_token")));

    let rules = grpc(Ask::new(&policy("none", "ALLOW", "[]")));
    assert_eq!(
        told(&rules),
        (Some(200), Some(7), Some("RBAC: access denied"))
    );
    assert_eq!(rules.verdict, Verdict::Refused);
    let text = rules.render(Style::default());
    assert!(
        text.starts_with("REFUSED 200 with grpc-status 7 by envoy.filters.http.rbac\n"),
        "{text}"
    );
    assert!(text.contains("grpc-message: RBAC: access denied"), "{text}");

    let audience = passing(", audiences: [other]").claims(&user(&json!({})));
    assert_eq!(told(&grpc(audience)).1, Some(7));
    let claim = passing(CLAIMS).claims(&user(&json!({"sub": "a\nb"})));
    assert_eq!(told(&grpc(claim)).1, Some(14));
}

#[test]
fn only_grpcs_own_content_types_are_grpc() {
    for (content_type, status) in [
        ("application/grpc+proto", 200),
        ("application/grpc-web", 403),
        ("application/grpc;x", 403),
        ("Application/grpc", 403),
    ] {
        let ask = Ask::new(&policy("none", "ALLOW", "[]")).header("content-type", content_type);
        assert_eq!(ask.refusal().0, status, "{content_type}");
    }
}

#[test]
fn what_cannot_be_read_is_answered_in_plain_http() {
    let ask = passing("").request(|request| request.path = Some("/ä".to_owned()));
    let outcome = grpc(ask).outcome.expect("one outcome");
    assert_eq!((outcome.status, outcome.grpc_status), (Some(400), None));
}

#[test]
fn answer_to_head_has_no_body() {
    let ask = Ask::new(&policy("none", "ALLOW", "[]"))
        .request(|request| request.method = Some("HEAD".to_owned()));
    assert_eq!(ask.refusal().1, "");
}
