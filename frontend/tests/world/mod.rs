//! A Keycloak and a backend to put the frontend between.

#![allow(dead_code, reason = "each test program uses its part")]

use std::net::TcpListener;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use frontend::{Backend, app};
use serde_json::{Value, json};
use token_client::{Config, Endpoint, OAuthSource, Policy, Secret, TokenCache};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wiremock::matchers::{header, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The client's secret; must not turn up anywhere but at Keycloak.
pub const SECRET: &str = "s3cr3t-of-the-client";

pub struct World {
    pub keycloak: MockServer,
    pub backend: MockServer,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn problem(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

impl World {
    pub async fn new() -> Self {
        Self {
            keycloak: MockServer::start().await,
            backend: MockServer::start().await,
        }
    }

    /// Keycloak issues `tokens` one after the other, the last one for ever.
    pub async fn keycloak_issues(&self, tokens: &[&str]) {
        for (index, token) in tokens.iter().enumerate() {
            let token = json!({"access_token": token, "token_type": "Bearer", "expires_in": 300});
            let once = Mock::given(method("POST"))
                .respond_with(ResponseTemplate::new(200).set_body_json(token));
            let last = index + 1 == tokens.len();
            let mock = if last { once } else { once.up_to_n_times(1) };
            mock.mount(&self.keycloak).await;
        }
    }

    pub async fn keycloak_answers(&self, answer: ResponseTemplate) {
        let mock = Mock::given(method("POST")).respond_with(answer);
        mock.mount(&self.keycloak).await;
    }

    pub async fn backend_answers(&self, token: &str, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(header("authorization", format!("Bearer {token}").as_str()))
            .respond_with(answer)
            .mount(&self.backend)
            .await;
    }

    pub async fn fetches(&self) -> usize {
        self.keycloak
            .received_requests()
            .await
            .expect("recorded")
            .len()
    }

    pub async fn calls(&self) -> usize {
        self.backend
            .received_requests()
            .await
            .expect("recorded")
            .len()
    }

    pub fn app(&self) -> Router {
        app_between(&self.keycloak.uri(), &self.backend.uri())
    }
}

/// The frontend between any two addresses.
pub fn app_between(keycloak: &str, backend: &str) -> Router {
    let endpoint = Endpoint::Token(keycloak.parse().expect("a URL"));
    let config = Config::client_credentials(endpoint, "frontend", Secret::value(SECRET));
    let tokens = TokenCache::new(
        OAuthSource::new(config).expect("a client"),
        Policy::default(),
    );
    let url = format!("{backend}/data").parse().expect("a URL");
    let timeout = Duration::from_millis(500);
    let http = reqwest::Client::builder();
    let backend = Backend::new(url, timeout, tokens.clone(), http).expect("a client");
    app(backend, tokens, CancellationToken::new())
}

/// An address where nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("a bound address"))
}

pub async fn get(app: &Router, path: &str) -> Answer {
    ask(
        app,
        Request::get(path)
            .body(Body::empty())
            .expect("a valid request"),
    )
    .await
}

pub async fn ask(app: &Router, request: Request<Body>) -> Answer {
    let response = app
        .clone()
        .oneshot(request)
        .await
        .expect("a router does not fail");
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a whole body");
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    }
}

pub fn data() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string("Data from backend!")
}
