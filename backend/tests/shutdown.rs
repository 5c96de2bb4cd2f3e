//! Stopping: of the serve function, and of the real program.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use backend::{Drain, app, serve};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PROMPT: Drain = Drain {
    delay: Duration::ZERO,
    grace: Duration::from_secs(30),
};

async fn start(
    app: Router,
    shutdown: &CancellationToken,
    drain: Drain,
) -> (SocketAddr, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    (
        address,
        tokio::spawn(serve(listener, app, shutdown.clone(), drain)),
    )
}

/// A route that says when a request is in and answers when told to.
fn slow() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, wait) = (entered.clone(), release.clone());
    let handler = || async move {
        enter.notify_one();
        wait.notified().await;
        "done"
    };
    (Router::new().route("/slow", get(handler)), entered, release)
}

#[tokio::test]
async fn request_in_flight_is_answered_and_new_ones_are_refused() {
    let (app, entered, release) = slow();
    let shutdown = CancellationToken::new();
    let (address, server) = start(app, &shutdown, PROMPT).await;
    let url = format!("http://{address}/slow");
    let answer = tokio::spawn(reqwest::get(url.clone()));
    entered.notified().await;

    shutdown.cancel();
    // The listener closes on another task: refused is the end of a short race.
    while let Ok(connection) = tokio::net::TcpStream::connect(address).await {
        drop(connection);
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished(), "must wait for the request in flight");

    release.notify_one();
    let answer = answer.await.expect("no panic").expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "done");
    server.await.expect("no panic").expect("a clean stop");
}

#[tokio::test]
async fn request_that_outlasts_the_grace_does_not_hold_up_the_stop() {
    let (app, entered, _release) = slow();
    let shutdown = CancellationToken::new();
    let grace = Duration::from_millis(50);
    let (address, server) = start(app, &shutdown, Drain { grace, ..PROMPT }).await;
    tokio::spawn(reqwest::get(format!("http://{address}/slow")));
    entered.notified().await;

    shutdown.cancel();
    server.await.expect("no panic").expect("a clean stop");
}

#[tokio::test]
async fn during_the_drain_delay_requests_are_answered_but_ready_is_503() {
    let shutdown = CancellationToken::new();
    let app = app(shutdown.clone());
    let delay = Duration::from_hours(1);
    let (address, server) = start(app, &shutdown, Drain { delay, ..PROMPT }).await;
    shutdown.cancel();

    let status = async |path| {
        let url = format!("http://{address}{path}");
        reqwest::get(url)
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(status("/readyz").await, 503);
    assert_eq!(status("/data").await, 200);
    server.abort();
}

#[tokio::test]
async fn program_stops_cleanly_on_sigterm_and_logs_json() {
    stops_on("TERM").await;
}

#[tokio::test]
async fn program_stops_cleanly_on_sigint_and_logs_json() {
    stops_on("INT").await;
}

async fn stops_on(signal: &str) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_backend"))
        .env("BACKEND_ADDR", "127.0.0.1:0")
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(program.stderr.take().expect("a pipe")).lines();
    let mut next = async || -> Option<Value> {
        let line = lines.next_line().await.expect("readable logs")?;
        Some(serde_json::from_str(&line).expect("each line is JSON"))
    };

    let listening = next().await.expect("a first line");
    assert_eq!(listening["message"], "listening");
    let address = listening["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    reqwest::get(format!("http://{address}/data"))
        .await
        .expect("an answer");
    assert_eq!(next().await.expect("a line for the request")["status"], 200);

    let pid = program.id().expect("a running program").to_string();
    let kill = Command::new("kill")
        .args(["-s", signal, &pid])
        .status()
        .await;
    assert!(kill.expect("kill runs").success());
    assert_eq!(
        next().await.expect("a line")["message"],
        format!("SIG{signal} received")
    );
    assert_eq!(next().await.expect("a line")["message"], "stopped");
    assert_eq!(next().await, None);
    assert!(program.wait().await.expect("an end").success());
}
