//! What must hold for any policy, token and request.

mod support;

use policy::{
    Claims, Compiled, Decision, Manifests, Mesh, Peer, Request, Style, Token, Verdict, Workload,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use support::{Ask, base64, policy, request_authentication, sign, token, user};

fn list(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    subsequence(values, 1..=2).prop_map(|values| {
        let quoted: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
        format!("[{}]", quoted.join(", "))
    })
}

/// One field of a source, an operation or a condition, positive or negative.
fn field(
    name: &'static str,
    not_name: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = String> {
    (any::<bool>(), list(values)).prop_map(move |(positive, values)| {
        format!("{}: {values}", if positive { name } else { not_name })
    })
}

fn source() -> impl Strategy<Value = String> {
    prop_oneof![
        field(
            "principals",
            "notPrincipals",
            &["*", "cluster.local/ns/demo/sa/caller", "*/sa/x"]
        ),
        field("namespaces", "notNamespaces", &["demo", "d*", "x"]),
        field(
            "requestPrincipals",
            "notRequestPrincipals",
            &["*", "*/f3b1", "http*", "x"]
        ),
        field("ipBlocks", "notIpBlocks", &["10.0.0.0/8", "192.0.2.1"]),
    ]
    .prop_map(|field| format!("from: [{{source: {{{field}}}}}]"))
}

fn operation() -> impl Strategy<Value = String> {
    prop_oneof![
        field("methods", "notMethods", &["GET", "POST", "*"]),
        field("paths", "notPaths", &["/data", "/d*", "/{*}", "/x"]),
        field("hosts", "notHosts", &["backend.demo", "*.demo", "x"]),
        field("ports", "notPorts", &["8080", "9090"]),
    ]
    .prop_map(|field| format!("to: [{{operation: {{{field}}}}}]"))
}

fn condition() -> impl Strategy<Value = String> {
    let key = select(&[
        "request.auth.claims[email]",
        "request.auth.claims[azp]",
        "request.auth.claims[a][b]",
        "request.headers[x-a]",
        "source.principal",
    ]);
    let values = field(
        "values",
        "notValues",
        &["user@example.com", "frontend", "*", "1", "u*"],
    );
    (key, values).prop_map(|(key, values)| format!("when: [{{key: \"{key}\", {values}}}]"))
}

fn rule() -> impl Strategy<Value = String> {
    let maybe = |part: BoxedStrategy<String>| proptest::option::of(part);
    (
        maybe(source().boxed()),
        maybe(operation().boxed()),
        maybe(condition().boxed()),
    )
        .prop_map(|(from, to, when)| {
            let parts: Vec<_> = [from, to, when].into_iter().flatten().collect();
            format!("{{{}}}", parts.join(", "))
        })
}

fn policies() -> impl Strategy<Value = String> {
    let one = (
        select(&["ALLOW", "DENY", "AUDIT"]),
        proptest::collection::vec(rule(), 1..3),
    );
    proptest::collection::vec(one, 0..3).prop_map(|all| {
        (0..)
            .zip(all)
            .map(|(index, (action, rules))| {
                policy(
                    &format!("p{index}"),
                    action,
                    &format!("[{}]", rules.join(", ")),
                )
            })
            .collect()
    })
}

fn claims() -> impl Strategy<Value = Value> {
    let value = select(vec![
        json!("user@example.com"),
        json!("frontend"),
        json!(1),
        json!(["u1", 2]),
        json!({"b": "1"}),
        Value::Null,
    ]);
    (value.clone(), value.clone(), value)
        .prop_map(|(email, azp, a)| user(&json!({"email": email, "azp": azp, "a": a})))
}

fn request() -> impl Strategy<Value = Request> {
    (
        select(&["GET", "POST"]),
        select(&["/data", "/x", "/data/../x", "/data?a=/x"]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(method, path, header, plaintext)| {
            let mut request = Ask::new("").request;
            request.method = Some(method.to_owned());
            request.path = Some(path.to_owned());
            if header {
                request.headers.push(("x-a".to_owned(), "1".to_owned()));
            }
            if plaintext {
                request.peer = Peer::Plaintext;
            }
            request
        })
}

/// Takes away those inputs that the mask names.
fn forget(mut ask: Ask, mask: u8) -> Ask {
    let forgotten = |bit: u8| mask & (1 << bit) != 0;
    if forgotten(0) {
        ask.request.method = None;
    }
    if forgotten(1) {
        ask.request.path = None;
    }
    if forgotten(2) {
        ask.request.host = None;
    }
    if forgotten(3) {
        ask.request.port = None;
    }
    if forgotten(4) {
        ask.request.peer = Peer::Unknown;
    }
    if forgotten(5) {
        ask.request.source_ip = None;
    }
    if forgotten(6) {
        ask.token = Token::Unknown;
    }
    if forgotten(7) {
        ask.keys.clear();
    }
    ask
}

fn ask(yaml: &str, request: &Request, claims: &Value) -> Ask {
    let mut ask = Ask::new(&(request_authentication("") + yaml)).claims(claims);
    ask.request = request.clone();
    ask
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_every_input_there_is_one_answer(yaml in policies(), request in request(), claims in claims()) {
        let explanation = ask(&yaml, &request, &claims).explain();
        prop_assert_ne!(explanation.verdict, Verdict::Unknown);
        prop_assert!(explanation.outcome.is_some());
        prop_assert!(explanation.missing.is_empty());
    }

    #[test]
    fn what_is_answered_without_an_input_stays_true_with_it(
        yaml in policies(), request in request(), claims in claims(), mask in any::<u8>()
    ) {
        let whole = ask(&yaml, &request, &claims).explain();
        let part = forget(ask(&yaml, &request, &claims), mask).explain();
        if part.verdict == Verdict::Unknown {
            prop_assert!(!part.missing.is_empty(), "an open answer says what is missing");
        } else {
            prop_assert_eq!(part.verdict, whole.verdict);
        }
        if let (Some(part), Some(whole)) = (&part.outcome, &whole.outcome) {
            prop_assert_eq!(part.status, whole.status);
            if part.response_code_details.is_some() {
                prop_assert_eq!(&part.response_code_details, &whole.response_code_details);
            }
        }
    }

    #[test]
    fn the_compiled_decision_is_the_explained_one(
        yaml in policies(), request in request(), claims in claims()
    ) {
        let manifests = Manifests::parse("p.yaml", &yaml).expect("valid");
        let compiled = Compiled::new(&Mesh::default(), &manifests, &Workload::app("demo", "backend"));
        let Value::Object(verified) = claims.clone() else { unreachable!("an object") };
        let decision = compiled.decide(&request, &Claims::Verified(verified));
        let outcome = ask(&yaml, &request, &claims).explain().outcome.expect("one outcome");
        let details = match decision {
            Decision::Allowed => "via_upstream".to_owned(),
            Decision::Denied(rule) => {
                format!("rbac_access_denied_matched_policy[{}]", rule.unwrap_or("none"))
            }
            other => panic!("{other:?} with every input given"),
        };
        prop_assert_eq!(outcome.response_code_details, Some(details));
    }

    #[test]
    fn a_refusal_by_rules_shows_the_rule_that_came_nearest(
        yaml in policies(), request in request(), claims in claims()
    ) {
        let explanation = ask(&yaml, &request, &claims).explain();
        for near in &explanation.nearest {
            prop_assert!(!near.conditions.is_empty() || !near.missed_allow);
            prop_assert_eq!(near.changes.len(), if near.missed_allow { near.conditions.len() } else { near.changes.len().min(1) });
        }
        if explanation.verdict == Verdict::Allowed {
            prop_assert!(explanation.nearest.is_empty());
        }
    }

    #[test]
    fn no_token_is_ever_shown(header in "[ -~]{0,40}", payload in "[ -~]{8,60}", place in 0..4) {
        let secret = sign(&base64(header), &base64(payload));
        let mut ask = Ask::new(&support::demo());
        match place {
            0 => ask = ask.token(&secret),
            1 => ask = ask.header("authorization", &format!("Bearer {secret}")),
            2 => ask = ask.header("cookie", &format!("c={secret}")),
            _ => ask.request.path = Some(format!("/data?access_token={secret}")),
        }
        let explanation = ask.explain();
        let shown = explanation.render(Style { colour: true })
            + &serde_json::to_string(&explanation).expect("JSON");
        for part in secret.split('.').filter(|part| part.len() > 8) {
            prop_assert!(!shown.contains(part));
        }
    }

    #[test]
    fn any_text_as_a_token_is_answered(text in ".{0,80}") {
        Ask::new(&request_authentication("")).header("authorization", &format!("Bearer {text}")).explain();
    }

    #[test]
    fn a_damaged_token_never_passes(position in 0..200usize, letter in "[A-Za-z0-9_-]") {
        let good = token(&user(&json!({})));
        let at = position % good.len();
        let damaged = format!("{}{letter}{}", &good[..at], &good[at + 1..]);
        // The last letter has bits that nobody looks at.
        prop_assume!(damaged != good && at + 1 < good.len());
        let yaml = request_authentication("");
        prop_assert!(!Ask::new(&yaml).token(&damaged).allowed());
    }

    #[test]
    fn any_text_as_a_manifest_is_read_or_refused_with_a_line(text in "(?s).{0,200}") {
        if let Err(invalid) = Manifests::parse("p.yaml", &text) {
            prop_assert!(invalid.0.iter().all(|error| error.location.line >= 1));
        }
    }

    #[test]
    fn any_change_to_a_manifest_is_read_or_refused_with_a_line(
        position in any::<prop::sample::Index>(), junk in "[ -~\n]{0,6}"
    ) {
        let demo = support::demo();
        let at = position.index(demo.len());
        prop_assume!(demo.is_char_boundary(at));
        let text = format!("{}{junk}{}", &demo[..at], &demo[at..]);
        if let Err(invalid) = Manifests::parse("p.yaml", &text) {
            let lines = text.lines().count() as u64;
            prop_assert!(invalid.0.iter().all(|error| (1..=lines + 1).contains(&error.location.line)));
        }
    }
}
