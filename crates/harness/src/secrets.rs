//! The secrets of a mesh: made at set-up, and kept in the cluster or, on the
//! local stage, in a folder that only its owner can read.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::redact::know;
use crate::suite::Suite;
use crate::token::generate_private_key;

/// The name of the password of Keycloak's administrator.
pub const ADMIN_PASSWORD: &str = "KC_BOOTSTRAP_ADMIN_PASSWORD";

/// In a Secret with a certificate: the authority's.
pub const CA_CRT: &str = "ca.crt";
/// In a Secret with a certificate: the server's.
pub const TLS_CRT: &str = "tls.crt";
/// In a Secret with a certificate: the server's key.
pub const TLS_KEY: &str = "tls.key";

/// The name of a part of a host's certificate.
pub fn part_name(host: &str, part: &str) -> String {
    format!("{host}/{part}")
}

/// The value of every `${NAME}` in the realm import, and the servers' certificates.
#[derive(Debug, Clone)]
pub struct RealmSecrets(BTreeMap<String, SecretString>);

impl RealmSecrets {
    /// New values for every name that a suite's realm import asks for: an RSA
    /// key of 2048 bits (PKCS#8 DER in base64) for a name that ends in
    /// `_PRIVATE_KEY`, and 192 random bits for any other. Certificates come in
    /// [with](Self::with).
    pub fn generate(suite: &Suite) -> Result<Self> {
        let mut secrets = BTreeMap::new();
        let names = suite.placeholders().iter().map(String::as_str);
        for name in names.chain([ADMIN_PASSWORD]) {
            let value = if name.ends_with("_PRIVATE_KEY") {
                generate_private_key()?
            } else {
                password()?
            };
            secrets.insert(name.to_owned(), value);
        }
        Ok(Self::known(secrets))
    }

    /// From here on none of them is in anything that is written. Certificates are for
    /// everybody.
    fn known(secrets: BTreeMap<String, SecretString>) -> Self {
        for (name, secret) in &secrets {
            if !name.ends_with(CA_CRT) && !name.ends_with(TLS_CRT) {
                know(secret);
            }
        }
        Self(secrets)
    }

    /// What there is by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The authorities that vouch for the servers' certificates, in PEM.
    pub fn authorities(&self) -> Vec<&str> {
        let parts = self.0.iter().filter(|(name, _)| name.ends_with(CA_CRT));
        parts.map(|(_, pem)| pem.expose_secret()).collect()
    }

    /// The same with an administrator who was there before.
    #[must_use]
    pub fn with_admin_password(self, password: SecretString) -> Self {
        self.with([(ADMIN_PASSWORD.to_owned(), password)])
    }

    /// The same with these values, by name.
    #[must_use]
    pub fn with(mut self, values: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let values = Self::known(values.into_iter().collect());
        self.0.extend(values.0);
        self
    }

    /// The value of one name.
    pub fn get(&self, name: &str) -> Result<&SecretString> {
        self.0.get(name).with_context(|| {
            format!("the mesh has no secret {name}; realm and grants must use the same names")
        })
    }
}

impl FromIterator<(String, SecretString)> for RealmSecrets {
    fn from_iter<T: IntoIterator<Item = (String, SecretString)>>(secrets: T) -> Self {
        Self::known(secrets.into_iter().collect())
    }
}

/// 192 random bits in base64url.
pub fn password() -> Result<SecretString> {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).context("no random numbers to be had")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::RealmSecrets;
    use crate::suite::tests::project;

    #[test]
    fn every_set_up_has_secrets_of_its_own() {
        let (one, two) = (
            RealmSecrets::generate(project()).unwrap(),
            RealmSecrets::generate(project()).unwrap(),
        );
        for name in [
            "MYREALM_PRIVATE_KEY",
            "FRONTEND_CLIENT_SECRET",
            "USER_PASSWORD",
        ] {
            let (one, two) = (one.get(name).unwrap(), two.get(name).unwrap());
            assert_ne!(one.expose_secret(), two.expose_secret(), "{name}");
        }
    }

    #[test]
    fn debug_output_has_no_secret() {
        let secrets = RealmSecrets::generate(project()).unwrap();
        let debug = format!("{secrets:?}");
        for value in secrets.0.values() {
            assert!(!debug.contains(value.expose_secret()));
        }
    }
}
