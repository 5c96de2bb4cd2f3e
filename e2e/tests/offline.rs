//! Commands that start nothing, as a user calls them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn mesh(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mesh"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn missing_token_is_refused_with_exit_code_1() {
    let output = mesh(&["explain", "--no-token"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with("REFUSED 401"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn an_input_that_was_not_given_makes_the_answer_unknown_with_exit_code_3() {
    let output = mesh(&["explain"], "");
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("token"), "{}", stdout(&output));
}

#[test]
fn workload_without_policy_is_allowed_with_exit_code_0() {
    let args = [
        "explain",
        "--no-token",
        "--namespace",
        "keycloak",
        "--workload",
        "keycloak",
        "--output",
        "json",
    ];
    let output = mesh(&args, "");
    assert_eq!(output.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["verdict"], "allowed");
}

#[test]
fn caller_says_whose_identity_the_request_has() {
    let output = mesh(&["explain", "--no-token", "--caller", "outsider"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("plain text, but only mTLS is accepted"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn replay_takes_no_identity_that_the_mesh_cannot_give() {
    for identity in [&["--principal", "td/ns/a/sa/b"][..], &["--plaintext"]] {
        let args = [&["explain", "--replay", "--no-token"], identity].concat();
        let output = mesh(&args, "");
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("cannot be used with"), "{error}");
    }
}

#[test]
fn token_from_standard_input_is_not_echoed() {
    let token = "junk-that-is-nobody-s-business";
    let output = mesh(&["explain", "--token-file", "-"], token);
    assert_eq!(output.status.code(), Some(1));
    assert!(!stdout(&output).contains(token), "{}", stdout(&output));
}

#[test]
fn broken_manifest_is_refused_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
        metadata: {name: a, namespace: demo}\nspec:\n  rulez: []\n";
    std::fs::write(&file, text).unwrap();
    let output = mesh(&["explain", "-f", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("policy.yaml:5") && error.contains("rulez"),
        "{error}"
    );
}

#[test]
fn filters_are_translated_in_the_order_of_the_chain() {
    let output = mesh(&["translate"], "");
    assert_eq!(output.status.code(), Some(0));
    let filters: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = filters
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "envoy.filters.http.jwt_authn");
    assert_eq!(names[2], "envoy.filters.http.rbac");
}

#[test]
fn schema_is_printed_for_each_kind_of_file_and_no_other() {
    for kind in ["suite", "cases", "attacks"] {
        let schema: serde_json::Value =
            serde_json::from_slice(&mesh(&["schema", kind], "").stdout).unwrap();
        assert_eq!(schema["type"], "object", "{kind}");
    }
    let output = mesh(&["schema", "case"], "");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("suite, cases, attacks"), "{error}");
}

#[test]
fn page_about_a_mistake_is_printed_by_its_code() {
    let output = mesh(&["explain", "--code", "mo0008"], "");
    assert_eq!(output.status.code(), Some(0));
    let page = stdout(&output);
    assert!(
        page.starts_with("# MO0008: ") && page.contains("## Fix"),
        "{page}"
    );

    let all = stdout(&mesh(&["explain", "--code"], ""));
    assert!(
        all.lines().any(|line| line.starts_with("MO0001  ")),
        "{all}"
    );

    let output = mesh(&["explain", "--code", "MO9999"], "");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("`MO9999`"), "{error}");
}
