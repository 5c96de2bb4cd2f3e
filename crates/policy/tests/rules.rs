//! What authorization policies mean: selection, rule algebra and every
//! attribute.

mod support;

use policy::{Manifests, Mesh, PathNormalization, Peer, Verdict, Workload, http_filters};
use serde_json::{Value, json};
use support::{Ask, ISSUER, allow, policy, request_authentication, user};

const DENIED: &str = "RBAC: access denied";

/// Asked with the demo user's token.
fn asked(rules: &str) -> Ask {
    Ask::new(&allow(rules)).claims(&user(&json!({})))
}

fn when(key: &str, fields: &str) -> Ask {
    asked(&format!("[{{when: [{{key: \"{key}\", {fields}}}]}}]"))
}

fn source(fields: &str) -> Ask {
    asked(&format!("[{{from: [{{source: {{{fields}}}}}]}}]"))
}

fn operation(fields: &str) -> Ask {
    asked(&format!("[{{to: [{{operation: {{{fields}}}}}]}}]"))
}

// Actions

#[test]
fn without_policies_everything_passes() {
    assert!(Ask::new(&request_authentication("")).allowed());
}

#[test]
fn an_allow_policy_refuses_what_it_does_not_match() {
    let none = "rbac_access_denied_matched_policy[none]";
    let refused = (403, DENIED.to_owned(), none.to_owned());
    assert_eq!(operation("methods: [POST]").refusal(), refused);
}

#[test]
fn a_denial_has_no_challenge() {
    let outcome = operation("methods: [POST]").explain().outcome.expect("one");
    assert_eq!(outcome.www_authenticate, None);
    assert_eq!(outcome.body.expect("a body").len(), 19);
}

#[test]
fn a_deny_policy_that_matches_refuses_and_names_its_rule() {
    let yaml = policy(
        "d",
        "DENY",
        "[{to: [{operation: {paths: [/x]}}]}, {to: [{operation: {paths: [/data]}}]}]",
    );
    let (status, body, details) = Ask::new(&yaml).refusal();
    assert_eq!((status, body.as_str()), (403, DENIED));
    assert_eq!(
        details,
        "rbac_access_denied_matched_policy[ns[demo]-policy[d]-rule[1]]"
    );
}

#[test]
fn deny_comes_before_allow() {
    let yaml = policy("a", "ALLOW", "[{}]") + &policy("d", "DENY", "[{}]");
    assert!(Ask::new(&yaml).refusal().2.contains("policy[d]"));
}

#[test]
fn of_several_deny_rules_the_first_by_name_is_named() {
    let rules = format!("[{}]", ["{}"; 11].join(", "));
    let yaml = policy("b", "DENY", &rules)
        + &policy("a", "DENY", "[{to: [{operation: {paths: [/x]}}]}, {}]");
    assert!(Ask::new(&yaml).refusal().2.contains("policy[a]-rule[1]"));
}

#[test]
fn audit_never_refuses() {
    assert!(Ask::new(&policy("u", "AUDIT", "[{}]")).allowed());
}

#[test]
fn an_empty_spec_denies_everything() {
    let yaml = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: none, namespace: demo}
spec: {}
";
    let explanation = Ask::new(yaml).explain();
    assert_eq!(explanation.verdict, Verdict::Refused);
    assert!(
        explanation.nearest.is_empty(),
        "there is no rule to come near"
    );
}

#[test]
fn one_empty_rule_matches_everything() {
    assert!(Ask::new(&policy("all", "ALLOW", "[{}]")).allowed());
}

#[test]
fn a_dry_run_refuses_nothing_but_is_told() {
    let yaml = policy("d", "DENY", "[{}]").replace(
        "namespace: demo}",
        "namespace: demo, annotations: {\"istio.io/dry-run\": \"true\"}}",
    );
    let explanation = Ask::new(&yaml).explain();
    assert_eq!(explanation.verdict, Verdict::Allowed);
    assert!(
        explanation
            .steps
            .iter()
            .any(|step| step.summary.contains("would refuse"))
    );
}

#[test]
fn only_dry_run_allow_policies_enforce_nothing() {
    let yaml = policy("a", "ALLOW", "[{to: [{operation: {paths: [/x]}}]}]").replace(
        "namespace: demo}",
        "namespace: demo, annotations: {\"istio.io/dry-run\": \"true\"}}",
    );
    assert!(Ask::new(&yaml).allowed());
}

fn custom(rules: &str) -> Ask {
    Ask::new(&policy(
        "c",
        "CUSTOM",
        &format!("{rules}\n  provider: {{name: opa}}"),
    ))
}

#[test]
fn a_custom_policy_that_matches_leaves_the_answer_open() {
    let explanation = custom("[{to: [{operation: {paths: [/data]}}]}]").explain();
    assert_eq!(explanation.verdict, Verdict::Unknown);
    assert!(
        explanation
            .missing
            .iter()
            .any(|input| input.contains("external authorizer"))
    );
}

#[test]
fn a_custom_policy_that_does_not_match_asks_nobody() {
    assert!(custom("[{to: [{operation: {paths: [/other]}}]}]").allowed());
}

// Selection

fn applies(namespace: &str, spec: &str) -> bool {
    let yaml = format!(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: {namespace}}}
spec: {spec}
"
    );
    !Ask::new(&yaml).allowed()
}

#[test]
fn a_policy_applies_in_its_own_namespace_and_from_the_root_namespace() {
    assert!(applies("demo", "{}"));
    assert!(applies("istio-system", "{}"));
    assert!(!applies("other", "{}"));
}

#[test]
fn a_selector_needs_all_its_labels() {
    assert!(applies("demo", "{selector: {matchLabels: {app: backend}}}"));
    assert!(!applies(
        "demo",
        "{selector: {matchLabels: {app: backend, tier: x}}}"
    ));
    assert!(!applies(
        "demo",
        "{selector: {matchLabels: {app: frontend}}}"
    ));
    assert!(applies(
        "istio-system",
        "{selector: {matchLabels: {app: backend}}}"
    ));
}

#[test]
fn sidecars_ignore_a_policy_with_target_refs() {
    assert!(!applies(
        "demo",
        "{targetRefs: [{kind: Service, group: \"\", name: backend}]}"
    ));
    assert!(!applies(
        "demo",
        "{targetRef: {kind: Service, name: backend}}"
    ));
}

#[test]
fn gateways_follow_target_refs_that_name_them() {
    let yaml = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: demo}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: NAME}]}
";
    let mut workload = Workload::app("demo", "gw");
    workload.labels.insert(
        "gateway.networking.k8s.io/gateway-name".to_owned(),
        "gw".to_owned(),
    );
    let count = |name: &str| {
        let manifests = Manifests::parse("p.yaml", &yaml.replace("NAME", name)).expect("valid");
        let keys = policy::KeySets::new();
        http_filters(&Mesh::default(), &manifests, &workload, None, &keys)
            .expect("ok")
            .filters
            .len()
    };
    assert_eq!((count("gw"), count("other")), (1, 0));
}

// Rule algebra

#[test]
fn rules_are_alternatives() {
    assert!(
        asked("[{to: [{operation: {paths: [/x]}}]}, {to: [{operation: {paths: [/data]}}]}]")
            .allowed()
    );
}

#[test]
fn from_to_and_when_must_all_match() {
    let rule = |namespace: &str, path: &str, email: &str| {
        asked(&format!(
            "[{{from: [{{source: {{namespaces: [{namespace}]}}}}],
               to: [{{operation: {{paths: [{path}]}}}}],
               when: [{{key: \"request.auth.claims[email]\", values: [{email}]}}]}}]"
        ))
        .allowed()
    };
    assert!(rule("demo", "/data", "user@example.com"));
    assert!(!rule("other", "/data", "user@example.com"));
    assert!(!rule("demo", "/x", "user@example.com"));
    assert!(!rule("demo", "/data", "x@example.com"));
}

#[test]
fn several_from_or_to_are_alternatives() {
    assert!(
        asked("[{from: [{source: {namespaces: [x]}}, {source: {namespaces: [demo]}}]}]").allowed()
    );
    assert!(asked("[{to: [{operation: {paths: [/x]}}, {operation: {methods: [GET]}}]}]").allowed());
}

#[test]
fn fields_of_a_source_or_operation_must_all_match() {
    assert!(!source("namespaces: [demo], ipBlocks: [192.0.2.0/24]").allowed());
    assert!(!operation("paths: [/data], methods: [POST]").allowed());
}

#[test]
fn every_when_must_match() {
    let both = |second: &str| {
        asked(&format!(
            "[{{when: [{{key: \"request.auth.claims[azp]\", values: [frontend]}},
                       {{key: \"request.auth.claims[email]\", values: [{second}]}}]}}]"
        ))
        .allowed()
    };
    assert!(both("user@example.com"));
    assert!(!both("x"));
}

#[test]
fn values_are_alternatives_and_not_values_exclude_each() {
    assert!(operation("methods: [POST, GET]").allowed());
    assert!(!operation("notMethods: [POST, GET]").allowed());
    assert!(operation("methods: [\"*\"], notMethods: [POST]").allowed());
    assert!(!operation("methods: [\"*\"], notMethods: [GET]").allowed());
}

// Strings

#[test]
fn values_are_exact_prefixes_suffixes_or_anything() {
    for (value, matches) in [
        ("user@example.com", true),
        ("user*", true),
        ("*example.com", true),
        ("*", true),
        ("User@example.com", false),
        ("user", false),
        ("us*com", false),
    ] {
        let ask = when(
            "request.auth.claims[email]",
            &format!("values: [\"{value}\"]"),
        );
        assert_eq!(ask.allowed(), matches, "{value}");
    }
}

#[test]
fn a_star_needs_a_value_that_is_not_empty() {
    let ask = when("request.auth.claims[email]", "values: [\"*\"]");
    assert!(!ask.claims(&user(&json!({"email": ""}))).allowed());
}

// Token principals

fn principal(value: &str, claims: &Value) -> bool {
    Ask::new(&allow(&format!(
        "[{{from: [{{source: {{requestPrincipals: [\"{value}\"]}}}}]}}]"
    )))
    .claims(claims)
    .allowed()
}

#[test]
fn request_principals_split_at_the_last_slash() {
    let claims = user(&json!({"sub": "alice"}));
    assert!(principal(&format!("{ISSUER}/alice"), &claims));
    assert!(principal(&format!("{ISSUER}/*"), &claims));
    assert!(principal("*/alice", &claims));
    assert!(!principal("*/bob", &claims));
    assert!(
        !principal("*/*", &claims),
        "the subject would have to be a star"
    );
}

#[test]
fn a_star_alone_needs_issuer_and_subject() {
    assert!(principal("*", &user(&json!({}))));
    assert!(!principal("*", &user(&json!({"sub": null}))));
    assert!(!principal("*", &user(&json!({"sub": ""}))));
}

#[test]
fn without_a_slash_a_leading_star_is_about_the_subject_and_a_last_one_about_the_issuer() {
    let claims = user(&json!({"sub": "alice"}));
    assert!(principal("*ice", &claims));
    assert!(!principal("*bob", &claims));
    assert!(principal("http:*", &claims));
    assert!(!principal("https:*", &claims));
}

#[test]
fn a_last_star_after_a_slash_is_about_the_subject_not_the_issuer() {
    let realms = ISSUER.trim_end_matches("/myrealm");
    assert!(!principal(&format!("{realms}/my*"), &user(&json!({}))));
    assert!(principal(
        &format!("{ISSUER}/ali*"),
        &user(&json!({"sub": "alice"}))
    ));
}

#[test]
fn request_auth_principal_means_the_same() {
    assert!(when("request.auth.principal", "values: [\"*\"]").allowed());
}

#[test]
fn negative_principals_are_satisfied_by_a_missing_token() {
    assert!(
        Ask::new(&allow(
            "[{from: [{source: {notRequestPrincipals: [\"*\"]}}]}]"
        ))
        .allowed()
    );
    assert!(!source("notRequestPrincipals: [\"*\"]").allowed());
}

// Claims

#[test]
fn audiences_and_presenter_are_aud_and_azp() {
    assert!(when("request.auth.audiences", "values: [my-backend-client]").allowed());
    assert!(when("request.auth.presenter", "values: [frontend]").allowed());
    assert!(!when("request.auth.presenter", "values: [other]").allowed());
}

fn claim(value: &Value, wanted: &str) -> bool {
    Ask::new(&allow(&format!(
        "[{{when: [{{key: \"request.auth.claims[c]\", values: [\"{wanted}\"]}}]}}]"
    )))
    .claims(&user(&json!({"c": value})))
    .allowed()
}

#[test]
fn strings_and_strings_in_lists_match() {
    assert!(claim(&json!("a"), "a"));
    assert!(claim(&json!(["x", "a"]), "a"));
    assert!(claim(&json!([1, "a"]), "a"));
    assert!(!claim(&json!(["x"]), "a"));
    assert!(!claim(&json!([]), "*"));
}

#[test]
fn numbers_booleans_objects_null_and_nested_lists_never_match() {
    for value in [json!(1), json!(true), json!({"a": "a"}), json!([["a"]])] {
        for wanted in ["*", "1", "true", "a"] {
            assert!(!claim(&value, wanted), "{value} {wanted}");
        }
    }
}

#[test]
fn a_missing_claim_never_matches_but_satisfies_not_values() {
    assert!(!when("request.auth.claims[none]", "values: [\"*\"]").allowed());
    assert!(when("request.auth.claims[none]", "notValues: [\"*\"]").allowed());
    let tokenless = Ask::new(&allow(
        "[{when: [{key: \"request.auth.claims[none]\", notValues: [x]}]}]",
    ));
    assert!(tokenless.allowed(), "and so does a missing token");
}

#[test]
fn brackets_descend_into_objects_and_dots_do_not() {
    let claims = user(&json!({"realm_access": {"roles": ["reader"]}, "a.b": "x"}));
    let ask = |key: &str, value: &str| {
        Ask::new(&allow(&format!(
            "[{{when: [{{key: \"{key}\", values: [\"{value}\"]}}]}}]"
        )))
        .claims(&claims)
        .allowed()
    };
    assert!(ask("request.auth.claims[realm_access][roles]", "reader"));
    assert!(!ask("request.auth.claims[realm_access.roles]", "reader"));
    assert!(ask("request.auth.claims[a.b]", "x"));
}

#[test]
fn scope_and_permission_are_split_at_spaces() {
    let ask = |name: &str, value: &Value, wanted: &str| {
        Ask::new(&allow(&format!(
            "[{{when: [{{key: \"request.auth.claims[{name}]\", values: [\"{wanted}\"]}}]}}]"
        )))
        .claims(&user(&json!({name: value})))
        .allowed()
    };
    assert!(ask("scope", &json!("openid  email"), "email"));
    assert!(!ask("scope", &json!("openid  email"), "openid  email"));
    assert!(ask("permission", &json!("read write"), "write"));
    assert!(!ask("groups", &json!("a b"), "a"));
    assert!(
        ask("scope", &json!(["a b"]), "a b"),
        "a list stays as it is"
    );
}

#[test]
fn further_claims_can_be_split() {
    let yaml = request_authentication(", spaceDelimitedClaims: [groups]")
        + &policy(
            "p",
            "ALLOW",
            "[{when: [{key: \"request.auth.claims[groups]\", values: [a]}]}]",
        );
    assert!(
        Ask::new(&yaml)
            .claims(&user(&json!({"groups": "a b"})))
            .allowed()
    );
}

// Operations

#[test]
fn methods_keep_their_case() {
    assert!(operation("methods: [GET]").allowed());
    assert!(operation("methods: [\"G*\"]").allowed());
    assert!(!operation("methods: [get]").allowed());
}

#[test]
fn hosts_ignore_case_but_not_the_port() {
    let host = |had: &str, wanted: &str| {
        let had = had.to_owned();
        operation(&format!("hosts: [\"{wanted}\"]"))
            .request(|request| request.host = Some(had))
            .allowed()
    };
    assert!(host("Example.COM", "example.com"));
    assert!(!host("example.com:8080", "example.com"));
    assert!(host("example.com:8080", "example.com:*"));
    assert!(host("a.EXAMPLE.com", "*.example.com"));
}

fn path(had: &str, wanted: &str) -> bool {
    let had = had.to_owned();
    operation(&format!("paths: [\"{wanted}\"]"))
        .request(|request| request.path = Some(had))
        .allowed()
}

#[test]
fn paths_keep_their_case_and_lose_their_query() {
    assert!(path("/data?x=/other", "/data"));
    assert!(!path("/Data", "/data"));
    assert!(!path("/other?x=/data", "/data"));
    assert!(path("/data/1", "/data/*"));
    assert!(path("/v1/data", "*/data"));
}

#[test]
fn templates_match_whole_segments() {
    assert!(path("/users/7/orders", "/users/{*}/orders"));
    assert!(!path("/users/7/8/orders", "/users/{*}/orders"));
    assert!(path("/users/7/8/orders", "/users/{**}/orders"));
    assert!(path("/users/7?x=1", "/users/{*}"));
}

#[test]
fn paths_are_normalized_before_they_are_compared() {
    assert!(path("/x/../data", "/data"));
    assert!(path("/%64ata", "/data"));
    assert!(!path("//data", "/data"));
    assert!(!path("/a%2Fdata", "*/data"));
}

#[test]
fn the_mesh_can_normalize_more_or_not_at_all() {
    let ask = |had: &str, mode| {
        let had = had.to_owned();
        let mut ask = operation("paths: [/a/data]").request(|request| request.path = Some(had));
        ask.mesh.path_normalization = mode;
        ask.allowed()
    };
    assert!(ask("/a//data", PathNormalization::MergeSlashes));
    assert!(!ask("/a%2Fdata", PathNormalization::MergeSlashes));
    assert!(ask("/a%2Fdata", PathNormalization::DecodeAndMergeSlashes));
    assert!(!ask("/x/../a/data", PathNormalization::None));
}

#[test]
fn a_path_that_is_not_ascii_is_no_http() {
    let ask = operation("paths: [/data]").request(|request| request.path = Some("/dätä".into()));
    assert_eq!(
        ask.refusal(),
        (
            400,
            "Bad Request".to_owned(),
            "http1.codec_error".to_owned()
        )
    );
}

#[test]
fn a_path_without_a_normal_form_is_answered_400() {
    let ask = operation("paths: [/data]").request(|request| request.path = Some("/data%00".into()));
    assert_eq!(
        ask.refusal(),
        (400, String::new(), "path_normalization_failed".to_owned())
    );
}

#[test]
fn ports_are_the_pods_own() {
    assert!(operation("ports: [\"8080\"]").allowed());
    assert!(!operation("ports: [\"80\"]").allowed());
    assert!(when("destination.port", "values: [\"8080\"]").allowed());
}

// Headers

#[test]
fn headers_are_present_exact_or_partial() {
    let header = |value: &str| {
        when(
            "request.headers[X-Tenant]",
            &format!("values: [\"{value}\"]"),
        )
        .header("x-tenant", "acme-eu")
        .allowed()
    };
    assert!(header("*"));
    assert!(header("acme*"));
    assert!(header("*eu"));
    assert!(!header("ACME-EU"));
    assert!(!when("request.headers[x-tenant]", "values: [\"*\"]").allowed());
}

#[test]
fn each_value_of_a_repeated_header_counts_by_itself() {
    let repeated = |wanted: &str| {
        when("request.headers[x-a]", &format!("values: [\"{wanted}\"]"))
            .header("x-a", "1")
            .header("x-a", "2")
            .allowed()
    };
    assert!(repeated("2"));
    assert!(!repeated("1,2"));
}

#[test]
fn a_header_that_envoy_keeps_once_is_joined() {
    let accept = |wanted: &str| {
        when(
            "request.headers[accept]",
            &format!("values: [\"{wanted}\"]"),
        )
        .header("accept", "a")
        .header("Accept", "b")
        .allowed()
    };
    assert!(accept("a,b"));
    assert!(!accept("b"));
}

// Callers

#[test]
fn principals_come_from_the_certificate() {
    assert!(source("principals: [cluster.local/ns/demo/sa/caller]").allowed());
    assert!(source("principals: [\"*/sa/caller\"]").allowed());
    assert!(source("principals: [\"cluster.local/ns/demo/*\"]").allowed());
    assert!(!source("principals: [cluster.local/ns/demo/sa/frontend]").allowed());
    assert!(when("source.principal", "values: [\"*\"]").allowed());
}

#[test]
fn plain_text_has_no_principal_and_satisfies_not_principals() {
    let plain = |ask: Ask| {
        ask.request(|request| request.peer = Peer::Plaintext)
            .allowed()
    };
    assert!(!plain(source("principals: [\"*\"]")));
    assert!(!plain(source("namespaces: [\"*\"]")));
    assert!(plain(source("notPrincipals: [\"*\"]")));
}

#[test]
fn namespaces_match_with_stars_and_dots_are_dots() {
    assert!(source("namespaces: [demo]").allowed());
    assert!(source("namespaces: [\"d*o\"]").allowed());
    assert!(!source("namespaces: [\"de.o\"]").allowed());
    assert!(when("source.namespace", "values: [demo]").allowed());
}

#[test]
fn service_accounts_are_of_the_policys_namespace_unless_they_name_one() {
    assert!(source("serviceAccounts: [caller]").allowed());
    assert!(source("serviceAccounts: [demo/caller]").allowed());
    assert!(!source("serviceAccounts: [other/caller]").allowed());
    assert!(!source("serviceAccounts: [call]").allowed());
}

#[test]
fn trust_domains_match_the_first_part() {
    assert!(source("trustDomains: [cluster.local]").allowed());
    assert!(source("trustDomains: [\"*.local\"]").allowed());
    assert!(source("trustDomains: [\"*\"]").allowed());
    assert!(!source("trustDomains: [\"cluster\"]").allowed());
}

#[test]
fn aliases_of_the_trust_domain_are_the_same_identity() {
    let mut ask = source("principals: [old.domain/ns/demo/sa/caller]");
    assert!(!ask.allowed());
    ask.mesh.trust_domain_aliases = vec!["old.domain".to_owned()];
    assert!(ask.allowed());
}

#[test]
fn ip_blocks_are_the_direct_peer_and_remote_ones_the_original_client() {
    assert!(source("ipBlocks: [10.1.0.0/16]").allowed());
    assert!(source("ipBlocks: [10.1.2.3]").allowed());
    assert!(!source("ipBlocks: [203.0.113.7]").allowed());
    assert!(source("remoteIpBlocks: [203.0.113.7]").allowed());
    assert!(
        !source("notIpBlocks: [10.1.9.9/16]").allowed(),
        "host bits do not count"
    );
    assert!(when("source.ip", "values: [10.1.2.3]").allowed());
    assert!(when("remote.ip", "values: [203.0.113.0/24]").allowed());
    assert!(when("destination.ip", "values: [10.9.9.9]").allowed());
}

#[test]
fn the_server_name_comes_from_the_handshake() {
    assert!(when("connection.sni", "values: [\"*.example.com\"]").allowed());
    assert!(!when("connection.sni", "values: [x]").allowed());
}

#[test]
fn metadata_of_other_filters_is_not_guessed_at() {
    let ask = when(
        "experimental.envoy.filters.network.mysql_proxy[db.table]",
        "values: [\"[a]\"]",
    );
    assert_eq!(ask.explain().verdict, Verdict::Unknown);
}

// Mutual TLS

fn mtls(specs: &[(&str, &str)], peer: Peer) -> Verdict {
    let documents: Vec<String> = (0..)
        .zip(specs)
        .map(|(index, (namespace, spec))| {
            format!(
                "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: p{index}, namespace: {namespace}}}
spec: {spec}
"
            )
        })
        .collect();
    let yaml = documents.concat();
    Ask::new(&yaml)
        .request(|request| request.peer = peer)
        .explain()
        .verdict
}

#[test]
fn by_default_both_kinds_of_connection_are_taken() {
    assert_eq!(mtls(&[], Peer::Plaintext), Verdict::Allowed);
}

#[test]
fn strict_closes_plain_text_connections_without_an_answer() {
    let strict = [("demo", "{mtls: {mode: STRICT}}")];
    assert_eq!(mtls(&strict, Peer::Plaintext), Verdict::Refused);
    assert_eq!(
        mtls(&strict, Peer::mtls("cluster.local/ns/a/sa/b")),
        Verdict::Allowed
    );
    assert_eq!(
        mtls(&strict, Peer::Unknown),
        Verdict::Allowed,
        "as an assumption that is told"
    );
}

#[test]
fn the_narrowest_mode_wins_and_unset_asks_the_wider_one() {
    let mesh = ("istio-system", "{mtls: {mode: STRICT}}");
    assert_eq!(mtls(&[mesh], Peer::Plaintext), Verdict::Refused);
    let namespace = ("demo", "{mtls: {mode: PERMISSIVE}}");
    assert_eq!(mtls(&[mesh, namespace], Peer::Plaintext), Verdict::Allowed);
    let unset = ("demo", "{mtls: {mode: UNSET}}");
    assert_eq!(mtls(&[mesh, unset], Peer::Plaintext), Verdict::Refused);
    let workload = (
        "demo",
        "{selector: {matchLabels: {app: backend}}, mtls: {mode: DISABLE}}",
    );
    assert_eq!(mtls(&[mesh, workload], Peer::Plaintext), Verdict::Allowed);
    assert_eq!(
        mtls(&[workload], Peer::mtls("a/ns/b/sa/c")),
        Verdict::Refused
    );
}

#[test]
fn a_port_can_have_its_own_mode() {
    let spec = "{selector: {matchLabels: {app: backend}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: PERMISSIVE}}}";
    assert_eq!(mtls(&[("demo", spec)], Peer::Plaintext), Verdict::Allowed);
    let other = spec.replace("8080", "9090");
    assert_eq!(mtls(&[("demo", &other)], Peer::Plaintext), Verdict::Refused);
}

#[test]
fn a_selector_in_the_root_namespace_does_not_count_for_mtls() {
    let spec = "{selector: {matchLabels: {app: backend}}, mtls: {mode: STRICT}}";
    assert_eq!(
        mtls(&[("istio-system", spec)], Peer::Plaintext),
        Verdict::Allowed
    );
}
