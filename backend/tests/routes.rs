//! Every route, without a socket.

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use backend::app;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

async fn ask(request: Request<Body>) -> Response<Body> {
    let app = app(CancellationToken::new());
    app.oneshot(request).await.expect("a router does not fail")
}

fn get(path: &str) -> Request<Body> {
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
async fn data_is_exactly_this_text() {
    let response = ask(get("/data")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(text(response).await, "Data from backend!");
}

#[tokio::test]
async fn whoami_shows_the_identity_headers() {
    let mut request = get("/whoami");
    let headers = request.headers_mut();
    headers.insert("x-jwt-sub", "42".parse().expect("a header value"));
    headers.insert(
        "x-jwt-email",
        "user@example.com".parse().expect("a header value"),
    );
    headers.insert("x-jwt-azp", "frontend".parse().expect("a header value"));
    let identity: Value = serde_json::from_str(&text(ask(request).await).await).expect("JSON");
    assert_eq!(
        identity,
        json!({"sub": "42", "email": "user@example.com", "azp": "frontend"})
    );
}

#[tokio::test]
async fn whoami_shows_null_for_a_missing_header() {
    let identity: Value =
        serde_json::from_str(&text(ask(get("/whoami")).await).await).expect("JSON");
    assert_eq!(identity, json!({"sub": null, "email": null, "azp": null}));
}

#[tokio::test]
async fn unknown_path_is_404_and_wrong_method_is_405() {
    assert_eq!(ask(get("/other")).await.status(), StatusCode::NOT_FOUND);
    let post = Request::post("/data")
        .body(Body::empty())
        .expect("a valid request");
    let response = ask(post).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
}

#[tokio::test]
async fn readiness_ends_with_shutdown_and_health_does_not() {
    let shutdown = CancellationToken::new();
    let app = app(shutdown.clone());
    let status = async |path| {
        let response = app
            .clone()
            .oneshot(get(path))
            .await
            .expect("a router does not fail");
        response.status()
    };
    assert_eq!(status("/readyz").await, StatusCode::OK);
    shutdown.cancel();
    assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("/healthz").await, StatusCode::OK);
}

#[tokio::test]
async fn request_id_is_kept_or_made() {
    let mut request = get("/data");
    request
        .headers_mut()
        .insert("x-request-id", "abc".parse().expect("a header value"));
    assert_eq!(ask(request).await.headers()["x-request-id"], "abc");
    let made = ask(get("/data")).await.headers()["x-request-id"].clone();
    assert_eq!(made.len(), 36, "a UUID, got {made:?}");
}

#[tokio::test]
async fn metrics_count_by_route_so_that_callers_cannot_add_labels() {
    let app = app(CancellationToken::new());
    for path in ["/data", "/data", "/made/up", "/healthz"] {
        app.clone()
            .oneshot(get(path))
            .await
            .expect("a router does not fail");
    }
    let response = app
        .oneshot(get("/metrics"))
        .await
        .expect("a router does not fail");
    let metrics = text(response).await;
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
