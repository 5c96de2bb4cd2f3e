//! The translation is istiod's, filter for filter.

use std::path::Path;

use policy::{KeySets, Manifests, Mesh, TranslateError, Workload, http_filters, tcp_filters};
use serde_json::{Value, json};

fn manifests(yaml: &str) -> Manifests {
    Manifests::parse("test.yaml", yaml).expect("the manifests must be valid")
}

fn demo() -> Workload {
    Workload::app("demo", "backend")
}

fn filters(yaml: &str) -> Vec<Value> {
    let mesh = Mesh::default();
    let translation = http_filters(
        &mesh,
        &manifests(yaml),
        &demo(),
        Some(8080),
        &KeySets::new(),
    )
    .expect("it must be translatable");
    translation
        .filters
        .iter()
        .map(|filter| json!(filter))
        .collect()
}

fn names(yaml: &str) -> Vec<String> {
    filters(yaml)
        .iter()
        .map(|filter| {
            filter["name"]
                .as_str()
                .expect("a filter has a name")
                .to_owned()
        })
        .collect()
}

/// Every golden case, with what istiod made of it.
macro_rules! as_istiod {
    ($($test:ident $case:literal),+ $(,)?) => {
        $(#[test]
        fn $test() {
            compare($case);
        })+

        #[test]
        fn every_golden_case_is_compared() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/istiod");
            let mut on_disk: Vec<String> = std::fs::read_dir(folder)
                .expect("the folder is part of the crate")
                .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
                .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
                .collect();
            on_disk.sort();
            let mut compared = vec![$($case),+];
            compared.sort_unstable();
            assert_eq!(on_disk, compared);
        }
    };
}

as_istiod! {
    strings_become_exact_prefix_suffix_and_presence_matchers "strings",
    callers_become_principals_regexes_and_address_ranges "callers",
    request_principals_split_at_the_last_slash "request-principals",
    claims_match_strings_and_lists_under_the_payload "claims",
    every_when_attribute_lands_on_its_side "attributes",
    no_rules_never_match_and_one_empty_rule_always_does "empty",
    audit_comes_before_deny_before_allow "actions",
    dry_runs_become_shadow_rules "dry-run",
    http_attributes_on_tcp_narrow_allow_and_widen_deny "http-on-tcp",
    keys_that_cannot_be_read_drop_an_allow_rule_and_widen_a_deny_rule "unreadable-keys",
    one_issuer_is_required_or_missing "one-issuer",
    two_issuers_are_sorted_and_combined "two-issuers",
}

fn compare(case: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/istiod");
    let read = |ending| std::fs::read_to_string(folder.join(format!("{case}.{ending}")));
    let manifests = manifests(&read("yaml").expect("the case is part of the crate"));
    let istiod: Value =
        serde_json::from_str(&read("json").expect("so is its outcome")).expect("and it is JSON");

    let mesh = Mesh::default();
    let http = http_filters(&mesh, &manifests, &demo(), None, &KeySets::new())
        .expect("the case has nothing that needs a cluster");
    assert_eq!(
        json!(http.filters),
        istiod["http"],
        "HTTP filters of {case}"
    );
    let tcp = tcp_filters(&mesh, &manifests, &demo()).expect("as above");
    assert_eq!(json!(tcp), istiod["tcp"], "TCP filters of {case}");
}

const LUA: &str = r"
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: NAME, namespace: demo}
spec: {phase: PHASE, PRIORITY match: [{mode: SERVER}], lua: {inlineCode: x = 1}}
";

fn lua(name: &str, phase: &str, priority: &str) -> String {
    LUA.replace("NAME", name)
        .replace("PHASE", phase)
        .replace("PRIORITY", priority)
}

const REQUEST_AUTHENTICATION: &str = r"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: kc, namespace: demo}
spec: {jwtRules: [{issuer: https://kc, audiences: [a]}]}
";

const ALLOW: &str = r"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow, namespace: demo}
spec: {rules: [{}]}
";

#[test]
fn extensions_stand_where_their_phase_says() {
    let yaml = [
        lua("stats", "STATS", ""),
        lua("authz", "AUTHZ", ""),
        lua("last", "UNSPECIFIED", ""),
        lua("authn", "AUTHN", ""),
        REQUEST_AUTHENTICATION.to_owned(),
        ALLOW.to_owned(),
    ]
    .join("---");
    let extension = |name| format!("extensions.istio.io/trafficextension/demo.{name}");
    assert_eq!(
        names(&yaml),
        [
            extension("authn"),
            "envoy.filters.http.jwt_authn".to_owned(),
            extension("authz"),
            "envoy.filters.http.rbac".to_owned(),
            extension("stats"),
            extension("last"),
        ]
    );
}

#[test]
fn within_a_phase_the_highest_priority_comes_first_and_none_last() {
    let yaml = [
        lua("a", "AUTHZ", ""),
        lua("b", "AUTHZ", "priority: -5,"),
        lua("c", "AUTHZ", "priority: 7,"),
    ]
    .join("---");
    let ends: Vec<_> = names(&yaml)
        .iter()
        .map(|name| name.rsplit('.').next().map(str::to_owned))
        .collect();
    assert_eq!(
        ends,
        [
            Some("c".to_owned()),
            Some("b".to_owned()),
            Some("a".to_owned())
        ]
    );
}

#[test]
fn a_lua_extension_carries_its_script() {
    let config = &filters(&lua("a", "AUTHZ", ""))[0]["typedConfig"];
    assert_eq!(
        config["@type"],
        "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
    );
    assert_eq!(config["defaultSourceCode"]["inlineString"], "x = 1");
}

#[test]
fn an_outbound_extension_is_not_in_the_inbound_chain() {
    assert!(names(&lua("a", "AUTHZ", "").replace("SERVER", "CLIENT")).is_empty());
}

#[test]
fn an_extension_for_another_port_is_not_in_the_chain() {
    let yaml =
        lua("a", "AUTHZ", "").replace("mode: SERVER", "mode: SERVER, ports: [{number: 9090}]");
    assert!(names(&yaml).is_empty());
}

#[test]
fn given_keys_are_inlined_for_their_issuer() {
    let mesh = Mesh::default();
    let keys = KeySets::from([("https://kc".to_owned(), r#"{"keys":[{}]}"#.to_owned())]);
    let translation = http_filters(
        &mesh,
        &manifests(REQUEST_AUTHENTICATION),
        &demo(),
        None,
        &keys,
    )
    .expect("ok");
    let provider = &json!(translation.filters)[0]["typedConfig"]["providers"]["origins-0"];
    assert_eq!(provider["localJwks"]["inlineString"], r#"{"keys":[{}]}"#);
    assert!(translation.issuers_without_keys.is_empty());
}

#[test]
fn without_keys_the_filter_has_one_that_fits_no_token_and_says_so() {
    let mesh = Mesh::default();
    let translation = http_filters(
        &mesh,
        &manifests(REQUEST_AUTHENTICATION),
        &demo(),
        None,
        &KeySets::new(),
    )
    .expect("ok");
    assert_eq!(translation.issuers_without_keys, ["https://kc"]);
    let provider = &json!(translation.filters)[0]["typedConfig"]["providers"]["origins-0"];
    let keys = provider["localJwks"]["inlineString"]
        .as_str()
        .expect("text");
    let keys: Value = serde_json::from_str(keys).expect("a key set");
    assert_eq!(
        keys["keys"][0]["kty"], "RSA",
        "a set without a key would make Envoy refuse it all"
    );
}

#[test]
fn a_custom_policy_is_refused_because_its_authorizer_is_not_in_manifests() {
    let yaml = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ext, namespace: demo}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{}]}
";
    let error = http_filters(
        &Mesh::default(),
        &manifests(yaml),
        &demo(),
        None,
        &KeySets::new(),
    );
    let error = error.expect_err("CUSTOM cannot be translated");
    assert!(matches!(error, TranslateError::Custom { .. }));
    assert!(error.to_string().contains("demo/ext"), "{error}");
    assert!(error.to_string().contains("`opa`"), "{error}");
}

#[test]
fn a_workload_that_nothing_selects_has_no_filters() {
    let yaml = ALLOW.replace("spec: {", "spec: {selector: {matchLabels: {app: other}}, ");
    assert!(names(&yaml).is_empty());
}

#[test]
fn trust_domain_aliases_multiply_principals() {
    let yaml = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: demo}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]}]}
";
    let mesh = Mesh {
        trust_domain_aliases: vec!["old".to_owned()],
        ..Mesh::default()
    };
    let filters = tcp_filters(&mesh, &manifests(yaml), &demo()).expect("ok");
    let text = json!(filters).to_string();
    assert!(text.contains("spiffe://cluster.local/ns/a/sa/b"));
    assert!(text.contains("spiffe://old/ns/a/sa/b"));
}
