//! OAuth 2.0 access tokens for services: obtained, kept, refreshed in time.
//!
//! A service makes one [`TokenCache`] and asks it for a [`Token`] before each
//! call. The cache fetches, keeps and refreshes; the service never thinks of
//! expiry.
//!
//! ```no_run
//! use token_client::{Config, OAuthSource, Policy, Secret, TokenCache};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = "http://keycloak.keycloak/realms/myrealm/protocol/openid-connect/token";
//! let secret = Secret::file("/var/run/secrets/frontend/client-secret");
//! let config = Config::client_credentials(endpoint.parse()?, "frontend", secret);
//! let cache = TokenCache::new(OAuthSource::new(config)?, Policy::default());
//!
//! let token = cache.get().await?;
//! let request = reqwest::Client::new()
//!     .get("http://backend.demo/data")
//!     .header("authorization", token.authorization());
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "private-key-jwt")]
mod assertion;
pub mod batch;
mod bearer;
mod cache;
mod clock;
mod counters;
mod discovery;
mod error;
mod exchange;
pub mod jwt;
mod oauth;
mod policy;
mod response;
mod secret;
mod source;
mod token;

#[cfg(feature = "private-key-jwt")]
pub use assertion::{Algorithm, SigningKey};
pub use bearer::{BearerClient, CallError, token_is_refused};
pub use cache::TokenCache;
pub use clock::{Clock, SystemClock};
pub use counters::Counters;
pub use error::{ConfigError, SourceError, TokenError};
pub use exchange::Exchanger;
pub use oauth::{ClientAuth, Config, Endpoint, Grant, OAuthSource};
pub use policy::Policy;
pub use response::TokenResponse;
pub use secret::Secret;
pub use source::TokenSource;
pub use token::Token;
