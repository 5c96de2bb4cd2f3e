use std::net::Ipv4Addr;

use serde_json::json;

use super::super::answer::Answer;
use super::*;
use crate::suite::Suite;
use crate::workspace;

/// An attack and its witnesses, all of them as they should be until spoilt.
struct Trial {
    spec: Spec,
    claims: Object,
    records: Vec<AccessRecord>,
    seen: Vec<AppRecord>,
    answers: Answers,
    handshakes: Option<u64>,
    refused_before: Option<AccessRecord>,
    complete: bool,
}

/// An attack of the project's own suite.
fn resolved(spec: Value) -> Spec {
    let mut spec: Spec = serde_json::from_value(spec).unwrap();
    let suite = Suite::load(&workspace::path("e2e")).unwrap();
    spec.resolve(&suite).unwrap();
    spec
}

fn object(value: &Value) -> Object {
    value.as_object().unwrap().clone()
}

fn record(status: u16, details: &str) -> Value {
    json!({
        "start_time": "2026-11-24T08:00:00.123Z",
        "request_id": "4f2c",
        "method": "GET",
        "authority": "backend.demo.svc.cluster.local",
        "path": "/data",
        "response_code": status,
        "response_code_details": details,
        "response_flags": "-",
        "downstream_peer_principal": "spiffe://cluster.local/ns/demo/sa/intruder",
        "downstream_remote_address": "127.0.0.9:4711",
        "upstream_cluster": "inbound|8080||",
    })
}

fn answered(status: u16) -> Answers {
    let answer = Answer {
        status,
        grpc: None,
        body: String::new(),
    };
    Answers {
        answers: vec![answer],
        ..Answers::default()
    }
}

fn seen() -> AppRecord {
    AppRecord {
        at: "backend".to_owned(),
        request_id: "4f2c".to_owned(),
        method: "GET".to_owned(),
        path: "/data".to_owned(),
        identity: [("x-jwt-sub", "42"), ("x-jwt-email", "user@example.com")]
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .into(),
        client_cert: Some(
            "By=spiffe://b;URI=spiffe://cluster.local/ns/demo/sa/intruder".to_owned(),
        ),
        status: 200,
    }
}

impl Trial {
    fn of(expect: &Value) -> Self {
        let spec = json!({"token": {"granted": "user"}, "expect": expect});
        Self {
            spec: resolved(spec),
            claims: object(&json!({"sub": "42", "email": "user@example.com"})),
            records: Vec::new(),
            seen: Vec::new(),
            answers: Answers::default(),
            handshakes: None,
            refused_before: None,
            complete: true,
        }
    }

    fn refused() -> Self {
        let mut trial = Self::of(&json!({"refused": [401]}));
        trial.answers = answered(401);
        trial.record(&record(401, "jwt_authn_access_denied{Jwt_is_expired}"));
        trial
    }

    fn by_design() -> Self {
        let mut trial = Self::of(&json!({"by_design": {"because": "it must"}}));
        trial.answers = answered(200);
        trial.record(&record(200, "via_upstream"));
        trial.seen.push(seen());
        trial
    }

    fn record(&mut self, record: &Value) {
        self.records = vec![AccessRecord::parse(&record.to_string()).unwrap()];
    }

    fn wrong(&self) -> Vec<String> {
        let records: Vec<_> = self.records.iter().collect();
        let nobody = Object::new();
        let frontend = object(&json!({"sub": "7", "azp": "frontend"}));
        let granted = BTreeMap::from([("frontend".to_owned(), frontend)]);
        judge(&Facts {
            spec: &self.spec,
            claims: &self.claims,
            other_claims: &nobody,
            granted_claims: &granted,
            address: Some((Ipv4Addr::new(127, 0, 0, 9).into(), Some(4711))),
            answers: &self.answers,
            records: &records,
            refused_before: self.refused_before.as_ref(),
            refused_connections: self.handshakes,
            seen: &self.seen,
            app_log_is_complete: self.complete,
        })
        .into_iter()
        .map(|mismatch| mismatch.about)
        .collect()
    }
}

#[test]
fn a_refusal_and_a_request_by_design_are_as_they_must() {
    assert_eq!(Trial::refused().wrong(), [""; 0]);
    assert_eq!(Trial::by_design().wrong(), [""; 0]);
}

#[test]
fn an_open_policy_turns_a_refusal_red_by_every_witness() {
    let mut trial = Trial::by_design();
    trial.spec.expect = Trial::refused().spec.expect;
    assert_eq!(
        trial.wrong(),
        ["answer", "proxy's log: let through", "app's log"]
    );
}

#[test]
fn an_attack_marked_wrongly_is_red() {
    let mut trial = Trial::refused();
    trial.spec.expect = Trial::by_design().spec.expect;
    assert_eq!(
        trial.wrong(),
        ["answer", "proxy's log: let through", "app's log"]
    );
}

#[test]
fn a_request_that_reached_the_app_behind_a_refusal_is_red() {
    let mut trial = Trial::refused();
    trial.seen.push(seen());
    assert_eq!(trial.wrong(), ["app's log"]);
}

#[test]
fn a_second_request_behind_one_by_design_is_red() {
    let mut trial = Trial::by_design();
    trial.seen.push(seen());
    assert_eq!(trial.wrong(), ["app's log"]);
}

#[test]
fn a_witness_that_is_missing_is_no_pass() {
    let mut trial = Trial::refused();
    trial.records.clear();
    assert_eq!(trial.wrong(), ["proxy's log"]);
    let mut trial = Trial::refused();
    trial.complete = false;
    assert_eq!(trial.wrong(), ["app's log"]);
    let mut trial = Trial::refused();
    trial.answers = Answers::default();
    assert_eq!(trial.wrong(), ["answer"]);
    let mut trial = Trial::by_design();
    trial.seen.clear();
    assert_eq!(trial.wrong(), ["app's log"]);
}

#[test]
fn an_identity_that_the_token_has_not_is_red() {
    for (name, values) in [
        ("x-jwt-azp", vec!["frontend"]),
        ("x-jwt-email", vec!["user@example.com", "admin@example.com"]),
        ("x-jwt-sub", vec!["admin"]),
        ("x_jwt_email", vec!["admin@example.com"]),
    ] {
        let mut trial = Trial::by_design();
        let values = values.into_iter().map(str::to_owned).collect();
        trial.seen[0].identity.insert(name.to_owned(), values);
        assert_eq!(trial.wrong(), ["app's log: identity"], "{name}");
    }
    let mut trial = Trial::by_design();
    trial.seen[0].client_cert = Some("URI=spiffe://cluster.local/ns/demo/sa/frontend".to_owned());
    assert_eq!(trial.wrong(), ["app's log: x-forwarded-client-cert"]);
}

#[test]
fn a_log_that_tells_another_request_than_was_sent_is_red() {
    for (field, value, about) in [
        ("path", "/healthz", "proxy's log: path"),
        ("method", "POST", "proxy's log: method"),
        (
            "downstream_remote_address",
            "10.0.0.1:4711",
            "proxy's log: address",
        ),
        (
            "downstream_remote_address",
            "127.0.0.9:1",
            "proxy's log: address",
        ),
        (
            "downstream_peer_principal",
            "spiffe://cluster.local/ns/demo/sa/frontend",
            "proxy's log: identity",
        ),
    ] {
        let mut trial = Trial::refused();
        let mut told = record(401, "jwt_authn_access_denied{Jwt_is_expired}");
        told[field] = json!(value);
        trial.record(&told);
        assert_eq!(trial.wrong(), [about], "{field} {value}");
    }
}

#[test]
fn a_broken_off_request_to_the_app_has_reached_it() {
    let mut trial = Trial::refused();
    trial.record(&record(
        401,
        "upstream_reset_before_response_started{connection_termination}",
    ));
    assert_eq!(trial.wrong(), ["proxy's log: let through"]);
}

#[test]
fn a_refused_handshake_is_known_by_the_proxys_count() {
    let mut trial = Trial::of(&json!({"refused": ["closed"]}));
    trial.spec.from = serde_json::from_value(json!("no-certificate")).unwrap();
    trial.answers.closed = Some("alert".to_owned());
    assert_eq!(trial.wrong(), ["proxy's log"]);
    trial.handshakes = Some(1);
    assert_eq!(trial.wrong(), [""; 0]);
    // A counter is no witness for those who are let in to speak HTTP.
    trial.spec.from = Trial::refused().spec.from;
    assert_eq!(trial.wrong(), ["proxy's log"]);
}

#[test]
fn a_refusal_by_the_callers_own_proxy_is_a_witness_of_refusals_only() {
    let mut trial = Trial::refused();
    trial.refused_before = trial.records.pop();
    assert_eq!(trial.wrong(), [""; 0]);
    trial.answers = Answers {
        closed: Some("reset".to_owned()),
        ..Answers::default()
    };
    assert_eq!(trial.wrong(), [""; 0]);
    trial.refused_before = None;
    assert_eq!(trial.wrong(), ["answer", "proxy's log"]);
    let mut trial = Trial::by_design();
    trial.refused_before = Trial::refused().records.pop();
    trial.records.clear();
    assert_eq!(trial.wrong(), ["proxy's log: let through"]);
}

#[test]
fn what_the_frontend_asks_of_the_backend_is_judged_as_its_own() {
    let mut trial = Trial::by_design();
    trial.spec = resolved(json!({
        "to": "frontend",
        "request": {"path": "/"},
        "expect": {"by_design": {"because": "it may", "app": [
            {"at": "frontend", "identity": "nobody"},
            {"at": "backend", "path": "/data", "identity": {"granted": "frontend"}},
        ]}},
    }));
    let mut first = record(200, "via_upstream");
    first["path"] = json!("/");
    let mut hop = record(200, "via_upstream");
    hop["downstream_peer_principal"] = json!("spiffe://cluster.local/ns/demo/sa/frontend");
    hop["downstream_remote_address"] = json!("127.0.0.4:9");
    trial.records = [first, hop]
        .iter()
        .map(|record| AccessRecord::parse(&record.to_string()).unwrap())
        .collect();
    let frontend = AppRecord {
        at: "frontend".to_owned(),
        path: "/".to_owned(),
        identity: BTreeMap::new(),
        ..seen()
    };
    let backend = AppRecord {
        identity: [("x-jwt-sub", "7"), ("x-jwt-azp", "frontend")]
            .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
            .into(),
        client_cert: Some("URI=spiffe://cluster.local/ns/demo/sa/frontend".to_owned()),
        ..seen()
    };
    trial.seen = vec![backend.clone(), frontend.clone()];
    assert_eq!(trial.wrong(), [""; 0]);
    trial.seen = vec![
        frontend,
        AppRecord {
            identity: seen().identity,
            ..backend
        },
    ];
    assert_eq!(trial.wrong(), ["app's log: identity"]);
}
