//! Random resources and key sets.

use std::collections::BTreeMap;

use policy::types::{
    Action, AuthorizationPolicy, ClaimToHeader, Condition, From, JwtHeader, JwtRule, LuaConfig,
    MtlsMode, MutualTls, Operation, PeerAuthentication, Phase, PortSelector, RequestAuthentication,
    Rule, Source, To, TrafficExtension, TrafficSelector, WorkloadMode, WorkloadSelector,
};
use policy::{Mesh, PathNormalization};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Dice, ISSUERS, SLASHED_ISSUER};
use crate::scene::{PublicKey, Sidecar};

pub(super) fn sidecar(dice: &mut Dice) -> Sidecar {
    let mut manifests = Vec::new();
    if dice.chance(90) {
        let spec = request_authentication(dice);
        manifests.push(document(dice, "RequestAuthentication", "tokens", &spec));
    }
    if dice.chance(10) {
        let spec = request_authentication(dice);
        manifests.push(document(
            dice,
            "RequestAuthentication",
            "more-tokens",
            &spec,
        ));
    }
    for index in 0..dice.between(0, 3) {
        let spec = authorization_policy(dice);
        let name = format!("p{index}");
        let mut policy = document(dice, "AuthorizationPolicy", &name, &spec);
        let enforceable = matches!(spec.action, Action::Allow | Action::Deny);
        if enforceable && dice.chance(10) {
            policy["metadata"]["annotations"] = json!({"istio.io/dry-run": "true"});
        }
        manifests.push(policy);
    }
    for index in 0..dice.between(0, 2) {
        if dice.chance(60) {
            let spec = peer_authentication(dice);
            let name = format!("mtls{index}");
            manifests.push(document(dice, "PeerAuthentication", &name, &spec));
        }
    }
    if dice.chance(30) {
        let spec = traffic_extension(dice);
        manifests.push(document(dice, "TrafficExtension", "reply", &spec));
    }
    Sidecar {
        mesh: mesh(dice),
        manifests,
        keys: ISSUERS
            .into_iter()
            .chain([SLASHED_ISSUER])
            .map(|issuer| (issuer.to_owned(), key_set(dice)))
            .collect(),
    }
}

fn document(dice: &mut Dice, kind: &str, name: &str, spec: &impl Serialize) -> Value {
    let group = match kind {
        "TrafficExtension" => "extensions.istio.io/v1alpha1",
        _ => "security.istio.io/v1",
    };
    let namespace = if dice.chance(10) {
        "istio-system"
    } else {
        "demo"
    };
    json!({
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

fn selector(dice: &mut Dice) -> Option<WorkloadSelector> {
    dice.maybe(15, |dice| {
        let app = dice.text(&["backend", "backend", "backend", "other"]);
        WorkloadSelector {
            match_labels: BTreeMap::from([("app".to_owned(), app)]),
        }
    })
}

fn mesh(dice: &mut Dice) -> Mesh {
    let normalizations = [
        PathNormalization::None,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ];
    Mesh {
        path_normalization: dice
            .maybe(30, |dice| *dice.pick(&normalizations))
            .unwrap_or_default(),
        trust_domain_aliases: dice
            .maybe(30, |_| vec!["old.domain".to_owned()])
            .unwrap_or_default(),
        ..Mesh::default()
    }
}

// === tokens ===

fn request_authentication(dice: &mut Dice) -> RequestAuthentication {
    let mut issuers = ISSUERS.to_vec();
    if dice.chance(60) {
        issuers.truncate(1);
    }
    if dice.chance(3) {
        issuers[0] = SLASHED_ISSUER;
    }
    RequestAuthentication {
        selector: selector(dice),
        jwt_rules: issuers
            .iter()
            .map(|issuer| jwt_rule(dice, issuer))
            .collect(),
        ..RequestAuthentication::default()
    }
}

fn jwt_rule(dice: &mut Dice, issuer: &str) -> JwtRule {
    let claims_to_headers = [
        ("X-C", "c"),
        ("x-a", "n.c"),
        ("x-d", "scope"),
        ("x-c", "email"),
    ];
    JwtRule {
        issuer: issuer.to_owned(),
        audiences: dice.maybe_texts(50, &["aud", "https://other/", "aud/", "http://aud", ""]),
        from_headers: dice.maybe(20, from_headers).unwrap_or_default(),
        from_params: dice.maybe_texts(15, &["q", "access_token", "t"]),
        from_cookies: dice.maybe_texts(15, &["c", "tok"]),
        forward_original_token: dice.chance(20),
        output_payload_to_header: dice
            .maybe(20, |dice| dice.text(&["x-p", "X-A"]))
            .unwrap_or_default(),
        output_claim_to_headers: dice
            .maybe(30, |dice| {
                dice.several(1, 2, |dice| {
                    let (header, claim) = *dice.pick(&claims_to_headers);
                    ClaimToHeader {
                        header: header.to_owned(),
                        claim: claim.to_owned(),
                    }
                })
            })
            .unwrap_or_default(),
        space_delimited_claims: dice.maybe_texts(20, &["c", "scope", "email"]),
        ..JwtRule::default()
    }
}

fn from_headers(dice: &mut Dice) -> Vec<JwtHeader> {
    let headers = [
        ("x-t", ""),
        ("x-u", ""),
        ("X-T", "Tok "),
        ("authorization", "Bearer "),
        ("Authorization", "Bearer"),
        ("authorization", "Basic "),
        ("x-t", "Bearer "),
    ];
    dice.several(1, 2, |dice| {
        let (name, prefix) = *dice.pick(&headers);
        JwtHeader {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
        }
    })
}

/// Kids and algorithms are there, missing or wrong; a few keys are no keys, and
/// a few sets have no other.
fn key_set(dice: &mut Dice) -> Vec<PublicKey> {
    if dice.chance(2) {
        return vec![PublicKey::from_iter([("kty".to_owned(), json!("XX"))])];
    }
    let algorithms = [
        ("rsa", "RS256"),
        ("p256", "ES256"),
        ("ed25519", "EdDSA"),
        ("p384", "ES384"),
        ("p521", "ES512"),
        ("secret", "HS256"),
    ];
    let mut keys = Vec::new();
    for (name, alg) in algorithms {
        let common = matches!(name, "rsa" | "p256" | "ed25519");
        if !dice.chance(if common { 85 } else { 30 }) {
            continue;
        }
        let mut key = PublicKey::from_iter([("key".to_owned(), json!(name))]);
        if dice.chance(80) {
            let kid = if dice.chance(95) { name } else { "another" };
            key.insert("kid".to_owned(), json!(kid));
        }
        if dice.chance(50) {
            let alg = if dice.chance(90) { alg } else { "RS384" };
            key.insert("alg".to_owned(), json!(alg));
        }
        if dice.chance(20) {
            key.insert("use".to_owned(), json!(dice.text(&["sig", "enc"])));
        }
        if dice.chance(4) {
            let (member, value) = dice
                .pick(&[
                    ("kty", json!("XX")),
                    ("kty", Value::Null),
                    ("crv", json!("P-1")),
                    ("n", json!("")),
                    ("n", json!("AAAA")),
                    ("n", json!("AQAB")),
                    ("e", json!("Ag")),
                    ("n", Value::Null),
                    ("x", json!("AAAA")),
                    ("alg", json!(1)),
                    ("kid", json!(1)),
                ])
                .clone();
            key.insert(member.to_owned(), value);
        }
        keys.push(key);
    }
    keys
}

// === authorization ===

fn authorization_policy(dice: &mut Dice) -> AuthorizationPolicy {
    use Action::{Allow, Audit, Deny};
    let action = *dice.pick(&[
        Allow, Allow, Allow, Allow, Allow, Allow, Deny, Deny, Deny, Audit,
    ]);
    let least = usize::from(action != Allow || !dice.chance(5));
    AuthorizationPolicy {
        selector: selector(dice),
        action,
        rules: dice.several(least, 2, rule),
        ..AuthorizationPolicy::default()
    }
}

fn rule(dice: &mut Dice) -> Rule {
    Rule {
        from: dice
            .maybe(35, |dice| {
                dice.several(1, 2, |dice| From {
                    source: Some(source(dice)),
                })
            })
            .unwrap_or_default(),
        to: dice
            .maybe(55, |dice| {
                dice.several(1, 2, |dice| To {
                    operation: Some(operation(dice)),
                })
            })
            .unwrap_or_default(),
        when: dice
            .maybe(55, |dice| dice.several(1, 2, condition))
            .unwrap_or_default(),
    }
}

const REQUEST_PRINCIPALS: [&str; 10] = [
    "*",
    "*",
    "http://kc/realms/a/*",
    "http://kc/realms/a/u*",
    "http://kc/realms/a/user",
    "http://kc/realms/b/user",
    "*/user",
    "*r",
    "http*",
    "http://kc/realms/a*",
];
const PEERS: [&str; 9] = [
    "*",
    "*",
    "cluster.local/ns/demo/sa/frontend",
    "cluster.local/ns/demo/*",
    "cluster.local/*",
    "*/sa/frontend",
    "*/ns/other/sa/intruder",
    "old.domain/ns/demo/sa/frontend",
    "elsewhere.org/ns/demo/sa/frontend",
];
const NAMESPACES: [&str; 7] = ["demo", "other", "*", "de*", "*mo", "dem", "d.mo"];
const ACCOUNTS: [&str; 4] = ["frontend", "demo/frontend", "other/intruder", "intruder"];
const TRUST_DOMAINS: [&str; 5] = [
    "cluster.local",
    "old.domain",
    "*",
    "*.local",
    "elsewhere.org",
];
const DIRECT: [&str; 5] = ["127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "::1", "0.0.0.0/0"];
const REMOTE: [&str; 6] = [
    "192.0.2.1",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "2001:db8::/32",
    "127.0.0.1",
    "::/0",
];
const POD: [&str; 4] = ["10.0.0.9", "10.0.0.0/8", "2001:db8::9", "127.0.0.1"];
const PORTS: [&str; 3] = ["8080", "9090", "80"];

fn source(dice: &mut Dice) -> Source {
    let mut source = Source {
        request_principals: dice.maybe_texts(40, &REQUEST_PRINCIPALS),
        not_request_principals: dice.maybe_texts(12, &REQUEST_PRINCIPALS),
        ip_blocks: dice.maybe_texts(12, &DIRECT),
        not_ip_blocks: dice.maybe_texts(5, &DIRECT),
        remote_ip_blocks: dice.maybe_texts(12, &REMOTE),
        not_remote_ip_blocks: dice.maybe_texts(5, &REMOTE),
        trust_domains: dice.maybe_texts(8, &TRUST_DOMAINS),
        not_trust_domains: dice.maybe_texts(4, &TRUST_DOMAINS),
        ..Source::default()
    };
    // Service accounts do not stand beside principals and namespaces.
    if dice.chance(15) {
        source.service_accounts = dice.texts(&ACCOUNTS);
        source.not_service_accounts = dice.maybe_texts(10, &ACCOUNTS);
    } else {
        source.principals = dice.maybe_texts(25, &PEERS);
        source.not_principals = dice.maybe_texts(10, &PEERS);
        source.namespaces = dice.maybe_texts(15, &NAMESPACES);
        source.not_namespaces = dice.maybe_texts(8, &NAMESPACES);
    }
    if source.is_empty() {
        source.not_service_accounts = dice.texts(&ACCOUNTS);
    }
    source
}

const PATHS: [&str; 17] = [
    "/a",
    "/a",
    "/a/*",
    "*/b",
    "*",
    "/",
    "/a/{*}",
    "/{**}",
    "/a/{**}/c",
    "/A",
    "/{*}/b",
    "/a/b",
    "/a//b",
    "/a%2Fb",
    "/a|b",
    "/a/{*}/{**}",
    "/ä*",
];
const METHODS: [&str; 7] = ["GET", "GET", "POST", "*", "G*", "get", "OPTIONS"];
const HOSTS: [&str; 8] = [
    "Example.com",
    "example.com",
    "*.com",
    "example.com:*",
    "*",
    "EX*",
    "x",
    "*:8080",
];

fn operation(dice: &mut Dice) -> Operation {
    let mut operation = Operation {
        paths: dice.maybe_texts(50, &PATHS),
        not_paths: dice.maybe_texts(15, &PATHS),
        methods: dice.maybe_texts(35, &METHODS),
        not_methods: dice.maybe_texts(10, &METHODS),
        hosts: dice.maybe_texts(20, &HOSTS),
        not_hosts: dice.maybe_texts(10, &HOSTS),
        ports: dice.maybe_texts(10, &PORTS),
        not_ports: dice.maybe_texts(5, &PORTS),
    };
    if operation.is_empty() {
        operation.not_ports = dice.texts(&PORTS);
    }
    operation
}

const CLAIM_VALUES: [&str; 12] = [
    "a",
    "a",
    "b",
    "ab",
    "user@example.com",
    "*",
    "*",
    "a*",
    "*b",
    "x y",
    "1",
    "true",
];

fn condition(dice: &mut Dice) -> Condition {
    let keys: [(&str, &[&str]); 28] = [
        ("request.auth.claims[c]", &CLAIM_VALUES),
        ("request.auth.claims[c]", &CLAIM_VALUES),
        ("request.auth.claims[n][c]", &CLAIM_VALUES),
        ("request.auth.claims[n.c]", &CLAIM_VALUES),
        ("request.auth.claims[n][c][d]", &CLAIM_VALUES),
        ("request.auth.claims[https://x/c]", &CLAIM_VALUES),
        (
            "request.auth.claims[iss]",
            &["http://kc/realms/a", "http*", "*"],
        ),
        ("request.auth.claims[sub]", &["user", "u*", "*"]),
        ("request.auth.claims[aud]", &["aud", "other", "*d"]),
        ("request.auth.claims[exp]", &["*", "1*"]),
        (
            "request.auth.claims[email]",
            &["user@example.com", "*@example.com", "*"],
        ),
        (
            "request.auth.claims[scope]",
            &["openid", "email", "openid email", "*"],
        ),
        ("request.auth.principal", &REQUEST_PRINCIPALS),
        ("request.auth.audiences", &["aud", "other", "*", "http*"]),
        ("request.auth.presenter", &["fe", "f*", "*"]),
        ("request.headers[x-a]", &["1", "2", "*", "1*", "1,2", "a"]),
        (
            "request.headers[X-C]",
            &["a", "b", "*", "1", "true", "user*"],
        ),
        ("request.headers[x-p]", &["*", "eyJ*"]),
        (
            "request.headers[authorization]",
            &["*", "Bearer *", "Basic x"],
        ),
        ("request.headers[accept]", &["a", "a,b", "b"]),
        ("request.headers[cookie]", &["*", "a=1*"]),
        (
            "request.headers[host]",
            &["Example.com", "example.com", "*"],
        ),
        ("request.headers[:path]", &["/a", "/a*", "*1"]),
        ("request.headers[:method]", &["GET", "G*"]),
        ("source.ip", &DIRECT),
        ("remote.ip", &REMOTE),
        ("source.namespace", &NAMESPACES),
        ("source.principal", &PEERS),
    ];
    let rare: [(&str, &[&str]); 5] = [
        ("source.serviceAccount", &ACCOUNTS),
        ("source.trustDomain", &TRUST_DOMAINS),
        ("destination.ip", &POD),
        ("destination.port", &PORTS),
        (
            "connection.sni",
            &["backend.demo", "outbound*", "*.com", "*"],
        ),
    ];
    let (key, values) = if dice.chance(20) {
        *dice.pick(&rare)
    } else {
        *dice.pick(&keys)
    };
    let positive = dice.chance(75);
    Condition {
        key: key.to_owned(),
        values: if positive {
            dice.texts(values)
        } else {
            Vec::new()
        },
        not_values: if !positive || dice.chance(10) {
            dice.texts(values)
        } else {
            Vec::new()
        },
    }
}

// === connections and extensions ===

fn peer_authentication(dice: &mut Dice) -> PeerAuthentication {
    use MtlsMode::{Disable, Permissive, Strict, Unset};
    let mode = |dice: &mut Dice| MutualTls {
        mode: *dice.pick(&[
            Permissive, Permissive, Permissive, Strict, Strict, Disable, Unset,
        ]),
    };
    let selector = selector(dice);
    let ports = selector.is_some() && dice.chance(50);
    PeerAuthentication {
        selector,
        mtls: dice.maybe(80, mode),
        port_level_mtls: ports.then(|| {
            let port = *dice.pick(&[8080, 9090]);
            BTreeMap::from([(port, mode(dice))])
        }),
    }
}

fn traffic_extension(dice: &mut Dice) -> TrafficExtension {
    use Phase::{Authn, Authz, Stats, Unspecified};
    let script = *dice.pick(&[
        concat!(
            "function envoy_on_request(request)\n",
            "  if request:streamInfo():dynamicMetadata():get(\"envoy.filters.http.jwt_authn\") == nil then\n",
            "    request:respond({[\":status\"] = \"401\", [\"www-authenticate\"] = \"Bearer\"}, \"Jwt is missing\")\n",
            "  end\n",
            "end\n"
        ),
        concat!(
            "-- another status and no challenge\n",
            "function envoy_on_request(h)\n",
            "  if h:streamInfo():dynamicMetadata():get('envoy.filters.http.jwt_authn') == nil then\n",
            "    h:respond({[':status'] = '418'}, 'no token, no tea')\n",
            "  end\n",
            "end\n"
        ),
    ]);
    let modes = [
        WorkloadMode::Server,
        WorkloadMode::ClientAndServer,
        WorkloadMode::Client,
    ];
    TrafficExtension {
        selector: selector(dice),
        phase: *dice.pick(&[Authz, Authz, Authz, Authz, Authz, Authn, Stats, Unspecified]),
        priority: dice.maybe(20, |dice| *dice.pick(&[1, 10])),
        matches: dice
            .maybe(70, |dice| {
                vec![TrafficSelector {
                    mode: if dice.chance(80) {
                        WorkloadMode::Server
                    } else {
                        *dice.pick(&modes)
                    },
                    ports: dice
                        .maybe(20, |dice| {
                            let number = *dice.pick(&[8080, 9090]);
                            vec![PortSelector { number }]
                        })
                        .unwrap_or_default(),
                }]
            })
            .unwrap_or_default(),
        lua: Some(LuaConfig {
            inline_code: script.to_owned(),
        }),
        ..TrafficExtension::default()
    }
}
