//! The client that puts the token on requests.

mod fake;

use fake::{Fake, Step};
use reqwest::{Body, Client, Method, Request as Outgoing, StatusCode, Url};
use token_client::{BearerClient, CallError, Policy, TokenCache};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

/// Answers the n-th request with the n-th answer, the last one over and over.
async fn server(answers: Vec<ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    let last = answers.len() - 1;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let answer = move |_: &Request| {
        let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        answers[n.min(last)].clone()
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

struct World {
    server: MockServer,
    source: Fake,
    tokens: TokenCache,
    client: BearerClient,
}

impl World {
    async fn new(answers: Vec<ResponseTemplate>) -> Self {
        let server = server(answers).await;
        let source = Fake::always(Step::Grant(300));
        let policy = Policy {
            floor: std::time::Duration::ZERO,
            ..Policy::default()
        };
        let tokens = TokenCache::new(source.clone(), policy);
        let client = BearerClient::new(Client::builder(), tokens.clone(), [url(&server)]).unwrap();
        Self {
            server,
            source,
            tokens,
            client,
        }
    }

    /// The tokens that the server was sent, in order.
    async fn seen(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        requests
            .iter()
            .map(|r| r.headers["authorization"].to_str().unwrap().to_owned())
            .collect()
    }
}

fn url(server: &MockServer) -> Url {
    server.uri().parse().unwrap()
}

fn answer(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

fn challenge(text: &str) -> ResponseTemplate {
    answer(401).insert_header("www-authenticate", text)
}

/// As Envoy's jwt_authn filter answers.
fn invalid_token() -> ResponseTemplate {
    challenge(r#"Bearer realm="http://backend/data", error="invalid_token""#)
}

#[tokio::test]
async fn token_goes_along_and_is_kept() {
    let world = World::new(vec![answer(200)]).await;
    for _ in 0..3 {
        assert_eq!(
            world.client.get(url(&world.server)).await.unwrap().status(),
            200
        );
    }
    assert_eq!(world.seen().await, ["Bearer s3cret-1"; 3]);
}

#[tokio::test]
async fn refused_token_is_replaced_and_the_request_sent_once_more() {
    for refusal in [
        invalid_token(),
        challenge("Bearer"),
        challenge("bearer realm=x"),
        answer(401),
    ] {
        let world = World::new(vec![refusal, answer(200)]).await;
        let mut request = Outgoing::new(Method::POST, url(&world.server));
        *request.body_mut() = Some("twice".into());
        assert_eq!(world.client.execute(request).await.unwrap().status(), 200);
        assert_eq!(world.seen().await, ["Bearer s3cret-1", "Bearer s3cret-2"]);
        let requests = world.server.received_requests().await.unwrap();
        assert!(requests.iter().all(|request| request.body == b"twice"));
    }
}

#[tokio::test]
async fn second_refusal_is_the_answer() {
    let world = World::new(vec![invalid_token()]).await;
    let response = world.client.get(url(&world.server)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(world.seen().await.len(), 2);
}

#[tokio::test]
async fn forbidden_does_not_invalidate() {
    let world = World::new(vec![answer(403)]).await;
    assert_eq!(
        world.client.get(url(&world.server)).await.unwrap().status(),
        403
    );
    assert_eq!(
        world.client.get(url(&world.server)).await.unwrap().status(),
        403
    );
    assert_eq!(world.seen().await, ["Bearer s3cret-1"; 2]);
    assert_eq!(
        (world.source.fetches(), world.tokens.counters().invalidated),
        (1, 0)
    );
}

#[tokio::test]
async fn unauthorized_for_another_reason_does_not_invalidate() {
    for other in [
        challenge("Basic realm=x"),
        challenge(r#"Bearer error="insufficient_scope""#),
    ] {
        let world = World::new(vec![other]).await;
        assert_eq!(
            world.client.get(url(&world.server)).await.unwrap().status(),
            401
        );
        assert_eq!(world.seen().await.len(), 1);
        assert_eq!(world.tokens.counters().invalidated, 0);
    }
}

#[tokio::test]
async fn body_that_cannot_be_sent_again_is_not() {
    let world = World::new(vec![invalid_token(), answer(200)]).await;
    let once = futures::stream::iter([Ok::<_, std::io::Error>("once")]);
    let mut request = Outgoing::new(Method::POST, url(&world.server));
    *request.body_mut() = Some(Body::wrap_stream(once));
    assert_eq!(world.client.execute(request).await.unwrap().status(), 401);
    assert_eq!(world.seen().await.len(), 1);
    assert_eq!(world.tokens.counters().invalidated, 1);
}

#[tokio::test]
async fn token_never_follows_a_redirect_to_another_origin() {
    let elsewhere = server(vec![answer(200)]).await;
    let to = answer(307).insert_header("location", elsewhere.uri().as_str());
    let world = World::new(vec![to]).await;
    assert_eq!(
        world.client.get(url(&world.server)).await.unwrap().status(),
        307
    );
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn nothing_is_sent_to_an_origin_that_is_not_allowed() {
    let elsewhere = server(vec![answer(200)]).await;
    let world = World::new(vec![answer(200)]).await;
    let port = url(&world.server).port().unwrap();
    for address in [
        elsewhere.uri(),
        format!("http://localhost:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}@{}/", elsewhere.address()),
    ] {
        let error = world
            .client
            .get(address.parse().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Origin(_)), "{address}: {error}");
    }
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
    assert_eq!(world.source.fetches(), 0);
}

#[tokio::test]
async fn failure_to_get_a_token_is_passed_on() {
    let world = World::new(vec![answer(200)]).await;
    world.source.turn(Step::Reject);
    let error = world.client.get(url(&world.server)).await.unwrap_err();
    assert!(matches!(error, CallError::Token(_)), "{error}");
    assert_eq!(world.server.received_requests().await.unwrap().len(), 0);
}
