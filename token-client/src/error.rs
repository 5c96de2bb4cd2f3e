//! Why there is no token.

use std::{error::Error, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

/// Why a [`TokenCache`](crate::TokenCache) has no token to give.
///
/// All callers that waited for the same attempt get clones of the same error.
/// Neither kind is final: after `retry_at` the next call tries again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The token endpoint understood the request and refused it (RFC 6749
    /// §5.2): a wrong secret, an unknown client, a grant that is not allowed.
    #[error("the token endpoint refused: {error}{}", detail(description.as_deref()))]
    Rejected {
        /// The OAuth error code, such as `invalid_client`.
        error: String,
        /// The endpoint's own words, if it gave any.
        description: Option<String>,
        /// Before this moment the endpoint is not asked again.
        retry_at: Instant,
    },
    /// No usable answer came from the token endpoint.
    #[error("no token to be had: {source}")]
    Unavailable {
        /// What went wrong.
        source: Arc<dyn Error + Send + Sync>,
        /// Before this moment the endpoint is not asked again.
        retry_at: Instant,
    },
}

impl TokenError {
    /// Before this moment the endpoint is not asked again.
    pub fn retry_at(&self) -> Instant {
        match self {
            Self::Rejected { retry_at, .. } | Self::Unavailable { retry_at, .. } => *retry_at,
        }
    }

    /// Time left until [`retry_at`](Self::retry_at), for a `Retry-After` header.
    pub fn retry_after(&self) -> Duration {
        self.retry_at().saturating_duration_since(Instant::now())
    }
}

/// Why a [`TokenSource`](crate::TokenSource) brought no token, once.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// An OAuth error response (RFC 6749 §5.2).
    #[error("the token endpoint refused: {error}{}", detail(description.as_deref()))]
    Rejected {
        /// The OAuth error code, such as `invalid_client`.
        error: String,
        /// The endpoint's own words, if it gave any.
        description: Option<String>,
    },
    /// Anything else: no connection, no time, no sense in the answer.
    #[error("{source}")]
    Unavailable {
        /// What went wrong.
        source: Arc<dyn Error + Send + Sync>,
        /// The endpoint's `Retry-After`, if it sent one.
        retry_after: Option<Duration>,
    },
}

impl SourceError {
    /// An [`Unavailable`](Self::Unavailable) without `Retry-After`.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: Arc::from(source.into()),
            retry_after: None,
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A secret's file cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A secret's file holds nothing.
    #[error("the secret in {} is empty", path.display())]
    EmptySecretFile {
        /// The file.
        path: PathBuf,
    },
    /// An address that would need TLS.
    #[error("{address}: HTTPS needs a build with the `tls` feature")]
    NoTls {
        /// The address.
        address: String,
    },
    /// A client's signing key is no key for its algorithm.
    #[cfg(feature = "private-key-jwt")]
    #[error("cannot sign with the client's key: {0}")]
    SigningKey(#[source] jsonwebtoken::errors::Error),
    /// The HTTP client cannot be built.
    #[error("cannot set up the HTTP client: {0}")]
    Http(#[source] reqwest::Error),
}

pub(crate) fn boxed(
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> Arc<dyn Error + Send + Sync> {
    Arc::from(error.into())
}

fn detail(description: Option<&str>) -> String {
    description
        .map(|text| format!(" ({text})"))
        .unwrap_or_default()
}

/// An error and all its causes in one line. reqwest and hyper keep the telling
/// part ("connection refused") innermost.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&decapitalised(&inner_text));
        }
        cause = inner.source();
    }
    text
}

/// The operating system says "Connection refused"; within a sentence it is
/// "connection refused".
fn decapitalised(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}
