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
async fn probes_and_metrics_are_there() {
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(get(path)).await.status(), StatusCode::OK, "{path}");
    }
}
