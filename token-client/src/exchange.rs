//! A user's identity, carried on with no more reach than the next call needs.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};

use crate::{Config, ConfigError, Grant, OAuthSource, Policy, Secret, TokenCache};

/// How long after its last use a user's cache is dropped.
const IDLE: Duration = Duration::from_mins(10);

/// Exchanges users' tokens for tokens to the next service (RFC 8693), and
/// keeps a [`TokenCache`] for each user token, up to a limit.
///
/// Only hand in tokens that have been verified: each unknown one costs a
/// request to the token endpoint.
pub struct Exchanger {
    http: OAuthSource,
    audience: BTreeSet<String>,
    policy: Policy,
    caches: Cache<Subject, TokenCache>,
}

impl Exchanger {
    /// Exchanges as the client of `config` (whose grant is not used) for tokens
    /// to `audience`; keeps the caches of `capacity` users, least recently used
    /// first to go.
    pub fn new(
        config: Config,
        audience: impl IntoIterator<Item = impl Into<String>>,
        policy: Policy,
        capacity: u64,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            http: OAuthSource::new(config)?,
            audience: audience.into_iter().map(Into::into).collect(),
            policy,
            caches: Cache::builder()
                .max_capacity(capacity)
                .time_to_idle(IDLE)
                .build(),
        })
    }

    /// The cache of tokens that stand for the user of `subject_token`.
    pub fn cache_for(&self, subject_token: SecretString) -> TokenCache {
        let grant = Grant::TokenExchange {
            subject_token: Secret::value(subject_token.clone()),
            audience: self.audience.clone(),
        };
        self.caches.get_with(Subject(subject_token), || {
            TokenCache::new(self.http.with_grant(grant), self.policy.clone())
        })
    }
}

impl fmt::Debug for Exchanger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanger")
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// A user's token as a key. Compared in full: a collision would hand one user's
/// identity to another.
struct Subject(SecretString);

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for Subject {}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expose_secret().hash(state);
    }
}
