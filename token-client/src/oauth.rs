//! A token endpoint over HTTP (RFC 6749 §3.2).

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    RequestBuilder, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use url::form_urlencoded;

#[cfg(feature = "private-key-jwt")]
use crate::assertion::{self, SigningKey};
use crate::{
    ConfigError, Secret, SourceError, TokenResponse, TokenSource, discovery,
    error::{boxed, chain},
};

/// Answers are small; anything longer is none.
const MAX_BODY: usize = 1 << 20;

type Form<'a> = form_urlencoded::Serializer<'a, String>;

/// How a client obtains its tokens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it asks.
    pub endpoint: Endpoint,
    /// The client's identifier (RFC 6749 §2.2).
    pub client_id: String,
    /// How the client proves who it is.
    pub auth: ClientAuth,
    /// What it asks with.
    pub grant: Grant,
    /// The scopes it asks for.
    pub scope: BTreeSet<String>,
    /// Longest time for one request to the endpoint.
    pub timeout: Duration,
}

/// Where a client asks for tokens.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// At this token endpoint.
    Token(Url),
    /// At the one that this issuer names in its metadata (OpenID Connect
    /// Discovery §4), which must be about this very issuer.
    Issuer(String),
}

impl From<Url> for Endpoint {
    fn from(token_endpoint: Url) -> Self {
        Self::Token(token_endpoint)
    }
}

/// How the client proves who it is (RFC 6749 §2.3).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientAuth {
    /// Not at all: a public client.
    None,
    /// The secret in an `Authorization: Basic` header (`client_secret_basic`).
    Basic(Secret),
    /// The secret in the body (`client_secret_post`).
    Post(Secret),
    /// A short-lived assertion signed with the client's key
    /// (`private_key_jwt`: RFC 7523 §2.2, OpenID Connect Core §9).
    #[cfg(feature = "private-key-jwt")]
    PrivateKeyJwt(SigningKey),
}

/// What the client asks for a token with.
#[derive(Clone, Debug)]
pub enum Grant {
    /// As itself (RFC 6749 §4.4).
    ClientCredentials,
    /// With a user's password (RFC 6749 §4.3), and from then on with the
    /// refresh token, if the server gives one (§6). For test users only: RFC
    /// 9700 §2.4 forbids it elsewhere.
    Password {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
    },
    /// With a token of a user, for one that is good for the next service only
    /// (RFC 8693 §2.1). For many users see [`Exchanger`](crate::Exchanger).
    TokenExchange {
        /// The user's access token.
        subject_token: Secret,
        /// Who the new token is for; several make a token for each of them.
        audience: BTreeSet<String>,
    },
}

impl Config {
    /// A time that suits an endpoint nearby.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// A confidential client that asks as itself, its secret in a Basic header.
    pub fn client_credentials(
        endpoint: impl Into<Endpoint>,
        client_id: impl Into<String>,
        secret: Secret,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            client_id: client_id.into(),
            auth: ClientAuth::Basic(secret),
            grant: Grant::ClientCredentials,
            scope: BTreeSet::new(),
            timeout: Self::TIMEOUT,
        }
    }
}

/// Obtains tokens from an OAuth 2.0 token endpoint.
#[derive(Debug)]
pub struct OAuthSource {
    config: Config,
    http: reqwest::Client,
    /// What discovery found.
    discovered: Mutex<Option<Url>>,
    refresh_token: Mutex<Option<SecretString>>,
}

impl OAuthSource {
    /// Checks nothing of the endpoint yet: the first fetch does.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_http(config, reqwest::Client::builder())
    }

    /// The same over connections of the caller's making: a name resolver (see
    /// [`ConnectTo`](crate::ConnectTo)) or certificate authorities of its own.
    /// Redirects, proxies and the timeout are this source's affair.
    pub fn with_http(config: Config, http: reqwest::ClientBuilder) -> Result<Self, ConfigError> {
        let address = match &config.endpoint {
            Endpoint::Token(url) => url.as_str(),
            Endpoint::Issuer(issuer) => issuer,
        };
        if !cfg!(feature = "tls") && address.starts_with("https:") {
            return Err(ConfigError::NoTls {
                address: address.to_owned(),
            });
        }
        let http = http
            // A redirect would carry the client's secret along (RFC 9700 §4.12).
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(config.timeout)
            .build()
            .map_err(ConfigError::Http)?;
        Ok(Self {
            config,
            http,
            discovered: Mutex::default(),
            refresh_token: Mutex::default(),
        })
    }

    /// The same client with another grant, over the same connections.
    pub(crate) fn with_grant(&self, grant: Grant) -> Self {
        Self {
            config: Config {
                grant,
                ..self.config.clone()
            },
            http: self.http.clone(),
            discovered: Mutex::new(lock(&self.discovered).clone()),
            refresh_token: Mutex::default(),
        }
    }

    async fn by_refresh_token(&self, token: &SecretString) -> Result<TokenResponse, SourceError> {
        self.ask(|form| {
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("refresh_token", token.expose_secret());
            Ok(())
        })
        .await
    }

    async fn by_grant(&self) -> Result<TokenResponse, SourceError> {
        self.ask(|form| self.config.grant.write(form)).await
    }

    async fn ask(
        &self,
        write_grant: impl FnOnce(&mut Form<'_>) -> Result<(), ConfigError> + Send,
    ) -> Result<TokenResponse, SourceError> {
        let endpoint = self.token_endpoint().await?;
        let request = self
            .request(endpoint, write_grant)
            .map_err(SourceError::unavailable)?;
        let answer = request.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let body = read(answer).await?;
        if status.is_success() {
            TokenResponse::parse(&body).map_err(SourceError::unavailable)
        } else {
            Err(refusal(status, retry_after, &body))
        }
    }

    fn request(
        &self,
        endpoint: Url,
        write_grant: impl FnOnce(&mut Form<'_>) -> Result<(), ConfigError>,
    ) -> Result<RequestBuilder, ConfigError> {
        let mut form = Form::new(String::new());
        write_grant(&mut form)?;
        if !self.config.scope.is_empty() {
            let scope: Vec<_> = self.config.scope.iter().map(String::as_str).collect();
            form.append_pair("scope", &scope.join(" "));
        }
        let headers = self.authenticate(&endpoint, &mut form)?;
        Ok(self
            .http
            .post(endpoint)
            .headers(headers)
            .body(form.finish()))
    }

    async fn token_endpoint(&self) -> Result<Url, SourceError> {
        let issuer = match &self.config.endpoint {
            Endpoint::Token(url) => return Ok(url.clone()),
            Endpoint::Issuer(issuer) => issuer,
        };
        let known = lock(&self.discovered).clone();
        if let Some(url) = known {
            return Ok(url);
        }
        let url = discovery::token_endpoint(&self.http, issuer).await?;
        *lock(&self.discovered) = Some(url.clone());
        Ok(url)
    }

    #[cfg_attr(not(feature = "private-key-jwt"), expect(unused_variables))]
    fn authenticate(&self, endpoint: &Url, form: &mut Form<'_>) -> Result<HeaderMap, ConfigError> {
        let client_id = &self.config.client_id;
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        match &self.config.auth {
            ClientAuth::None => {
                form.append_pair("client_id", client_id);
            }
            ClientAuth::Basic(secret) => {
                headers.insert(AUTHORIZATION, basic(client_id, secret)?);
            }
            ClientAuth::Post(secret) => {
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", secret.read()?.expose_secret());
            }
            #[cfg(feature = "private-key-jwt")]
            ClientAuth::PrivateKeyJwt(key) => {
                let audience = match &self.config.endpoint {
                    Endpoint::Issuer(issuer) => issuer.as_str(),
                    Endpoint::Token(_) => endpoint.as_str(),
                };
                let assertion = key.assertion(client_id, audience)?;
                form.append_pair("client_id", client_id);
                form.append_pair("client_assertion_type", assertion::TYPE);
                form.append_pair("client_assertion", assertion.expose_secret());
            }
        }
        Ok(headers)
    }
}

impl TokenSource for OAuthSource {
    async fn fetch(&self) -> Result<TokenResponse, SourceError> {
        let refresh_token = lock(&self.refresh_token).clone();
        let answer = match &refresh_token {
            Some(token) => match self.by_refresh_token(token).await {
                // The session has ended; the user's password begins another.
                Err(SourceError::Rejected { .. }) => self.by_grant().await,
                answer => answer,
            },
            None => self.by_grant().await,
        };
        match &answer {
            Ok(response) if matches!(self.config.grant, Grant::Password { .. }) => {
                // A server that does not rotate the refresh token sends none.
                let next = response.refresh_token.clone().or(refresh_token);
                *lock(&self.refresh_token) = next;
            }
            Ok(_) => {}
            Err(SourceError::Rejected { .. }) => *lock(&self.refresh_token) = None,
            // The endpoint may have moved.
            Err(SourceError::Unavailable { .. }) => *lock(&self.discovered) = None,
        }
        answer
    }
}

impl Grant {
    fn write(&self, form: &mut Form<'_>) -> Result<(), ConfigError> {
        match self {
            Self::ClientCredentials => {
                form.append_pair("grant_type", "client_credentials");
            }
            Self::Password { username, password } => {
                form.append_pair("grant_type", "password");
                form.append_pair("username", username);
                form.append_pair("password", password.read()?.expose_secret());
            }
            Self::TokenExchange {
                subject_token,
                audience,
            } => {
                const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
                form.append_pair(
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                );
                form.append_pair("subject_token", subject_token.read()?.expose_secret());
                form.append_pair("subject_token_type", ACCESS_TOKEN);
                form.append_pair("requested_token_type", ACCESS_TOKEN);
                for audience in audience {
                    form.append_pair("audience", audience);
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

pub(crate) async fn read(mut answer: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(SourceError::unavailable("the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(crate) fn unreachable(error: &reqwest::Error) -> SourceError {
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
            source: boxed(format!("the token endpoint answered {status}")),
            retry_after,
        },
    }
}

/// A stranger's words, fit for a log line.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). A date counts from
/// the answer's own `Date`, so that it does not matter whose clock is right.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |name| text(name).and_then(|date| httpdate::parse_http_date(date).ok());
    if let Ok(seconds) = text(RETRY_AFTER)?.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = date(DATE).unwrap_or_else(SystemTime::now);
    Some(date(RETRY_AFTER)?.duration_since(now).unwrap_or_default())
}
