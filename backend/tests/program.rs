//! The real program, from start to stop.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

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
