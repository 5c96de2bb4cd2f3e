//! The caches that are measured side by side.
//!
//! | name | what it is |
//! |---|---|
//! | `token-client` | this crate, as a service uses it: a handle shared by all, an owned token for each read |
//! | `token-client-reader` | the same through a `TokenReader` for each task, which lends the token |
//! | `google-cloud-auth` | the crate's `AccessTokenCredentials` of a user account, its token from an endpoint on localhost; a task refreshes in the background, a read clones the token's text out of a `watch` |
//! | `aliri_tokens` | the crate's `TokenWatcher` over its own `ConstTokenSource`; a task refreshes in the background, a read borrows from a `watch` and looks at no clock |
//! | `azure_identity` | the crate's `ClientSecretCredential` over a transport of ours; an async `RwLock` over a map by scopes, the write lock held over the fetch, a clone of the token's text for each reader |
//! | `mutex` | the plain thing: a tokio `Mutex` over an `Option`, held over the fetch, a clone of the token for each reader |
//!
//! All keep the same text as a token, for an hour. Only the last is written here.

use std::{sync::Arc, time::Duration};

use aliri_clock::DurationSecs;
use aliri_tokens::{
    AccessToken, TokenWatcher, backoff::ErrorBackoffConfig, jitter::NullJitter,
    sources::ConstTokenSource,
};
use async_trait::async_trait;
use azure_core::{
    credentials::TokenCredential,
    http::{
        AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport,
        headers::Headers,
    },
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use google_cloud_auth::credentials::{AccessTokenCredentials, user_account};
use serde_json::json;
use token_client::{Policy, SourceError, TokenCache, TokenReader, TokenResponse, TokenSource};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
    time::Instant,
};

const LIFETIME: Duration = Duration::from_hours(1);

/// As long as a Keycloak access token.
pub fn text() -> String {
    "x".repeat(1200)
}

/// A token endpoint one millisecond away.
pub struct Endpoint;

impl Endpoint {
    async fn answer() -> String {
        tokio::time::sleep(Duration::from_millis(1)).await;
        text()
    }
}

impl TokenSource for Endpoint {
    async fn fetch(&self) -> Result<TokenResponse, SourceError> {
        Ok(TokenResponse::new(Self::answer().await, Some(LIFETIME)))
    }
}

/// What is measured: a read of a token, down to a look at its text.
pub trait Peer: Clone + Send + Sync + 'static {
    fn read(&mut self) -> impl Future<Output = usize> + Send;
}

#[derive(Clone)]
pub struct Ours(pub TokenCache);

impl Ours {
    pub fn cold() -> Self {
        Self(TokenCache::new(Endpoint, Policy::default()))
    }
}

impl Peer for Ours {
    async fn read(&mut self) -> usize {
        self.0.get().await.expect("must be granted").expose().len()
    }
}

/// A reader of one's own for each task.
pub struct OursLent(TokenReader, TokenCache);

impl OursLent {
    pub fn cold() -> Self {
        let cache = Ours::cold().0;
        Self(cache.reader(), cache)
    }
}

impl Clone for OursLent {
    fn clone(&self) -> Self {
        Self(self.1.reader(), self.1.clone())
    }
}

impl Peer for OursLent {
    async fn read(&mut self) -> usize {
        self.0.get().await.expect("must be granted").expose().len()
    }
}

#[derive(Clone)]
pub struct Azure(Arc<ClientSecretCredential>);

impl Azure {
    pub fn cold() -> Self {
        let client_options = ClientOptions {
            transport: Some(Transport::new(Arc::new(Entra))),
            ..Default::default()
        };
        let options = ClientSecretCredentialOptions { client_options };
        let credential =
            ClientSecretCredential::new("tenant", "me".into(), "secret".into(), Some(options));
        Self(credential.expect("must be complete"))
    }
}

impl Peer for Azure {
    async fn read(&mut self) -> usize {
        let token = self.0.get_token(&["scope"], None).await;
        token.expect("must be granted").token.secret().len()
    }
}

/// What a token endpoint would answer.
fn response(token: &str) -> String {
    json!({"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME.as_secs()})
        .to_string()
}

/// [`Endpoint`] as a transport.
#[derive(Debug)]
struct Entra;

#[async_trait]
impl HttpClient for Entra {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        let body = response(&Endpoint::answer().await);
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::Ok,
            Headers::new(),
            body,
        ))
    }
}

#[derive(Clone)]
pub struct Google(AccessTokenCredentials);

impl Google {
    /// Needs a runtime, as its refresh task starts here.
    pub async fn cold() -> Self {
        let user = json!({
            "type": "authorized_user",
            "client_id": "me",
            "client_secret": "secret",
            "refresh_token": "refresh",
        });
        let builder =
            user_account::Builder::new(user).with_token_uri(endpoint_on_localhost().await);
        Self(
            builder
                .build_access_token_credentials()
                .expect("must be complete"),
        )
    }
}

impl Peer for Google {
    async fn read(&mut self) -> usize {
        self.0
            .access_token()
            .await
            .expect("must be granted")
            .token
            .len()
    }
}

/// The URL of a token endpoint that answers everything with a token.
async fn endpoint_on_localhost() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let token = response(&text());
    let length = token.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{token}"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/token")
}

#[derive(Clone)]
pub struct Aliri(TokenWatcher);

impl Aliri {
    pub async fn warm() -> Self {
        let source = ConstTokenSource::new(AccessToken::from(text()))
            .with_token_valid_for(DurationSecs(LIFETIME.as_secs()));
        let backoff = ErrorBackoffConfig::default();
        let watcher = TokenWatcher::spawn_from_token_source(source, NullJitter, backoff).await;
        Self(watcher.expect("must be granted"))
    }
}

impl Peer for Aliri {
    async fn read(&mut self) -> usize {
        self.0.token().access_token().as_str().len()
    }
}

#[derive(Clone)]
struct Kept {
    text: Arc<str>,
    expires_at: Instant,
}

impl Kept {
    async fn fetch() -> Self {
        let expires_at = Instant::now() + LIFETIME;
        Self {
            text: Endpoint::answer().await.into(),
            expires_at,
        }
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.expires_at
    }
}

#[derive(Clone, Default)]
pub struct PlainMutex(Arc<Mutex<Option<Kept>>>);

impl Peer for PlainMutex {
    async fn read(&mut self) -> usize {
        let mut kept = self.0.lock().await;
        let fresh = kept.clone().filter(Kept::is_fresh);
        let token = match fresh {
            Some(token) => token,
            None => kept.insert(Kept::fetch().await).clone(),
        };
        drop(kept);
        token.text.len()
    }
}
