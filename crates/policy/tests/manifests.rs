//! Bad manifests are refused with file, line and what to do.

use policy::Manifests;

/// The only error in a manifest: its line and its message.
fn error(yaml: &str) -> (u64, String) {
    let invalid = Manifests::parse("policy.yaml", yaml).expect_err("it must be refused");
    let [only] = &invalid.0[..] else {
        panic!("one error expected:\n{invalid}")
    };
    assert_eq!(only.location.file, "policy.yaml");
    (only.location.line, only.message.clone())
}

#[track_caller]
fn refused(yaml: &str, line: u64, message: &str) {
    let (had, text) = error(yaml);
    assert!(
        text.contains(message),
        "`{text}` should contain `{message}`"
    );
    assert_eq!(had, line, "{text}");
}

fn authorization(spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: backend
  namespace: demo
spec:
{spec}"
    )
}

fn request_authentication(rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: kc, namespace: demo}}
spec:
  jwtRules:
    - {rule}
"
    )
}

#[test]
fn an_unknown_field_is_refused_where_it_stands() {
    refused(
        &authorization("  rules:\n    - to:\n        - operation:\n            method: [GET]\n"),
        10,
        "method",
    );
    refused(&authorization("  action: ALLOW\n  rule: []\n"), 8, "rule");
    refused(
        &request_authentication("{issuer: a, audience: [b]}"),
        6,
        "audience",
    );
}

#[test]
fn the_line_counts_from_the_files_beginning_in_every_document() {
    let yaml = format!(
        "# first\n{}---\n{}",
        authorization("  {}\n"),
        authorization("  actions: ALLOW\n").replace("backend", "b")
    );
    refused(&yaml, 16, "actions");
}

#[test]
fn yaml_that_cannot_be_read_says_where() {
    refused(&authorization("  rules: [\n"), 7, "bracket");
    refused("a: b\n c: d\n", 2, "");
}

#[test]
fn numbers_and_booleans_are_no_strings() {
    refused(
        &authorization("  rules:\n    - to: [{operation: {ports: [80]}}]\n"),
        8,
        "80",
    );
    refused(
        &authorization("  rules:\n    - when: [{key: request.auth.presenter, values: [true]}]\n"),
        8,
        "true",
    );
    refused(
        &authorization("  rules:\n    - when: [{key: request.auth.presenter, values: [y]}]\n"),
        8,
        "y",
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    refused(
        &authorization("  action: ALLOW\n  action: DENY\n"),
        8,
        "`action` is given twice",
    );
}

#[test]
fn an_unknown_action_lists_the_known_ones() {
    refused(&authorization("  action: PERMIT\n"), 7, "ALLOW");
}

#[test]
fn what_is_no_kubernetes_object_is_refused() {
    refused("resources:\n  - a.yaml\n", 1, "not a Kubernetes object");
    refused("just text\n", 1, "");
}

#[test]
fn a_resource_needs_a_name() {
    refused(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {}\n",
        3,
        "`metadata.name`",
    );
}

#[test]
fn an_api_version_that_is_gone_names_the_one_to_use() {
    let old = authorization("  {}\n").replace("istio.io/v1\n", "istio.io/v1alpha1\n");
    refused(&old, 1, "security.istio.io/v1");
}

#[test]
fn the_same_resource_twice_is_refused() {
    let twice = format!(
        "{}---\n{}",
        authorization("  {}\n"),
        authorization("  {}\n")
    );
    refused(&twice, 12, "defined twice, first at policy.yaml:4");
}

#[test]
fn both_versions_of_the_api_are_read() {
    let beta = authorization("  {}\n").replace("/v1\n", "/v1beta1\n");
    assert_eq!(
        Manifests::parse("p", &beta)
            .expect("valid")
            .authorization_policies
            .len(),
        1
    );
}

#[test]
fn fields_that_a_cluster_adds_are_no_obstacle() {
    let yaml = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: a
  namespace: demo
  uid: 9d0b
  resourceVersion: \"7\"
  generation: 1
  creationTimestamp: \"2026-11-24T08:00:00Z\"
  managedFields: [{manager: kubectl}]
spec: {}
status: {conditions: []}
";
    assert!(Manifests::parse("p", yaml).is_ok());
}

#[test]
fn other_kinds_are_listed_and_those_that_could_interfere_marked() {
    let yaml = "apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: demo}
data: {a: b}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: e, namespace: demo}
spec: {anything: [1]}
";
    let manifests = Manifests::parse("p", yaml).expect("valid");
    let listed: Vec<_> = manifests
        .others
        .iter()
        .map(|other| {
            (
                other.kind.as_str(),
                other.id.as_str(),
                other.location.line,
                other.may_interfere,
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("ConfigMap", "demo/c", 1, false),
            ("EnvoyFilter", "demo/e", 6, true)
        ]
    );
}

#[test]
fn empty_documents_and_comments_are_skipped() {
    let yaml = "---\n# nothing\n---\n\n---\n";
    assert_eq!(Manifests::parse("p", yaml), Ok(Manifests::default()));
}

#[test]
fn all_errors_are_said_at_once() {
    let yaml = authorization(
        "  action: DENY\n  provider: {name: x}\n  selector: {matchLabels: {\"a*\": b}}\n",
    );
    let invalid = Manifests::parse("policy.yaml", &yaml).expect_err("three mistakes");
    let lines: Vec<_> = invalid.0.iter().map(|error| error.location.line).collect();
    assert_eq!(lines, [9, 7, 8]);
    assert!(
        invalid.to_string().starts_with("policy.yaml:9: "),
        "{invalid}"
    );
}

#[test]
fn policies_that_mean_nothing_are_refused() {
    refused(&authorization("  action: DENY\n"), 7, "rules: [{}]");
    refused(
        &authorization("  action: CUSTOM\n"),
        7,
        "CUSTOM without `rules`",
    );
    refused(
        &authorization("  action: CUSTOM\n  rules: [{}]\n"),
        6,
        "provider.name",
    );
    refused(&authorization("  provider: {name: x}\n"), 7, "CUSTOM only");
    refused(
        &authorization("  rules:\n    - from: [{source: {}}]\n"),
        8,
        "empty `source`",
    );
    refused(
        &authorization("  rules:\n    - from: [{}]\n"),
        8,
        "`source` is missing",
    );
    refused(
        &authorization("  rules:\n    - to: [{operation: {}}]\n"),
        8,
        "empty `operation`",
    );
    refused(
        &authorization("  rules:\n    - to: [{}]\n"),
        8,
        "`operation` is missing",
    );
}

#[test]
fn custom_cannot_ask_for_what_is_known_only_later() {
    let custom = |rule: &str| {
        authorization(&format!(
            "  action: CUSTOM\n  provider: {{name: x}}\n  rules:\n    - {rule}\n"
        ))
    };
    for rule in [
        "from: [{source: {requestPrincipals: [a]}}]",
        "from: [{source: {principals: [a]}}]",
        "from: [{source: {namespaces: [a]}}]",
        "when: [{key: \"request.auth.claims[a]\", values: [b]}]",
        "when: [{key: source.principal, values: [b]}]",
    ] {
        refused(&custom(rule), 10, "before");
    }
}

#[test]
fn conditions_need_a_known_key_and_a_value() {
    let when =
        |condition: &str| authorization(&format!("  rules:\n    - when:\n        - {condition}\n"));
    refused(
        &when("{key: request.auth.claim, values: [a]}"),
        9,
        "unknown attribute",
    );
    refused(
        &when("{key: destination.labels, values: [a]}"),
        9,
        "selector",
    );
    refused(&when("{key: \"\", values: [a]}"), 9, "`key` is empty");
    refused(
        &when("{key: source.ip}"),
        9,
        "needs `values` or `notValues`",
    );
    refused(
        &when("{key: \"request.headers[]\", values: [a]}"),
        9,
        "in brackets",
    );
    refused(
        &when("{key: source.ip, values: [10.0.0.256]}"),
        9,
        "10.0.0.256",
    );
    refused(
        &when("{key: destination.port, values: [\"65536\"]}"),
        9,
        "65536",
    );
    refused(
        &when("{key: request.auth.presenter, values: [\"\"]}"),
        9,
        "empty value",
    );
}

#[test]
fn values_have_the_form_of_their_field() {
    let source = |fields: &str| {
        authorization(&format!(
            "  rules:\n    - from: [{{source: {{{fields}}}}}]\n"
        ))
    };
    refused(&source("ipBlocks: [10.0.0.0/33]"), 8, "10.0.0.0/33");
    refused(&source("serviceAccounts: [a/b/c]"), 8, "NAMESPACE/NAME");
    refused(&source("serviceAccounts: [\"a*\"]"), 8, "wildcards");
    refused(
        &source("serviceAccounts: [a], namespaces: [b]"),
        8,
        "cannot stand beside",
    );
    refused(&source("trustDomains: [a/b]"), 8, "no `/`");
    refused(&source("trustDomains: [\"a*b\"]"), 8, "one `*`");
    let operation = |fields: &str| {
        authorization(&format!(
            "  rules:\n    - to: [{{operation: {{{fields}}}}}]\n"
        ))
    };
    refused(&operation("ports: [\"x\"]"), 8, "`x`");
    refused(&operation("paths: [\"/a{*}\"]"), 8, "whole segments");
    refused(&operation("paths: [\"/{**}/{*}\"]"), 8, "may follow");
}

#[test]
fn selectors_and_targets_are_checked() {
    refused(
        &authorization("  selector: {matchLabels: {app: \"b*\"}}\n"),
        7,
        "wildcards",
    );
    refused(
        &authorization(
            "  selector: {matchLabels: {app: b}}\n  targetRefs: [{kind: Service, name: b}]\n",
        ),
        7,
        "only one of",
    );
    refused(
        &authorization("  targetRefs: [{kind: Pod, name: b}]\n"),
        7,
        "cannot be a target",
    );
    refused(
        &authorization("  targetRefs: [{kind: Service, name: b, namespace: c}]\n"),
        7,
        "another namespace",
    );
}

#[test]
fn a_dry_run_is_for_allow_and_deny() {
    let dry = |action: &str, value: &str| {
        authorization(&format!("  action: {action}\n  rules: [{{}}]\n")).replace(
            "  namespace: demo\n",
            &format!("  namespace: demo\n  annotations: {{istio.io/dry-run: \"{value}\"}}\n"),
        )
    };
    refused(&dry("AUDIT", "true"), 6, "ALLOW and DENY only");
    refused(&dry("ALLOW", "yes please"), 6, "neither true nor false");
}

#[test]
fn a_jwt_rule_is_checked() {
    refused(
        &request_authentication("{audiences: [a]}"),
        6,
        "`issuer` or `jwksUri`",
    );
    refused(
        &request_authentication("{issuer: a, jwksUri: ftp://a}"),
        6,
        "only http:// and https://",
    );
    refused(
        &request_authentication("{issuer: a, jwksUri: http://a, jwks: '{}'}"),
        6,
        "only one of",
    );
    refused(
        &request_authentication("{issuer: a, audiences: [\"\"]}"),
        6,
        "empty value",
    );
    refused(
        &request_authentication("{issuer: a, fromHeaders: [{name: \"\"}]}"),
        6,
        "`name`",
    );
    refused(
        &request_authentication("{issuer: a, outputClaimToHeaders: [{header: \"a b\", claim: c}]}"),
        6,
        "not a header name",
    );
    refused(
        &request_authentication("{issuer: a, outputClaimToHeaders: [{header: a, claim: \"\"}]}"),
        6,
        "both needed",
    );
    refused(
        &request_authentication("{issuer: a, timeout: soon}"),
        6,
        "not a duration",
    );
}

#[test]
fn a_broken_key_set_is_refused_without_being_shown() {
    let (line, message) = error(&request_authentication(
        "{issuer: a, jwks: '{\"keys\": [{\"k\": \"c2VjcmV0\"'}",
    ));
    assert_eq!(line, 6);
    assert!(message.contains("not a JSON Web Key Set"), "{message}");
    assert!(!message.contains("c2VjcmV0"), "{message}");
}

#[test]
fn peer_authentication_is_checked() {
    let peer = |spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: demo}}\nspec:\n  {spec}\n"
        )
    };
    refused(
        &peer("portLevelMtls: {8080: {mode: STRICT}}"),
        5,
        "need a `selector`",
    );
    refused(
        &peer("{selector: {matchLabels: {a: b}}, portLevelMtls: {}}"),
        5,
        "at least one port",
    );
    refused(
        &peer("{selector: {matchLabels: {a: b}}, portLevelMtls: {70000: {mode: STRICT}}}"),
        5,
        "70000",
    );
    refused(&peer("mtls: {mode: HARD}"), 5, "STRICT");
}

#[test]
fn traffic_extension_is_checked() {
    let extension = |spec: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {{name: t, namespace: demo}}\nspec:\n  {spec}\n"
        )
    };
    refused(&extension("phase: AUTHZ"), 4, "exactly one of");
    refused(&extension("{lua: {inlineCode: \"\"}}"), 5, "empty");
    refused(
        &extension("{lua: {inlineCode: x}, match: [{ports: [{number: 0}]}]}"),
        5,
        "0 is not a port",
    );
    refused(&extension("{wasm: {url: \"gopher://x\"}}"), 5, "oci://");
    refused(
        &extension("{phase: LATER, lua: {inlineCode: x}}"),
        5,
        "AUTHZ",
    );
}

#[test]
fn warnings_do_not_refuse() {
    let yaml = authorization(
        "  selector: {}\n  action: DENY\n  rules:\n    - to: [{operation: {methods: [GET]}}]\n",
    );
    let manifests = Manifests::parse("policy.yaml", &yaml).expect("valid");
    let warnings: Vec<_> = manifests
        .warnings
        .iter()
        .map(|warning| warning.location.line)
        .collect();
    assert_eq!(warnings, [7, 10]);
}
