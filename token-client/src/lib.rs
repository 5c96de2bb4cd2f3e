#![doc = include_str!("../README.md")]

#[cfg(feature = "private-key-jwt")]
mod assertion;
pub mod batch;
mod bearer;
mod cache;
mod clock;
mod connect_to;
mod counters;
mod discovery;
mod error;
mod exchange;
pub mod jwt;
mod oauth;
mod policy;
pub mod raw;
mod reader;
mod response;
mod secret;
mod source;
mod token;

#[cfg(feature = "private-key-jwt")]
pub use assertion::{Algorithm, SigningKey};
pub use bearer::{BearerClient, CallError, token_is_refused};
pub use cache::TokenCache;
pub use clock::{Clock, SystemClock};
pub use connect_to::ConnectTo;
pub use counters::Counters;
pub use error::{ConfigError, SourceError, TokenError};
pub use exchange::Exchanger;
pub use oauth::{ClientAuth, Config, Endpoint, Grant, OAuthSource};
pub use policy::Policy;
pub use reader::TokenReader;
pub use response::TokenResponse;
pub use secret::Secret;
pub use source::TokenSource;
pub use token::Token;
