//! The options that say where tokens come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use token_client::{ClientAuth, Config, Endpoint, Grant, OAuthSource, Policy, Secret, TokenCache};
use url::Url;

use crate::cli::{name, read_secret};

/// Where tokens come from.
#[derive(Args)]
#[command(next_help_heading = "Client")]
pub(crate) struct ClientArgs {
    /// Token endpoint.
    #[arg(long, env = "TOKEN_CLIENT_ENDPOINT", value_name = "URL")]
    token_endpoint: Option<Url>,
    /// Issuer, whose metadata names the token endpoint.
    #[arg(
        long,
        env = "TOKEN_CLIENT_ISSUER",
        value_name = "URL",
        conflicts_with = "token_endpoint"
    )]
    issuer: Option<String>,
    /// Client identifier.
    #[arg(long, env = "TOKEN_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// How the client proves who it is.
    #[arg(long, env = "TOKEN_CLIENT_AUTH", value_enum, default_value_t)]
    auth: AuthMethod,
    /// File with the client's secret, or with its key in PEM form for
    /// private-key-jwt; `-` is stdin. Otherwise TOKEN_CLIENT_SECRET is used;
    /// with neither, the client is public.
    #[arg(long, env = "TOKEN_CLIENT_SECRET_FILE", value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// Signature algorithm of the client's key, such as RS256 or ES256.
    #[cfg(feature = "private-key-jwt")]
    #[arg(
        long,
        env = "TOKEN_CLIENT_KEY_ALGORITHM",
        value_name = "ALG",
        default_value = "RS256"
    )]
    key_algorithm: token_client::Algorithm,
    /// `kid` of the client's key, if the server tells keys apart by it.
    #[cfg(feature = "private-key-jwt")]
    #[arg(long, env = "TOKEN_CLIENT_KEY_ID", value_name = "KID")]
    key_id: Option<String>,
    /// Scope to ask for; may be repeated.
    #[arg(
        long,
        env = "TOKEN_CLIENT_SCOPE",
        value_delimiter = ' ',
        value_name = "SCOPE"
    )]
    scope: Vec<String>,
    /// Ask as this user, by the password grant. For test users only.
    #[arg(long, env = "TOKEN_CLIENT_USERNAME", value_name = "NAME")]
    username: Option<String>,
    /// File with the user's password, `-` for stdin. Otherwise
    /// TOKEN_CLIENT_PASSWORD is used.
    #[arg(
        long,
        env = "TOKEN_CLIENT_PASSWORD_FILE",
        value_name = "FILE",
        requires = "username"
    )]
    password_file: Option<PathBuf>,
    /// File with a user's token to exchange (RFC 8693), `-` for stdin.
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    subject_token_file: Option<PathBuf>,
    /// Who the exchanged token is for; may be repeated.
    #[arg(long, value_name = "CLIENT", requires = "subject_token_file")]
    audience: Vec<String>,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum AuthMethod {
    /// `client_secret_basic`: the secret in the Authorization header.
    #[default]
    Basic,
    /// `client_secret_post`: the secret in the body.
    Post,
    /// `private_key_jwt`: an assertion signed with the client's key.
    #[cfg(feature = "private-key-jwt")]
    PrivateKeyJwt,
}

impl ClientArgs {
    /// A cache for the client that the options describe, if they name one.
    pub(crate) fn cache(&self) -> anyhow::Result<Option<TokenCache>> {
        let Some(client_id) = &self.client_id else {
            return Ok(None);
        };
        let config = Config {
            endpoint: self.endpoint()?,
            client_id: client_id.clone(),
            auth: self.client_auth()?,
            grant: self.grant()?,
            scope: self.scope.iter().cloned().collect(),
            timeout: Config::TIMEOUT,
        };
        Ok(Some(TokenCache::new(
            OAuthSource::new(config)?,
            Policy::default(),
        )))
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        match (&self.token_endpoint, &self.issuer) {
            (Some(url), _) => Ok(Endpoint::Token(url.clone())),
            (None, Some(issuer)) => Ok(Endpoint::Issuer(issuer.clone())),
            (None, None) => bail!(
                "where to ask for a token? give --token-endpoint or --issuer, or set \
                 TOKEN_CLIENT_ENDPOINT or TOKEN_CLIENT_ISSUER"
            ),
        }
    }

    fn client_auth(&self) -> anyhow::Result<ClientAuth> {
        let secret = secret(self.client_secret_file.as_deref(), "TOKEN_CLIENT_SECRET")?;
        Ok(match (secret, self.auth) {
            (Some(secret), AuthMethod::Basic) => ClientAuth::Basic(secret),
            (Some(secret), AuthMethod::Post) => ClientAuth::Post(secret),
            #[cfg(feature = "private-key-jwt")]
            (Some(pem), AuthMethod::PrivateKeyJwt) => {
                ClientAuth::PrivateKeyJwt(token_client::SigningKey {
                    pem,
                    algorithm: self.key_algorithm,
                    key_id: self.key_id.clone(),
                })
            }
            #[cfg(feature = "private-key-jwt")]
            (None, AuthMethod::PrivateKeyJwt) => {
                bail!("no key to sign with: give --client-secret-file")
            }
            (None, _) => ClientAuth::None,
        })
    }

    fn grant(&self) -> anyhow::Result<Grant> {
        if let Some(path) = &self.subject_token_file {
            return Ok(Grant::TokenExchange {
                subject_token: read(path)?,
                audience: self.audience.iter().cloned().collect(),
            });
        }
        let Some(username) = &self.username else {
            return Ok(Grant::ClientCredentials);
        };
        let password = secret(self.password_file.as_deref(), "TOKEN_CLIENT_PASSWORD")?
            .with_context(|| {
                format!(
                    "no password for {username}: give --password-file or set \
                     TOKEN_CLIENT_PASSWORD"
                )
            })?;
        Ok(Grant::Password {
            username: username.clone(),
            password,
        })
    }
}

/// A secret from a file or, where none is named, from the environment.
fn secret(path: Option<&Path>, variable: &str) -> anyhow::Result<Option<Secret>> {
    if let Some(path) = path {
        return read(path).map(Some);
    }
    match std::env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(Secret::value(value))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{variable} is not UTF-8"),
    }
}

/// A secret in a file, which is read again for each token, or on stdin.
fn read(path: &Path) -> anyhow::Result<Secret> {
    if path == Path::new("-") {
        return Ok(Secret::value(read_secret(path)?));
    }
    ensure!(path.is_file(), "{} is no file", name(path));
    Ok(Secret::file(path))
}
