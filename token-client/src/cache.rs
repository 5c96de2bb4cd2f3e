//! One token, kept for as long as it is good.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{SourceError, Token, TokenError, TokenSource, source::DynSource, token::Issued};

/// When to refresh and how to retry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// How long before its end a token is refreshed, at most; never more than
    /// half its lifetime.
    pub max_window: Duration,
    /// Least time between two requests to the endpoint.
    pub floor: Duration,
    /// What to assume of a token whose `expires_in` is missing.
    pub assumed_lifetime: Duration,
    /// What to cut an absurd `expires_in` down to.
    pub max_lifetime: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_window: Duration::from_mins(5),
            floor: Duration::from_secs(1),
            assumed_lifetime: Duration::from_mins(1),
            max_lifetime: Duration::from_hours(24),
        }
    }
}

/// Keeps one token and refreshes it in time. Clones share it.
#[derive(Clone)]
pub struct TokenCache {
    core: Arc<Core>,
}

struct Core {
    source: Box<dyn DynSource>,
    policy: Policy,
    current: Mutex<Option<Token>>,
    flight: tokio::sync::Mutex<()>,
}

impl TokenCache {
    /// An empty cache: the first [`get`](Self::get) fetches.
    pub fn new(source: impl TokenSource, policy: Policy) -> Self {
        let core = Core {
            source: Box::new(source),
            policy,
            current: Mutex::new(None),
            flight: tokio::sync::Mutex::default(),
        };
        Self {
            core: Arc::new(core),
        }
    }

    /// A token that is alive now.
    pub async fn get(&self) -> Result<Token, TokenError> {
        let core = &self.core;
        if let Some(token) = core.fresh() {
            return Ok(token);
        }
        let _flight = core.flight.lock().await;
        if let Some(token) = core.fresh() {
            return Ok(token);
        }
        let now = Instant::now();
        let answer = core.source.fetch().await;
        let answer = answer
            .and_then(|answer| {
                answer
                    .check()
                    .map(|()| answer)
                    .map_err(SourceError::unavailable)
            })
            .map_err(|error| failed(error, core.policy.floor))?;
        let token = Token::new(Issued {
            access_token: answer.access_token,
            scope: answer.scope,
            requested_at: now,
            lifetime: answer
                .expires_in
                .unwrap_or(core.policy.assumed_lifetime)
                .min(core.policy.max_lifetime),
        });
        *core.current() = Some(token.clone());
        Ok(token)
    }

    /// Drops `token` if it is the one in the cache, for instance after a 401;
    /// an older one changes nothing.
    pub fn invalidate(&self, token: &Token) {
        let mut current = self.core.current();
        if current
            .as_ref()
            .is_some_and(|current| current.is_same(token))
        {
            *current = None;
        }
    }
}

impl Core {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> Option<Token> {
        let token = self.current().clone()?;
        let window = self.policy.max_window.min(token.lifetime() / 2);
        (Instant::now() < token.expires_at() - window).then_some(token)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("policy", &self.core.policy)
            .finish_non_exhaustive()
    }
}

fn failed(error: SourceError, delay: Duration) -> TokenError {
    let now = Instant::now();
    match error {
        SourceError::Rejected { error, description } => TokenError::Rejected {
            error,
            description,
            retry_at: now + delay,
        },
        SourceError::Unavailable {
            source,
            retry_after,
        } => TokenError::Unavailable {
            source,
            retry_at: now + retry_after.unwrap_or_default().max(delay),
        },
    }
}
