//! Calls to the backend, each with a token of our own.

use std::time::Duration;

use axum::http::HeaderMap;
use reqwest::{ClientBuilder, Method, Request, StatusCode, Url};
use token_client::{BearerClient, CallError, ConfigError, TokenCache, TokenError};

/// What goes on to the backend so that logs and traces of both services meet:
/// the mesh's request id, and W3C Trace Context and Baggage.
const FORWARDED: [&str; 4] = ["x-request-id", "traceparent", "tracestate", "baggage"];

/// The backend, as seen by one that holds a token for it.
#[derive(Clone, Debug)]
pub struct Backend {
    url: Url,
    http: BearerClient,
}

/// Why the backend's data is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// We have no token to call with.
    #[error("no token to call the backend with")]
    Token(#[source] TokenError),
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

impl From<reqwest::Error> for BackendError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            Self::Late(error)
        } else {
            Self::Unreachable(error)
        }
    }
}

impl From<CallError> for BackendError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Token(error) => Self::Token(error),
            CallError::Http(error) => error.into(),
            CallError::Origin(_) => unreachable!("the one address that we call is allowed"),
        }
    }
}

impl Backend {
    /// Calls will go to `url`, each for at most `timeout`, with a token from
    /// `tokens`, over connections made as `http` says.
    pub fn new(
        url: Url,
        timeout: Duration,
        tokens: TokenCache,
        http: ClientBuilder,
    ) -> Result<Self, ConfigError> {
        // A proxy of the environment would carry our token elsewhere.
        let http = http.no_proxy().timeout(timeout);
        let http = BearerClient::new(http, tokens, [url.clone()])?;
        Ok(Self { url, http })
    }

    /// The backend's data. `incoming` are the headers of the request that asks
    /// for it, of which those for tracing go along.
    pub async fn data(&self, incoming: &HeaderMap) -> Result<String, BackendError> {
        let mut request = Request::new(Method::GET, self.url.clone());
        for name in FORWARDED {
            for value in incoming.get_all(name) {
                request.headers_mut().append(name, value.clone());
            }
        }
        let response = self.http.execute(request).await?;
        match response.status() {
            status if status.is_success() => Ok(response.text().await?),
            StatusCode::FORBIDDEN => Err(BackendError::Forbidden),
            StatusCode::UNAUTHORIZED => Err(BackendError::Unauthorized),
            status => Err(BackendError::Unexpected(status)),
        }
    }
}
