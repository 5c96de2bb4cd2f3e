//! The token endpoint's answer (RFC 6749 §5.1).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

/// A successful token response.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The access token.
    pub access_token: SecretString,
    /// How long it lives from now on; endpoints may leave it out.
    #[serde(default, deserialize_with = "lenient_seconds")]
    pub expires_in: Option<Duration>,
    /// The scope granted, if it differs from the one asked for.
    #[serde(default)]
    pub scope: Option<String>,
    /// A token to get the next access token with (RFC 6749 §6).
    #[serde(default)]
    pub refresh_token: Option<SecretString>,
    token_type: String,
}

/// What is wrong with a token response. Says where, never what: the body may
/// hold a token.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// Not the JSON object of RFC 6749 §5.1.
    #[error("not a token response (line {line}, column {column})")]
    Malformed {
        /// Line of the body, from 1.
        line: usize,
        /// Column of the line, from 1.
        column: usize,
    },
    /// A token of a type that this client does not know how to present.
    #[error("the token's type is not Bearer")]
    NotBearer,
    /// An access token that cannot stand in a header (RFC 6750 §2.1).
    #[error("the access token is empty or holds characters that no header can carry")]
    NotPresentable,
}

impl TokenResponse {
    /// A response made by hand, for a source of one's own.
    pub fn new(access_token: impl Into<SecretString>, expires_in: Option<Duration>) -> Self {
        Self {
            access_token: access_token.into(),
            expires_in,
            scope: None,
            refresh_token: None,
            token_type: "Bearer".to_owned(),
        }
    }

    /// Reads the body of a token response.
    pub fn parse(body: &[u8]) -> Result<Self, ResponseError> {
        let response: Self =
            serde_json::from_slice(body).map_err(|error| ResponseError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        response.check()?;
        Ok(response)
    }

    /// Whether the token can be presented as a bearer token.
    pub(crate) fn check(&self) -> Result<(), ResponseError> {
        // Some endpoints answer a token exchange with `N_A` for what is no
        // access token (RFC 8693 §2.2.1); such a token is not for a header.
        if !self.token_type.eq_ignore_ascii_case("bearer") {
            return Err(ResponseError::NotBearer);
        }
        let token = self.access_token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ResponseError::NotPresentable);
        }
        Ok(())
    }
}

/// Seconds as a number or, as some endpoints send them, a string. Negative is
/// zero; what is no number at all is as if absent.
fn lenient_seconds<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match serde_json::Value::deserialize(de)? {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(seconds
        .filter(|seconds: &f64| !seconds.is_nan())
        .map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
}
