//! What a request leaves in the logs. Alone in its program: the subscriber
//! belongs to the thread, the level cache to the process.

use std::io::{self, Read};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde_json::Value;
use service::{app, subscriber};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing_subscriber::EnvFilter;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn one_json_line_tells_the_request_its_caller_and_no_token() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let subscriber = subscriber(EnvFilter::new("info"), Arc::new(writer));
    let logging = tracing::subscriber::set_default(subscriber);
    let routes = Router::new().route("/data", get(|| async { "data" }));
    let app = app(routes, Registry::default(), CancellationToken::new());
    let through_the_mesh = |path| {
        Request::get(path)
            .header("x-request-id", "abc")
            .header("traceparent", TRACEPARENT)
            .header("authorization", "Bearer hidden")
            .header("x-jwt-sub", "42")
            .header("x-jwt-email", "one@example.com")
            .header("x-jwt-email", "two@example.com")
            .header("x_jwt_azp", "forged")
            .header("x-forwarded-client-cert", "URI=spiffe://td/a")
    };
    let probe = Request::get("/readyz");
    for request in [
        through_the_mesh("/data?access_token=hidden"),
        probe,
        through_the_mesh("/metrics"),
    ] {
        let request = request.body(Body::empty()).expect("a valid request");
        app.clone()
            .oneshot(request)
            .await
            .expect("a router does not fail");
    }

    drop(logging);
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("UTF-8");
    let lines: Vec<&str> = log.lines().collect();
    let [line, scrape] = lines[..] else {
        panic!("two lines, none for a probe: {log}");
    };
    let scrape: Value = serde_json::from_str(scrape).expect("JSON");
    assert_eq!(scrape["span"]["path"], "/metrics", "let in by the mesh");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["status"], 200);
    assert!(line["latency_seconds"].is_f64(), "{line}");
    let span = &line["span"];
    assert_eq!(span["request_id"], "abc");
    assert_eq!(span["traceparent"], TRACEPARENT);
    assert_eq!(span["method"], "GET");
    assert_eq!(span["path"], "/data");
    let identity: Value = serde_json::from_str(span["identity"].as_str().expect("text"))
        .expect("JSON of all values by name");
    let told = serde_json::json!({
        "x-jwt-sub": ["42"],
        "x-jwt-email": ["one@example.com", "two@example.com"],
        "x_jwt_azp": ["forged"],
    });
    assert_eq!(identity, told);
    assert_eq!(span["client_cert"], "URI=spiffe://td/a");
    assert!(!log.contains("hidden"), "{log}");
}
