//! The program, as a user runs it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path},
};

fn token_client(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_token-client"));
    command.env_clear().args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command, stdin: &str) -> Output {
    let mut child = command.spawn().unwrap();
    // A program that does not read may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// Off the runtime's thread, so that the mock server can answer.
async fn run_beside(command: Command, stdin: &'static str) -> Output {
    tokio::task::spawn_blocking(move || run(command, stdin))
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn keycloak(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(header("authorization", "Basic bWU6czNjcmV0"))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

fn good() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(
        r#"{"access_token":"abc","token_type":"Bearer","expires_in":300,"scope":"email"}"#,
    )
}

fn with_client(args: &[&str], server: &MockServer) -> Command {
    let mut command = token_client(args);
    command
        .env("TOKEN_CLIENT_ENDPOINT", format!("{}/token", server.uri()))
        .env("TOKEN_CLIENT_ID", "me")
        .env("TOKEN_CLIENT_SECRET", "s3cret");
    command
}

#[tokio::test]
async fn fetch_prints_the_token() {
    let server = keycloak(good()).await;
    let output = run_beside(with_client(&["fetch"], &server), "").await;
    assert_eq!(
        (text(&output.stdout), output.status.code()),
        ("abc\n", Some(0))
    );
    let output = run_beside(with_client(&["fetch", "--output", "json"], &server), "").await;
    let response: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        response,
        serde_json::json!({
            "access_token": "abc", "token_type": "Bearer", "expires_in": 300, "scope": "email"
        })
    );
}

#[tokio::test]
async fn secret_may_come_on_stdin() {
    let server = keycloak(good()).await;
    let mut command = with_client(&["fetch", "--client-secret-file", "-"], &server);
    command.env_remove("TOKEN_CLIENT_SECRET");
    let output = run_beside(command, "s3cret\n").await;
    assert_eq!(text(&output.stdout), "abc\n", "{}", text(&output.stderr));
}

#[tokio::test]
async fn refused_fetch_exits_with_1_and_says_why() {
    let answer = ResponseTemplate::new(401).set_body_string(r#"{"error":"invalid_client"}"#);
    let server = keycloak(answer).await;
    let output = run_beside(with_client(&["fetch"], &server), "").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "token-client: the token endpoint refused: invalid_client\n"
    );
}

#[test]
fn missing_options_are_named_and_exit_with_2() {
    for (args, hint) in [
        (&["fetch"][..], "--client-id"),
        (&["fetch", "--client-id", "me"], "--token-endpoint"),
        (
            &[
                "fetch",
                "--client-id",
                "me",
                "--issuer",
                "x",
                "--username",
                "u",
            ],
            "--password-file",
        ),
        (&["call"], "<URL"),
        (
            &["fetch", "--client-secret", "s3cret"],
            "unexpected argument",
        ),
    ] {
        let output = run(token_client(args), "");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            text(&output.stderr).contains(hint),
            "{args:?}: {}",
            text(&output.stderr)
        );
    }
}

#[tokio::test]
async fn call_sends_the_token_and_retries_once_with_a_fresh_one() {
    let server = keycloak(good()).await;
    let data = |status| {
        let answer = ResponseTemplate::new(status).set_body_string(format!("{status}"));
        Mock::given(path("/data"))
            .and(header("authorization", "Bearer abc"))
            .respond_with(answer)
    };
    data(401).up_to_n_times(1).mount(&server).await;
    data(200).mount(&server).await;
    let url = format!("{}/data", server.uri());
    let output = run_beside(with_client(&["call", &url], &server), "").await;
    assert_eq!(
        (text(&output.stdout), output.status.code()),
        ("200\n", Some(0))
    );

    let output = run_beside(with_client(&["call", &url, "--no-token"], &server), "").await;
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        ("HTTP 404\n", Some(1))
    );
}

#[tokio::test]
async fn batch_answers_each_line_on_stdout() {
    let server = keycloak(good()).await;
    let input = format!("{{\"id\":\"a\",\"url\":\"{}/x\"}}\nrubbish\n", server.uri());
    let output = run_beside(token_client(&["call", "--batch"]), input.leak()).await;
    let mut answers: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    answers.sort_by_key(|answer| answer["id"].is_null());
    assert_eq!(
        (&answers[0]["id"], &answers[0]["status"]),
        (&"a".into(), &404.into())
    );
    assert!(
        answers[1]["error"]
            .as_str()
            .unwrap()
            .starts_with("line 2: ")
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn inspect_verifies_nothing_and_says_so() {
    let output = run(
        token_client(&["inspect"]),
        "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.\n",
    );
    let shown = text(&output.stdout);
    assert!(shown.starts_with("Nothing is verified here") && shown.ends_with("EXPIRED\n"));
    let output = run(token_client(&["inspect"]), "s3cret");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "token-client: stdin holds no JWT: a JWT has three parts with dots between them, this \
         has 1\n"
    );
}

#[tokio::test]
async fn watch_shows_that_the_token_turns_but_not_the_token() {
    let answer = ResponseTemplate::new(200)
        .set_body_string(r#"{"access_token":"abc","token_type":"Bearer","expires_in":2}"#);
    let server = keycloak(answer).await;
    let mut child = with_client(&["fetch", "--watch"], &server).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let shown = tokio::task::spawn_blocking(move || {
        [
            lines.next().unwrap().unwrap(),
            lines.next().unwrap().unwrap(),
        ]
    })
    .await
    .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    for line in shown {
        assert!(line.ends_with("a token that lives 2 s"), "{line}");
    }
}

#[test]
fn stand_by_ends_when_told_to() {
    let mut child = token_client(&["stand-by"]).spawn().unwrap();
    let kill = |signal: &str| {
        let status = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    };
    // Its signal handlers are in place once SIGTERM no longer has the default
    // effect, which its status file tells.
    let caught = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 14) != 0
    };
    while !caught() {
        std::thread::yield_now();
    }
    kill("-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
