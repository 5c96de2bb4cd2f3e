//! What a suite is refused for, the project's own, and suites for other tests.

use std::fs;
use std::sync::LazyLock;

use super::*;
use crate::workspace;

/// The project's own suite.
pub(crate) fn project() -> &'static Suite {
    static SUITE: LazyLock<Suite> = LazyLock::new(|| {
        Suite::load(&workspace::path("e2e")).unwrap_or_else(|error| panic!("{error}"))
    });
    &SUITE
}

const SUITE: &str = "
manifests:
  {istio: istio.yaml, keycloak: keycloak, keycloak_image: Dockerfile, workloads: apps, callers: callers}
secrets: [{namespace: keycloak, name: all, values: [KEY, S, KC_BOOTSTRAP_ADMIN_PASSWORD]}]
profiles:
  - {name: full, rules: rules}
  - {name: stock, rules: rules}
realms:
  myrealm: {issuer: http://keycloak/realms/myrealm, signing_key: KEY}
callers:
  - {name: asker, service_account: demo/asker}
  - {name: stranger, service_account: demo/stranger}
grants:
  user: {realm: myrealm, client_id: c, client_secret: S}
request: {host: backend.demo.svc.cluster.local, path: /data}
";

const WORKLOADS: &str = "
kind: Deployment
metadata: {name: backend, namespace: demo}
spec: {template: {metadata: {labels: {app: backend}}}}
---
kind: Service
metadata: {name: backend, namespace: demo}
spec: {selector: {app: backend}}
";

const CALLERS: &str = "
kind: Deployment
metadata: {name: caller-asker, namespace: demo}
spec: {template: {spec: {serviceAccountName: asker}}}
---
kind: Deployment
metadata: {name: caller-stranger, namespace: demo}
spec: {template: {metadata: {labels: {sidecar.istio.io/inject: 'false'}}, spec: {serviceAccountName: stranger}}}
";

/// Loads a suite of this `suite.yaml` and one file of cases. Complaints come
/// without the folder's path.
fn load(suite: &str, cases: &str) -> Result<Suite, String> {
    load_with(suite, cases, &[])
}

/// The same with further files.
fn load_with(suite: &str, cases: &str, files: &[(&str, &str)]) -> Result<Suite, String> {
    let dir = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(FILE, suite);
    write("cases/10-some.yaml", cases);
    for (folder, text) in [
        ("apps", WORKLOADS),
        ("callers", CALLERS),
        (
            "keycloak",
            "kind: ConfigMap\ndata: {realm: '${KEY} ${S}'}\n",
        ),
        ("rules", ""),
    ] {
        write(
            &format!("{folder}/kustomization.yaml"),
            "resources: [all.yaml]\n",
        );
        write(&format!("{folder}/all.yaml"), text);
    }
    for (file, text) in files {
        write(file, text);
    }
    let folder = format!("{}/", dir.path().display());
    Suite::load(dir.path()).map_err(|error| {
        let text = error.to_string().replace(&folder, "");
        text.replace("cases/10-some.yaml", "10-some.yaml")
    })
}

/// A suite with these cases: callers `asker` and `stranger` (without a sidecar),
/// profiles `full` and `stock`, one grant `user`.
pub(crate) fn with_cases(cases: &str) -> Result<Suite, String> {
    load_with(SUITE, cases, &[("cases/20-rest.yaml", REST)])
}

/// Every caller and grant is in use.
const REST: &str = "family: rest
cases: [{name: stranger asks, caller: stranger, token: {granted: user}, expect: {status: 200, decided_by: app}}]
";

const ONE_CASE: &str = "family: some
cases: [{name: ok, caller: stranger, token: {granted: user}, expect: {status: 200, decided_by: app}}]
";

#[test]
fn the_projects_own_suite_loads() {
    let suite = project();
    assert_eq!(suite.usual_caller().name, "token-client");
    assert_eq!(suite.usual_profile().name, "full");
    assert_eq!(suite.namespaces().unwrap(), ["demo", "keycloak"]);
    assert!(!suite.caller("outsider").unwrap().has_sidecar);
}

#[test]
fn suite_of_two_backends_loads() {
    let suite = Suite::load(&workspace::path("suites/two-backends"));
    let suite = suite.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        suite.namespaces().unwrap(),
        ["street", "shop", "billing", "identity"]
    );
    let invoices = suite.serving("invoices.billing.svc.cluster.local:8080");
    assert_eq!(
        invoices.unwrap().workload(),
        Workload::app("billing", "invoices")
    );
}

#[test]
fn caller_has_the_identity_of_its_service_account() {
    let suite = with_cases(ONE_CASE).unwrap();
    let mesh = Mesh::default();
    assert_eq!(
        suite.caller("asker").unwrap().principal(&mesh).as_deref(),
        Some("cluster.local/ns/demo/sa/asker")
    );
    let stranger = suite.caller("stranger").unwrap();
    assert_eq!(stranger.principal(&mesh), None);
    assert_eq!(stranger.peer(&mesh), Peer::Plaintext);
}

#[test]
fn host_leads_to_the_workload_behind_its_service() {
    let suite = with_cases(ONE_CASE).unwrap();
    let found = suite
        .serving("backend.demo.svc.cluster.local:8080")
        .unwrap();
    assert_eq!(found.workload(), Workload::app("demo", "backend"));
    assert!(suite.serving("backend").is_none());
    assert!(suite.serving("frontend.demo").is_none());
}

#[test]
fn all_problems_of_a_suite_are_told_with_file_and_line() {
    let suite = SUITE
        .replace("name: stock", "name: full")
        .replace("demo/stranger", "demo/nobody")
        .replace("user: {realm: myrealm", "user: {realm: gone")
        .replace("host: backend.demo", "host: backend.other");
    let text = load(&suite, ONE_CASE).unwrap_err();
    insta::assert_snapshot!(text, @"
    suite.yaml:7: there is another profile `full`
    suite.yaml:12: caller `stranger`: no Deployment of callers runs as service account `demo/nobody` (NAMESPACE/ACCOUNT)
    suite.yaml:14: grant `user`: there is no realm `gone`
    suite.yaml:15: no workload is behind `backend.other.svc.cluster.local`
    ");
}

#[test]
fn unknown_key_of_a_suite_is_refused_with_file_and_line() {
    let text = load(&format!("{SUITE}realm: x\n"), ONE_CASE).unwrap_err();
    assert!(
        text.starts_with("suite.yaml:16: unknown field `realm`"),
        "{text}"
    );
}

#[test]
fn key_given_twice_is_told_in_words_for_who_wrote_it() {
    let text = load(&format!("{SUITE}request: {{host: a, path: /}}\n"), ONE_CASE).unwrap_err();
    assert_eq!(text, "suite.yaml:16: `request` is given twice");
}

#[test]
fn unknown_key_of_the_mesh_settings_is_refused() {
    let text = load(&format!("{SUITE}mesh: {{rootNamespace: x}}\n"), ONE_CASE).unwrap_err();
    assert!(text.contains("unknown field `rootNamespace`"), "{text}");
}

#[test]
fn broken_manifest_is_told_with_file_and_line() {
    let suite = SUITE.replace("rules: rules", "rules: nowhere");
    let text = load(&suite, ONE_CASE).unwrap_err();
    assert!(
        text.contains("cannot read nowhere/kustomization.yaml"),
        "{text}"
    );
}

#[test]
fn caller_and_grant_that_no_case_uses_are_told_with_their_lines() {
    let cases =
        "family: some\ncases: [{name: ok, token: none, expect: {status: 200, decided_by: app}}]\n";
    let text = load(SUITE, cases).unwrap_err();
    insta::assert_snapshot!(text, @"
    suite.yaml:12: no case is asked by caller `stranger`
    suite.yaml:14: no case has a token of grant `user`
    ");
}

#[test]
fn file_or_folder_of_cases_that_would_not_be_read_is_refused_by_name() {
    for file in [
        "20-more.yml",
        "20-more.YAML",
        "20-more.json",
        "more/20.yaml",
    ] {
        let path = format!("cases/{file}");
        let text = load_with(SUITE, ONE_CASE, &[(&path, REST)]).unwrap_err();
        let named = path.strip_suffix("/20.yaml").unwrap_or(&path);
        assert!(text.starts_with(&format!("{named}: ")), "{text}");
    }
    assert!(load_with(SUITE, ONE_CASE, &[("cases/README.md", "")]).is_ok());
}

#[test]
fn control_is_what_the_suite_says() {
    let suite = format!("{SUITE}control: {{least: 400, most: 400, decided_by: app}}\n");
    assert!(
        load(&suite, ONE_CASE)
            .unwrap_err()
            .contains("needs a `control`")
    );
    let cases = ONE_CASE.replace("200", "400");
    assert!(load(&suite, &cases).is_ok());
}
