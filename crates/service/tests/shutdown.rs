//! Stopping without dropping anybody's request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use prometheus_client::registry::Registry;
use service::{Drain, app, serve};
use tokio::net::TcpListener;
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
    let routes = Router::new().route("/data", get(|| async { "data" }));
    let app = app(routes, Registry::default(), shutdown.clone());
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
