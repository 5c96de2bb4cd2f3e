//! Each answer of the frontend, with Keycloak and backend played by wiremock.

mod world;

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use wiremock::ResponseTemplate;
use world::{Answer, World, app_between, ask, data, get, nobody};

#[tokio::test]
async fn data_of_the_backend_comes_back() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world.backend_answers("good", data()).await;
    let answer = get(&world.app(), "/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.body, "Backend response: Data from backend!");
}

#[tokio::test]
async fn one_token_serves_many_requests() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world.backend_answers("good", data()).await;
    let app = world.app();
    for _ in 0..3 {
        assert_eq!(get(&app, "/").await.status, 200);
    }
    assert_eq!((world.fetches().await, world.calls().await), (1, 3));
}

#[tokio::test]
async fn live_token_outlives_keycloak() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world.backend_answers("good", data()).await;
    let app = world.app();
    assert_eq!(get(&app, "/").await.status, 200);
    world.keycloak.reset().await;
    assert_eq!(get(&app, "/").await.status, 200);
}

#[tokio::test]
async fn unauthorized_is_tried_again_with_a_fresh_token() {
    let world = World::new().await;
    world.keycloak_issues(&["revoked", "good"]).await;
    world
        .backend_answers("revoked", ResponseTemplate::new(401))
        .await;
    world.backend_answers("good", data()).await;
    assert_eq!(get(&world.app(), "/").await.status, 200);
    assert_eq!((world.fetches().await, world.calls().await), (2, 2));
}

#[tokio::test]
async fn unauthorized_is_tried_again_only_once() {
    let world = World::new().await;
    world
        .keycloak_issues(&["bad", "worse", "never-asked-for"])
        .await;
    for token in ["bad", "worse"] {
        world
            .backend_answers(token, ResponseTemplate::new(401))
            .await;
    }
    let answer = get(&world.app(), "/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.problem()["type"],
        "urn:problem-type:mesh-oidc:backend-refused"
    );
    assert_eq!((world.fetches().await, world.calls().await), (2, 2));
}

#[tokio::test]
async fn forbidden_is_passed_on_and_not_tried_again() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world
        .backend_answers("good", ResponseTemplate::new(403))
        .await;
    let request = Request::get("/")
        .header("x-request-id", "abc")
        .body(Body::empty());
    let answer = ask(&world.app(), request.expect("a valid request")).await;
    assert_eq!(answer.status, 403);
    let expected = json!({
        "type": "urn:problem-type:mesh-oidc:forbidden",
        "title": "Forbidden",
        "status": 403,
        "detail": "the backend's policy does not allow this call",
        "request_id": "abc",
    });
    assert_eq!(answer.problem(), expected);
    assert_eq!((world.fetches().await, world.calls().await), (1, 1));
}

#[tokio::test]
async fn unreachable_backend_is_502() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    let answer = get(&app_between(&world.keycloak.uri(), &nobody()), "/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.problem()["type"],
        "urn:problem-type:mesh-oidc:backend-unreachable"
    );
}

#[tokio::test]
async fn failing_backend_is_502() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    // What the sidecar answers when no backend is there.
    world
        .backend_answers("good", ResponseTemplate::new(503))
        .await;
    let answer = get(&world.app(), "/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.problem()["detail"],
        "the backend answered 503 Service Unavailable"
    );
    assert_eq!(world.calls().await, 1);
}

#[tokio::test]
async fn slow_backend_is_504() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world
        .backend_answers("good", data().set_delay(Duration::from_mins(1)))
        .await;
    assert_eq!(get(&world.app(), "/").await.status, 504);
}

#[tokio::test]
async fn redirect_is_not_followed_with_our_token() {
    let world = World::new().await;
    let elsewhere = World::new().await;
    world.keycloak_issues(&["good"]).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", elsewhere.backend.uri());
    world.backend_answers("good", redirect).await;
    assert_eq!(get(&world.app(), "/").await.status, 502);
    assert_eq!(elsewhere.calls().await, 0);
}

#[tokio::test]
async fn unreachable_keycloak_is_503_with_retry_after() {
    let world = World::new().await;
    let answer = get(&app_between(&nobody(), &world.backend.uri()), "/").await;
    assert_eq!(answer.status, 503);
    assert!(retry_after(&answer) >= 1);
    assert_eq!(
        answer.problem()["type"],
        "urn:problem-type:mesh-oidc:token-unavailable"
    );
    assert_eq!(world.calls().await, 0, "no call without a token");
}

#[tokio::test]
async fn retry_after_of_keycloak_is_passed_on() {
    let world = World::new().await;
    let busy = ResponseTemplate::new(503).insert_header("retry-after", "20");
    world.keycloak_answers(busy).await;
    let answer = get(&world.app(), "/").await;
    assert_eq!(answer.status, 503);
    // Never less; a second more where the clocks are a tick apart.
    assert!((20..=21).contains(&retry_after(&answer)));
}

#[tokio::test]
async fn caller_who_heeds_retry_after_is_served_once_keycloak_is_back() {
    let world = World::new().await;
    world.keycloak_answers(ResponseTemplate::new(500)).await;
    world.backend_answers("good", data()).await;
    let app = world.app();
    let mut answer = get(&app, "/").await;
    assert_eq!(answer.status, 503);

    world.keycloak.reset().await;
    world.keycloak_issues(&["good"]).await;
    // Twice, as the cache's clock may be a tick behind that of the caller.
    for _ in 0..2 {
        if answer.status == 503 {
            tokio::time::sleep(Duration::from_secs(retry_after(&answer))).await;
            answer = get(&app, "/").await;
        }
    }
    assert_eq!(answer.status, 200);
    assert_eq!(
        world.fetches().await,
        1,
        "Keycloak is not asked before its time"
    );
}

/// In seconds.
fn retry_after(answer: &Answer) -> u64 {
    let value = answer.headers["retry-after"].to_str();
    value.expect("ASCII").parse().expect("a number")
}

#[tokio::test]
async fn rejected_client_is_503_with_the_reason() {
    let world = World::new().await;
    let rejection =
        json!({"error": "invalid_client", "error_description": "Invalid client credentials"});
    world
        .keycloak_answers(ResponseTemplate::new(401).set_body_json(rejection))
        .await;
    let answer = get(&world.app(), "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    let problem = answer.problem();
    assert_eq!(
        problem["type"],
        "urn:problem-type:mesh-oidc:client-rejected"
    );
    assert_eq!(
        problem["detail"],
        "no token to call the backend with: invalid_client"
    );
    assert_eq!(world.calls().await, 0, "no call without a token");
}

#[tokio::test]
async fn tracing_headers_go_on_and_others_do_not() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world.backend_answers("good", data()).await;
    let tracing = [
        ("x-request-id", "abc"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "vendor=1"),
        ("baggage", "key=value"),
    ];
    let mut request = Request::get("/")
        .header("authorization", "Basic abc")
        .header("cookie", "a=b");
    for (name, value) in tracing {
        request = request.header(name, value);
    }
    let answer = ask(
        &world.app(),
        request.body(Body::empty()).expect("a valid request"),
    )
    .await;
    assert_eq!(answer.headers["x-request-id"], "abc");

    let calls = world.backend.received_requests().await.expect("recorded");
    let headers = &calls[0].headers;
    for (name, value) in tracing {
        assert_eq!(headers[name], value);
    }
    let authorization: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(authorization, ["Bearer good"]);
    assert!(!headers.contains_key("cookie"));
}

#[tokio::test]
async fn request_id_is_made_where_there_is_none() {
    let world = World::new().await;
    world.keycloak_issues(&["good"]).await;
    world.backend_answers("good", data()).await;
    let answer = get(&world.app(), "/").await;
    let calls = world.backend.received_requests().await.expect("recorded");
    assert_eq!(
        answer.headers["x-request-id"],
        calls[0].headers["x-request-id"]
    );
}

#[tokio::test]
async fn readiness_does_not_depend_on_keycloak_or_backend() {
    let app = app_between(&nobody(), &nobody());
    assert_eq!(get(&app, "/readyz").await.status, 200);
    assert_eq!(get(&app, "/healthz").await.status, 200);
}

#[tokio::test]
async fn metrics_count_answers_and_what_the_token_cache_did() {
    let world = World::new().await;
    world.keycloak_issues(&["revoked", "good"]).await;
    world
        .backend_answers("revoked", ResponseTemplate::new(401))
        .await;
    world.backend_answers("good", data()).await;
    let app = world.app();
    get(&app, "/").await;
    get(&app, "/").await;
    let metrics = get(&app, "/metrics").await.body;
    for line in [
        "http_server_request_duration_seconds_count{route=\"/\",status=\"200\"} 2",
        "token_client_fetches_total 2",
        "token_client_invalidated_total 1",
        "token_client_unavailable_total 0",
    ] {
        assert!(
            metrics.lines().any(|l| l == line),
            "no {line} in:\n{metrics}"
        );
    }
}

#[tokio::test]
async fn metrics_count_failed_fetches() {
    let app = app_between(&nobody(), &nobody());
    get(&app, "/").await;
    let metrics = get(&app, "/metrics").await.body;
    for line in [
        "http_server_request_duration_seconds_count{route=\"/\",status=\"503\"} 1",
        "token_client_fetches_total 1",
        "token_client_unavailable_total 1",
    ] {
        assert!(
            metrics.lines().any(|l| l == line),
            "no {line} in:\n{metrics}"
        );
    }
}
