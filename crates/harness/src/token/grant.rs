//! Grants: the tokens that Keycloak is asked for, as data in `grants.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::case::{LoadError, read_yaml};

/// Every grant, by the name that token recipes use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// The grants by name.
    pub grants: BTreeMap<String, Grant>,
}

/// One request to a realm's token endpoint. Secrets are given by the name of
/// their key in the Secrets of namespace `keycloak`, never by value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The realm that is asked.
    pub realm: String,
    /// The client that asks.
    pub client_id: String,
    /// The key of the client's secret.
    pub client_secret: String,
    /// The user who signs in (RFC 6749 §4.3); without one the client asks for
    /// itself (RFC 6749 §4.4).
    pub user: Option<User>,
}

/// A user who signs in with a password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name the user signs in with.
    pub username: String,
    /// The key of the user's password.
    pub password: String,
}

impl Grants {
    /// Reads `grants.yaml`.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        read_yaml(path)
    }
}
