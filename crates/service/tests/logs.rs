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
async fn one_json_line_tells_the_request_and_no_query() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let subscriber = subscriber(EnvFilter::new("info"), Arc::new(writer));
    let logging = tracing::subscriber::set_default(subscriber);
    let routes = Router::new().route("/data", get(|| async { "data" }));
    let app = app(routes, Registry::default(), CancellationToken::new());
    for path in ["/data?access_token=hidden", "/readyz"] {
        let request = Request::get(path)
            .header("x-request-id", "abc")
            .header("traceparent", TRACEPARENT)
            .body(Body::empty())
            .expect("a valid request");
        app.clone()
            .oneshot(request)
            .await
            .expect("a router does not fail");
    }

    drop(logging);
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("UTF-8");
    let line: Value = serde_json::from_str(&log).expect("one line of JSON, none for a probe");
    assert_eq!(line["status"], 200);
    assert!(line["latency_seconds"].is_f64(), "{line}");
    let span = &line["span"];
    assert_eq!(span["request_id"], "abc");
    assert_eq!(span["traceparent"], TRACEPARENT);
    assert_eq!(span["method"], "GET");
    assert_eq!(span["path"], "/data");
    assert!(!log.contains("hidden"), "{log}");
}
