//! HTTP calls that carry the token.

use http_auth::parse_challenges;
use reqwest::{
    Client, ClientBuilder, Request, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE},
    redirect,
};
use url::Origin;

use crate::{ConfigError, TokenCache, TokenError};

/// Sends requests with a token from a [`TokenCache`], to the allowed origins
/// only.
///
/// Where the answer is 401 and the token is the reason, the token is dropped
/// and the request sent once more with a fresh one, provided that its body can
/// be sent again. A 403 is an answer like any other: the token is good, a fresh
/// one would not be better. Redirects are not followed.
#[derive(Clone, Debug)]
pub struct BearerClient {
    http: Client,
    tokens: TokenCache,
    origins: Vec<Origin>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The request's origin is not allowed; nothing was sent.
    #[error("no token is sent to {0}: it is not among the allowed origins")]
    Origin(String),
    /// The request failed.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

impl BearerClient {
    /// A client that sends tokens to the origins (scheme, host and port) of
    /// `allowed` and to no other. `http` may set what it likes but redirects.
    pub fn new(
        http: ClientBuilder,
        tokens: TokenCache,
        allowed: impl IntoIterator<Item = Url>,
    ) -> Result<Self, ConfigError> {
        let http = http
            .redirect(redirect::Policy::none())
            .build()
            .map_err(ConfigError::Http)?;
        let origins = allowed.into_iter().map(|url| url.origin()).collect();
        Ok(Self {
            http,
            tokens,
            origins,
        })
    }

    /// The same client with tokens from elsewhere, such as a user's from an
    /// [`Exchanger`](crate::Exchanger).
    #[must_use]
    pub fn with_tokens(&self, tokens: TokenCache) -> Self {
        Self {
            tokens,
            ..self.clone()
        }
    }

    /// Sends a GET request.
    pub async fn get(&self, url: Url) -> Result<Response, CallError> {
        self.execute(Request::new(reqwest::Method::GET, url)).await
    }

    /// Sends a request; an `Authorization` of its own is replaced.
    pub async fn execute(&self, mut request: Request) -> Result<Response, CallError> {
        let origin = request.url().origin();
        if !self.origins.contains(&origin) {
            return Err(CallError::Origin(origin.ascii_serialization()));
        }
        let again = request.try_clone();
        let token = self.tokens.get().await?;
        request
            .headers_mut()
            .insert(AUTHORIZATION, token.authorization());
        let response = self.http.execute(request).await?;
        if !token_is_refused(response.status(), response.headers()) {
            return Ok(response);
        }
        self.tokens.invalidate(&token);
        let Some(mut request) = again else {
            return Ok(response);
        };
        let token = self.tokens.get().await?;
        request
            .headers_mut()
            .insert(AUTHORIZATION, token.authorization());
        Ok(self.http.execute(request).await?)
    }
}

/// Whether a response says that the token is no good, or that none was seen
/// (RFC 6750 §3): a 401 whose Bearer challenge has no `error` or
/// `invalid_token`, or that has no legible challenge at all.
pub fn token_is_refused(status: StatusCode, headers: &HeaderMap) -> bool {
    if status != StatusCode::UNAUTHORIZED {
        return false;
    }
    let values = headers.get_all(WWW_AUTHENTICATE);
    let challenges: Vec<_> = values
        .iter()
        .filter_map(|value| parse_challenges(value.to_str().ok()?).ok())
        .flatten()
        .collect();
    let error = |params: &[(&str, http_auth::ParamValue<'_>)]| {
        let error = params
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("error"));
        error.map(|(_, value)| value.to_unescaped())
    };
    challenges.is_empty()
        || challenges
            .iter()
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))
            .any(|challenge| error(&challenge.params).is_none_or(|error| error == "invalid_token"))
}
