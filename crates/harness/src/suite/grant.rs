//! Grants: the tokens that an issuer is asked for.

use schemars::JsonSchema;
use serde::Deserialize;

/// One request to a realm's token endpoint. Secrets are given by the names that
/// the realm import has for them, never by value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The realm that is asked.
    pub realm: String,
    /// The client that asks.
    pub client_id: String,
    /// The name of the client's secret.
    pub client_secret: String,
    /// The user who signs in (RFC 6749 §4.3); without one the client asks for
    /// itself (RFC 6749 §4.4).
    pub user: Option<User>,
}

/// A user who signs in with a password.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name the user signs in with.
    pub username: String,
    /// The name of the user's password.
    pub password: String,
}
