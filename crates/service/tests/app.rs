//! What goes around a service's routes, without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use service::app;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

fn data() -> Router {
    Router::new().route("/data", get(|| async { "data" }))
}

async fn ask(app: &Router, request: Request<Body>) -> Response<Body> {
    let answer = app.clone().oneshot(request).await;
    answer.expect("a router does not fail")
}

fn request(path: &str) -> Request<Body> {
    Request::get(path)
        .body(Body::empty())
        .expect("a valid request")
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn readiness_ends_with_shutdown_and_health_does_not() {
    let shutdown = CancellationToken::new();
    let app = app(data(), Registry::default(), shutdown.clone());
    let status = async |path| ask(&app, request(path)).await.status();
    assert_eq!(status("/readyz").await, StatusCode::OK);
    shutdown.cancel();
    assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("/healthz").await, StatusCode::OK);
}

#[tokio::test]
async fn request_id_is_kept_or_made() {
    let app = app(data(), Registry::default(), CancellationToken::new());
    let mut wanted = request("/data");
    wanted
        .headers_mut()
        .insert("x-request-id", "abc".parse().expect("a header value"));
    assert_eq!(ask(&app, wanted).await.headers()["x-request-id"], "abc");
    let made = ask(&app, request("/data")).await.headers()["x-request-id"].clone();
    assert_eq!(made.len(), 36, "a UUID, got {made:?}");
}

#[tokio::test]
async fn metrics_count_by_route_so_that_callers_cannot_add_labels() {
    let app = app(data(), Registry::default(), CancellationToken::new());
    for path in ["/data", "/data", "/made/up", "/healthz"] {
        ask(&app, request(path)).await;
    }
    let metrics = text(ask(&app, request("/metrics")).await).await;
    let count = |labels| format!("http_server_request_duration_seconds_count{{{labels}}}");
    assert!(
        metrics.contains(&(count("route=\"/data\",status=\"200\"") + " 2")),
        "{metrics}"
    );
    assert!(
        metrics.contains(&(count("route=\"none\",status=\"404\"") + " 1")),
        "{metrics}"
    );
    assert!(!metrics.contains("/made/up"), "{metrics}");
    assert!(!metrics.contains("/healthz"), "{metrics}");
}

#[tokio::test]
async fn metrics_of_the_service_itself_are_shown_too() {
    let mut registry = Registry::default();
    let sold = Counter::<u64>::default();
    registry.register("sold", "Things sold", sold.clone());
    let app = app(data(), registry, CancellationToken::new());
    sold.inc();
    let metrics = text(ask(&app, request("/metrics")).await).await;
    assert!(metrics.contains("sold_total 1\n"), "{metrics}");
}
