//! Edits of the project's own manifests that Istio would follow.

use std::fs;
use std::path::Path;

use harness::rules::Rules;

use super::*;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// Every caller and grant is in use, for what is to be loaded a hundred times.
const CASES: &str = "
family: all
expect: {status: 200, decided_by: app}
cases:
  - {name: a, caller: frontend, token: {granted: user}}
  - {name: b, caller: intruder, token: {granted: other-user}}
  - {name: c, caller: outsider, token: {granted: frontend}}
  - {name: d, token: {granted: no-audience}}
  - {name: e, token: {granted: otherrealm}}
";

/// What is said of the project's suite after an edit of one of its files.
fn said_after(file: &str, old: &str, new: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    copy(
        &workspace::path("manifests"),
        &folder.path().join("manifests"),
    );
    fs::create_dir_all(folder.path().join("e2e/cases")).unwrap();
    let suite = "e2e/suite.yaml";
    fs::copy(workspace::path(suite), folder.path().join(suite)).unwrap();
    fs::write(folder.path().join("e2e/cases/all.yaml"), CASES).unwrap();
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.replacen(old, new, 1);
    assert_ne!(text, edited, "{file} has no `{old}`");
    fs::write(&path, edited).unwrap();
    let suite = Suite::load(&folder.path().join("e2e")).unwrap();
    check(&suite).map_err(|error| error.to_string())
}

/// The edit is refused, and by this.
fn refused(file: &str, old: &str, new: &str, what: &str) {
    refused_at(file, file, old, new, what);
}

/// The same where another file has what follows from it.
fn refused_at(place: &str, file: &str, old: &str, new: &str, what: &str) {
    let error = said_after(file, old, new).expect_err(what);
    assert!(error.contains(what), "{error}");
    assert!(error.contains("fix: "), "{error}");
    let name = place.rsplit('/').next().unwrap();
    assert!(error.contains(&format!("{name}:")), "{error}");
}

#[test]
fn the_projects_own_suites_are_understood() {
    for folder in ["e2e", "suites/two-backends"] {
        let suite = Suite::load(&workspace::path(folder)).unwrap();
        check(&suite).unwrap_or_else(|error| panic!("{folder}: {error}"));
        for profile in &suite.profiles {
            check_rules(&Rules::read(&suite, profile).unwrap().objects).unwrap();
        }
    }
}

#[test]
fn pod_without_its_sidecar_is_refused() {
    let (namespace, injected) = ("manifests/apps/namespace.yaml", "istio-injection: enabled");
    let backend = "manifests/apps/backend.yaml";
    let what = "Deployment demo/backend: `spec.template.metadata` gets no sidecar";
    for label in ["istio-injection: disabled", "other: label"] {
        refused_at(backend, namespace, injected, label, what);
    }
    for (label, named) in [
        ("istio-injection: Enabled", "is \"Enabled\""),
        ("istio.io/rev: canary", "labels.istio.io/rev"),
        (
            "istio.io/dataplane-mode: ambient",
            "labels.istio.io/dataplane-mode",
        ),
    ] {
        refused(namespace, injected, label, named);
    }
    let labels = "      labels: {app: backend}\n      # Where";
    let opted_out = "      labels: {app: backend, sidecar.istio.io/inject: 'false'}\n      # Where";
    refused(backend, labels, opted_out, what);
    let (keycloak, outside) = (
        "manifests/keycloak/keycloak.yaml",
        "istio-injection: disabled",
    );
    let namespace = "manifests/keycloak/namespace.yaml";
    refused_at(keycloak, namespace, outside, injected, "gets a sidecar");
}

#[test]
fn istios_annotations_and_labels_are_refused_by_name_unless_they_decide_nothing() {
    let file = "manifests/apps/backend.yaml";
    let scraped = "        prometheus.io/scrape: \"true\"\n";
    for name in [
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "traffic.sidecar.istio.io/includeInboundPorts",
        "sidecar.istio.io/inject",
        "sidecar.istio.io/userVolume",
        "proxy.istio.io/config",
        "istio.io/anything-to-come",
    ] {
        refused(
            file,
            scraped,
            &format!("        {name}: \"8080\"\n"),
            &format!("annotations.{name}"),
        );
    }
    let logging = "        sidecar.istio.io/logLevel: debug\n";
    assert_eq!(said_after(file, scraped, logging), Ok(()));
    let of_service = "  name: backend\n  namespace: demo\n  annotations: {networking.istio.io/exportTo: '.'}\n  labels: {app: backend}\nspec:\n  selector: {app";
    refused(
        file,
        "  name: backend\n  namespace: demo\n  labels: {app: backend}\nspec:\n  selector: {app",
        of_service,
        "Service demo/backend: `metadata.annotations.networking.istio.io/exportTo`",
    );
}

#[test]
fn field_of_a_pod_that_a_process_does_not_have_is_refused() {
    let file = "manifests/apps/backend.yaml";
    let account = "      serviceAccountName: backend\n";
    for (field, named) in [
        ("hostNetwork: true", "spec.template.spec.hostNetwork"),
        (
            "initContainers: [{name: x, image: y}]",
            "spec.template.spec.initContainers",
        ),
        ("hostAliases: []", "spec.template.spec.hostAliases"),
    ] {
        refused(file, account, &format!("{account}      {field}\n"), named);
    }
    refused(
        file,
        "runAsUser: 65532",
        "runAsUser: 1337",
        "is 1337: what it sends passes by its sidecar",
    );
    refused(
        file,
        "        - name: backend\n",
        "        - {name: more, image: x}\n        - name: backend\n",
        "`spec.template.spec.containers` are not one",
    );
    refused(
        file,
        "          ports:\n",
        "          command: [/other]\n          ports:\n",
        "containers[0].command",
    );
    refused(
        file,
        "spec:\n  selector:\n    matchLabels",
        "spec:\n  replicas: 0\n  selector:\n    matchLabels",
        "`spec.replicas` is 0",
    );
}

#[test]
fn service_that_is_not_http_to_istio_is_refused() {
    let file = "manifests/apps/backend.yaml";
    let port = "- {name: http, port: 80, targetPort: http}";
    for (other, protocol) in [
        ("- {name: tcp, port: 80, targetPort: http}", "`tcp`"),
        ("- {name: tcp-http, port: 80, targetPort: http}", "`tcp`"),
        ("- {name: http2, port: 80, targetPort: http}", "`http2`"),
        ("- {name: grpc-web, port: 80, targetPort: http}", "`grpc`"),
        ("- {port: 80, targetPort: http}", "``"),
        (
            "- {name: http, appProtocol: tcp, port: 80, targetPort: http}",
            "`tcp`",
        ),
    ] {
        let what = format!("makes its protocol {protocol} to Istio");
        refused(file, port, other, &what);
    }
    refused(
        file,
        port,
        "- {name: http, port: 80, targetPort: http, protocol: UDP}",
        "is \"UDP\"",
    );
    refused(
        file,
        "  selector: {app: backend}\n  ports",
        "  clusterIP: None\n  selector: {app: backend}\n  ports",
        "spec.clusterIP",
    );
    let named = "- {name: http-data, port: 80, targetPort: http}";
    assert_eq!(said_after(file, port, named), Ok(()));
}

#[test]
fn mesh_configuration_that_decides_is_honoured_or_refused() {
    let file = "manifests/istio/istio.yaml";
    let place = "  meshConfig:\n";
    let set = |setting: &str| format!("{place}    {setting}\n");
    for (setting, what) in [
        (
            "trustDomain: other.example",
            "`mesh.trust_domain` of suite.yaml is \"cluster.local\"",
        ),
        ("trustDomainAliases: [old.example]", "trustDomainAliases"),
        ("rootNamespace: elsewhere", "rootNamespace"),
        (
            "pathNormalization: {normalization: NONE}",
            "pathNormalization.normalization",
        ),
        (
            "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
            "outboundTrafficPolicy",
        ),
        ("extensionProviders: []", "extensionProviders"),
    ] {
        refused(file, place, &set(setting), what);
    }
    for same in [
        "trustDomain: cluster.local",
        "pathNormalization: {normalization: DEFAULT}",
    ] {
        assert_eq!(said_after(file, place, &set(same)), Ok(()));
    }
    refused(
        file,
        "    pilot:\n",
        "    cni: {enabled: true}\n    pilot:\n",
        "spec.components.cni",
    );
    refused(
        file,
        "  values:\n",
        "  values:\n    pilot: {env: {PILOT_ENABLE_X: 'true'}}\n",
        "spec.values.pilot",
    );
    refused(
        file,
        "  profile: minimal",
        "  profile: ambient",
        "is \"ambient\"",
    );
    let mesh_wide = "manifests/istio/mesh/peer-authentication.yaml";
    refused(mesh_wide, "mode: STRICT", "mode: DISABLE", "is \"DISABLE\"");
}

#[test]
fn kind_that_decides_is_refused_wherever_it_is() {
    for (api_version, kind) in [
        ("networking.istio.io/v1alpha3", "EnvoyFilter"),
        ("networking.istio.io/v1", "Sidecar"),
        ("networking.istio.io/v1", "DestinationRule"),
        ("networking.istio.io/v1", "VirtualService"),
        ("networking.istio.io/v1", "Gateway"),
        ("networking.istio.io/v1", "ServiceEntry"),
        ("extensions.istio.io/v1alpha1", "WasmPlugin"),
        ("telemetry.istio.io/v1", "Telemetry"),
        ("serving.knative.dev/v1", "Service"),
        ("apps/v1", "StatefulSet"),
    ] {
        let object = format!(
            "---\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x, namespace: demo}}\n---\n"
        );
        for (file, first) in [
            ("manifests/apps/backend.yaml", "apiVersion"),
            ("manifests/callers/callers.yaml", "apiVersion"),
            ("manifests/keycloak/keycloak.yaml", "apiVersion"),
            (
                "manifests/policy/parts/base/default-deny.yaml",
                "apiVersion",
            ),
            ("manifests/istio/mesh/network-policy.yaml", "apiVersion"),
        ] {
            let what = format!("{kind} demo/x: nothing here stands for {api_version}/{kind}");
            refused(file, first, &format!("{object}{first}"), &what);
        }
    }
    let policy = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x, namespace: demo}\n---\n";
    refused(
        "manifests/callers/callers.yaml",
        "apiVersion",
        &format!("{policy}apiVersion"),
        "AuthorizationPolicy demo/x",
    );
}

#[test]
fn rules_that_are_put_in_force_are_held_to_the_same() {
    let rules = |kind: &str, version: &str| {
        [
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "demo"}}),
        ]
    };
    assert!(check_rules(&rules("AuthorizationPolicy", "security.istio.io/v1")).is_ok());
    let error = check_rules(&rules("EnvoyFilter", "networking.istio.io/v1alpha3")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("EnvoyFilter demo/x: nothing here stands for"),
        "{error}"
    );
}

#[test]
fn object_of_a_namespace_that_the_manifests_do_not_make_is_refused() {
    let what = "`metadata.namespace` is `istio-system`, which is no Namespace of the manifests";
    let object = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {}\n---\n";
    refused(
        "manifests/apps/frontend.yaml",
        "apiVersion",
        &format!("{object}apiVersion"),
        what,
    );
}
