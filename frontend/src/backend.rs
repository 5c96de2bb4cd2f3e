//! Calls to the backend, each with a token of our own.

use std::time::Duration;

use axum::http::HeaderMap;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};
use token_client::{Token, TokenCache, TokenError};

/// What goes on to the backend so that logs and traces of both services meet:
/// the mesh's request id, and W3C Trace Context and Baggage.
const FORWARDED: [&str; 4] = ["x-request-id", "traceparent", "tracestate", "baggage"];

/// The backend, as seen by one that holds a token for it.
#[derive(Clone, Debug)]
pub struct Backend {
    url: Url,
    tokens: TokenCache,
    http: Client,
}

/// Why the backend's data is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// We have no token to call with.
    #[error("no token to call the backend with")]
    Token(#[from] TokenError),
    /// The backend cannot be reached, or broke off its answer.
    #[error("the backend cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The backend took too long.
    #[error("the backend did not answer in time")]
    Late(#[source] reqwest::Error),
    /// The mesh knows who we are and does not let us through (403).
    #[error("the backend's policy does not allow this call")]
    Forbidden,
    /// The mesh took neither our token nor a fresh one (401).
    #[error("the backend accepts no token of ours")]
    Unauthorized,
    /// Any other answer than success.
    #[error("the backend answered {0}")]
    Unexpected(StatusCode),
}

impl From<reqwest::Error> for CallError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            Self::Late(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

impl Backend {
    /// Calls will go to `url`, each for at most `timeout`, over connections
    /// made as `http` says.
    pub fn new(
        url: Url,
        timeout: Duration,
        tokens: TokenCache,
        http: ClientBuilder,
    ) -> reqwest::Result<Self> {
        let http = http
            // A redirect or a proxy would carry our token elsewhere.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .build()?;
        Ok(Self { url, tokens, http })
    }

    /// Where the tokens come from.
    pub(crate) fn tokens(&self) -> &TokenCache {
        &self.tokens
    }

    /// The backend's data. `incoming` are the headers of the request that asks
    /// for it, of which those for tracing go along.
    ///
    /// A 401 means that the token is no longer good, whatever its lifetime
    /// said: one more try with a fresh one. A 403 means that the token is good
    /// and not enough: a fresh one would change nothing.
    pub async fn data(&self, incoming: &HeaderMap) -> Result<String, CallError> {
        let token = self.tokens.get().await?;
        let mut response = self.call(&token, incoming).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.tokens.invalidate(&token);
            let fresh = self.tokens.get().await?;
            response = self.call(&fresh, incoming).await?;
        }
        match response.status() {
            status if status.is_success() => Ok(response.text().await?),
            StatusCode::FORBIDDEN => Err(CallError::Forbidden),
            StatusCode::UNAUTHORIZED => Err(CallError::Unauthorized),
            status => Err(CallError::Unexpected(status)),
        }
    }

    async fn call(&self, token: &Token, incoming: &HeaderMap) -> reqwest::Result<Response> {
        let mut request = self
            .http
            .get(self.url.clone())
            .header(AUTHORIZATION, token.authorization());
        for name in FORWARDED {
            for value in incoming.get_all(name) {
                request = request.header(name, value);
            }
        }
        request.send().await
    }
}
