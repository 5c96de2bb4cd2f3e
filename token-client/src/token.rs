//! One access token.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use tokio::time::Instant;

/// An access token that was alive when the cache gave it out.
///
/// Cheap to clone. `Debug` shows when it ends and never the token itself; its
/// memory is wiped when the last clone goes.
#[derive(Clone)]
pub struct Token(Arc<Issued>);

pub(crate) struct Issued {
    pub(crate) access_token: SecretString,
    pub(crate) scope: Option<String>,
    pub(crate) requested_at: Instant,
    pub(crate) lifetime: Duration,
}

impl Token {
    pub(crate) fn new(issued: Issued) -> Self {
        Self(Arc::new(issued))
    }

    /// The token itself, to put it on a request.
    pub fn expose(&self) -> &str {
        self.0.access_token.expose_secret()
    }

    /// The value of an `Authorization` header (RFC 6750 §2.1), marked sensitive.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the cache takes in no token that cannot stand in a header"
    )]
    pub fn authorization(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.expose()));
        let mut value = HeaderValue::from_str(&text)
            .expect("must be visible ASCII, as the cache takes in no other");
        value.set_sensitive(true);
        value
    }

    /// The scope granted, as far as the endpoint said (RFC 6749 §5.1).
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// How long the token lives, counted from the moment it was asked for.
    pub fn lifetime(&self) -> Duration {
        self.0.lifetime
    }

    /// When the token ends, on the monotonic clock.
    pub fn expires_at(&self) -> Instant {
        self.0.requested_at + self.0.lifetime
    }

    /// Whether both are the very same issue of a token.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("access_token", &"[redacted]")
            .field("scope", &self.0.scope)
            .field("lifetime", &self.0.lifetime)
            .finish_non_exhaustive()
    }
}
