//! The real program, from start to stop.

mod world;

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use wiremock::matchers::{header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};
use world::{SECRET, World, data, nobody};

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_frontend"));
    program
        .env_clear()
        .env("FRONTEND_ADDR", "127.0.0.1:0")
        .env("CLIENT_ID", "frontend")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    program
}

#[tokio::test]
async fn program_serves_and_stops_cleanly_on_sigterm() {
    let world = World::new().await;
    let issuer = world.keycloak.uri() + "/realms/myrealm";
    let metadata = json!({"issuer": issuer, "token_endpoint": world.keycloak.uri() + "/elsewhere"});
    Mock::given(path("/realms/myrealm/.well-known/openid-configuration"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&world.keycloak)
        .await;
    let token = json!({"access_token": "good", "token_type": "Bearer", "expires_in": 300});
    Mock::given(path("/elsewhere"))
        .and(header(
            "authorization",
            "Basic ZnJvbnRlbmQ6czNjcjN0LW9mLXRoZS1jbGllbnQ=",
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(token))
        .mount(&world.keycloak)
        .await;
    world.backend_answers("good", data()).await;

    let mut running = program()
        .env("ISSUER", issuer)
        .env("BACKEND_URL", world.backend.uri() + "/data")
        .env("CLIENT_SECRET", SECRET)
        .spawn()
        .expect("the program starts");
    let url = listening(&mut running).await;
    let answer = reqwest::get(url).await.expect("an answer");
    assert_eq!(
        answer.text().await.expect("a body"),
        "Backend response: Data from backend!"
    );

    let pid = running.id().expect("a running program").to_string();
    let kill = Command::new("kill")
        .args(["-s", "TERM", &pid])
        .status()
        .await;
    assert!(kill.expect("kill runs").success());
    assert!(running.wait().await.expect("an end").success());
}

#[tokio::test]
async fn program_starts_while_keycloak_is_down() {
    let mut running = program()
        .env("ISSUER", nobody() + "/realms/myrealm")
        .env("CLIENT_SECRET", SECRET)
        .spawn()
        .expect("the program starts");
    let url = listening(&mut running).await;
    let status = async |path: &str| {
        let answer = reqwest::get(format!("{url}{path}")).await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(status("readyz").await, 200);
    assert_eq!(status("").await, 503);
}

/// As with a sidecar that no iptables rule leads to.
#[tokio::test]
async fn program_reaches_issuer_and_backend_through_one_place() {
    let proxy = MockServer::start().await;
    let issuer = "http://keycloak.example/realms/myrealm";
    for (host, answer) in [
        (
            "keycloak.example",
            json!({"issuer": issuer, "token_endpoint": "http://tokens.example/token"}),
        ),
        (
            "tokens.example",
            json!({"access_token": "good", "token_type": "Bearer", "expires_in": 300}),
        ),
        ("backend.example", json!("data")),
    ] {
        Mock::given(header("host", host))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .expect(1)
            .mount(&proxy)
            .await;
    }
    let mut running = program()
        .env("CONNECT_TO", proxy.address().to_string())
        .env("ISSUER", issuer)
        .env("BACKEND_URL", "http://backend.example/data")
        .env("CLIENT_SECRET", SECRET)
        .spawn()
        .expect("the program starts");
    let url = listening(&mut running).await;
    let answer = reqwest::get(url).await.expect("an answer");
    let body = answer.text().await.expect("a body");
    assert_eq!(body, "Backend response: \"data\"");
}

#[tokio::test]
async fn program_without_a_secret_says_what_to_set() {
    let mut command = program();
    command.env("ISSUER", nobody());
    assert_refusal(&mut command, "CLIENT_SECRET_FILE or CLIENT_SECRET").await;
    command.env("CLIENT_SECRET_FILE", "/does/not/exist");
    assert_refusal(&mut command, "/does/not/exist").await;
}

#[tokio::test]
async fn program_refuses_an_address_that_needs_tls() {
    let mut command = program();
    command
        .env("ISSUER", "https://keycloak/realms/myrealm")
        .env("CLIENT_SECRET", SECRET);
    assert_refusal(&mut command, "http://").await;
}

/// The URL that the program says it listens at. The log is read on, for a full
/// pipe would stop the program.
async fn listening(program: &mut Child) -> String {
    let mut lines = BufReader::new(program.stderr.take().expect("a pipe")).lines();
    let line = lines.next_line().await.expect("readable logs");
    let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    format!("http://{}/", line["address"].as_str().expect("an address"))
}

async fn assert_refusal(command: &mut Command, hint: &str) {
    let mut program = command.spawn().expect("the program starts");
    let mut text = String::new();
    let mut stderr = program.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut text).await.expect("UTF-8");
    assert!(!program.wait().await.expect("an end").success());
    assert!(text.contains(hint), "{text}");
}
