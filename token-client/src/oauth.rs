//! A token endpoint over HTTP (RFC 6749 §3.2).

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use secrecy::{ExposeSecret, zeroize::Zeroizing};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{ConfigError, Secret, SourceError, TokenResponse, TokenSource, error::chain};

/// Token responses are small; anything longer is not one.
const MAX_BODY: usize = 1 << 20;

/// How a client obtains its tokens.
#[derive(Clone, Debug)]
pub struct Config {
    /// The token endpoint.
    pub token_endpoint: Url,
    /// The client's identifier (RFC 6749 §2.2).
    pub client_id: String,
    /// How the client proves who it is.
    pub auth: ClientAuth,
    /// What it asks with.
    pub grant: Grant,
    /// The scopes it asks for.
    pub scope: Vec<String>,
    /// Longest time for one request to the endpoint.
    pub timeout: Duration,
}

/// How the client proves who it is (RFC 6749 §2.3).
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// Not at all: a public client.
    None,
    /// The secret in an `Authorization: Basic` header (`client_secret_basic`).
    Basic(Secret),
    /// The secret in the body (`client_secret_post`).
    Post(Secret),
}

/// What the client asks for a token with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// As itself (RFC 6749 §4.4).
    ClientCredentials,
    /// With a user's password (RFC 6749 §4.3). For test users only: RFC 9700
    /// §2.4 forbids it elsewhere.
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
    },
}

impl Config {
    /// A confidential client that asks as itself, its secret in a Basic header.
    pub fn client_credentials(
        token_endpoint: Url,
        client_id: impl Into<String>,
        secret: Secret,
    ) -> Self {
        Self {
            token_endpoint,
            client_id: client_id.into(),
            auth: ClientAuth::Basic(secret),
            grant: Grant::ClientCredentials,
            scope: Vec::new(),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Obtains tokens from an OAuth 2.0 token endpoint.
#[derive(Debug)]
pub struct OAuthSource {
    config: Config,
    http: reqwest::Client,
}

impl OAuthSource {
    /// Checks nothing of the endpoint yet: the first fetch does.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let http = reqwest::Client::builder()
            // A redirect would carry the client's secret along (RFC 9700 §4.12).
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(config.timeout)
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self { config, http })
    }

    async fn ask(&self) -> Result<TokenResponse, SourceError> {
        let (headers, form) = self.request().map_err(SourceError::unavailable)?;
        let answer = self
            .http
            .post(self.config.token_endpoint.clone())
            .headers(headers)
            .body(form)
            .send()
            .await
            .map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let body = read(answer).await?;
        if status.is_success() {
            TokenResponse::parse(&body).map_err(SourceError::unavailable)
        } else {
            Err(refusal(status, retry_after, &body))
        }
    }

    fn request(&self) -> Result<(HeaderMap, Vec<u8>), ConfigError> {
        let config = &self.config;
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let mut form = form_urlencoded::Serializer::new(String::new());
        match &config.grant {
            Grant::ClientCredentials => {
                form.append_pair("grant_type", "client_credentials");
            }
            Grant::Password { username, password } => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", username);
                form.append_pair("password", password.read()?.expose_secret());
            }
        }
        if !config.scope.is_empty() {
            form.append_pair("scope", &config.scope.join(" "));
        }
        match &config.auth {
            ClientAuth::None => {
                form.append_pair("client_id", &config.client_id);
            }
            ClientAuth::Basic(secret) => {
                headers.insert(AUTHORIZATION, basic(&config.client_id, secret)?);
            }
            ClientAuth::Post(secret) => {
                form.append_pair("client_id", &config.client_id);
                form.append_pair("client_secret", secret.read()?.expose_secret());
            }
        }
        Ok((headers, form.finish().into_bytes()))
    }
}

impl TokenSource for OAuthSource {
    async fn fetch(&self) -> Result<TokenResponse, SourceError> {
        self.ask().await
    }
}

/// Identifier and secret are form-encoded first (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &Secret) -> Result<HeaderValue, ConfigError> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let secret = Zeroizing::new(encode(secret.read()?.expose_secret()));
    let pair = Zeroizing::new(format!("{}:{}", encode(client_id), *secret));
    let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::from_str(&text).expect("base64 must be visible ASCII");
    value.set_sensitive(true);
    Ok(value)
}

async fn read(mut answer: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(SourceError::unavailable(
                "the answer is longer than a token response",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: &reqwest::Error) -> SourceError {
    SourceError::unavailable(chain(error))
}

/// An error response (RFC 6749 §5.2).
#[derive(Deserialize)]
struct OAuthError {
    error: String,
    error_description: Option<String>,
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> SourceError {
    let retryable = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    match serde_json::from_slice::<OAuthError>(body) {
        Ok(refused) if status.is_client_error() && !retryable => SourceError::Rejected {
            error: short(&refused.error),
            description: refused.error_description.as_deref().map(short),
        },
        _ => SourceError::Unavailable {
            source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(format!(
                "the token endpoint answered {status}"
            ))),
            retry_after,
        },
    }
}

/// A stranger's words, fit for a log line.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}
