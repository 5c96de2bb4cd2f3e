//! The caches that are measured side by side.
//!
//! | name | what it is |
//! |---|---|
//! | `token-client` | this crate, as a service uses it |
//! | `aliri_tokens` | the crate's `TokenWatcher` over its own `ConstTokenSource`; a task refreshes in the background, a read borrows from a `watch` and looks at no clock |
//! | `rwlock` | the pattern of `azure_identity`'s `TokenCache`: an async `RwLock` over a map by scopes, the write lock held over the fetch, a clone of the token for each reader |
//! | `mutex` | the plain thing: a tokio `Mutex` over an `Option`, held over the fetch, a clone of the token for each reader |
//!
//! All keep the same text as a token, for an hour. The last two are written
//! here, as their patterns are not to be had without an HTTP client around them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use aliri_clock::DurationSecs;
use aliri_tokens::{
    AccessToken, TokenWatcher, backoff::ErrorBackoffConfig, jitter::NullJitter,
    sources::ConstTokenSource,
};
use token_client::{Policy, SourceError, TokenCache, TokenResponse, TokenSource};
use tokio::{
    sync::{Mutex, RwLock},
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
    fn read(&self) -> impl Future<Output = usize> + Send;
}

#[derive(Clone)]
pub struct Ours(pub TokenCache);

impl Ours {
    pub fn cold() -> Self {
        Self(TokenCache::new(Endpoint, Policy::default()))
    }
}

impl Peer for Ours {
    async fn read(&self) -> usize {
        self.0.get().await.expect("must be granted").expose().len()
    }
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
    async fn read(&self) -> usize {
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
        Self { text: Endpoint::answer().await.into(), expires_at }
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.expires_at
    }
}

#[derive(Clone, Default)]
pub struct PlainMutex(Arc<Mutex<Option<Kept>>>);

impl Peer for PlainMutex {
    async fn read(&self) -> usize {
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

#[derive(Clone)]
pub struct ReadWriteLock {
    tokens: Arc<RwLock<HashMap<Vec<String>, Kept>>>,
    scopes: Vec<String>,
}

impl Default for ReadWriteLock {
    fn default() -> Self {
        Self { tokens: Arc::default(), scopes: vec!["openid".to_owned()] }
    }
}

impl Peer for ReadWriteLock {
    async fn read(&self) -> usize {
        let fresh = self.tokens.read().await.get(&self.scopes).cloned().filter(Kept::is_fresh);
        let token = match fresh {
            Some(token) => token,
            None => {
                let mut tokens = self.tokens.write().await;
                match tokens.get(&self.scopes).cloned().filter(Kept::is_fresh) {
                    Some(token) => token,
                    None => {
                        let token = Kept::fetch().await;
                        tokens.insert(self.scopes.clone(), token.clone());
                        token
                    }
                }
            }
        };
        token.text.len()
    }
}
