//! Client authentication by a signed assertion (RFC 7523 §2.2).

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

pub use jsonwebtoken::Algorithm;

use crate::{ConfigError, Secret};

/// `client_assertion_type` of a JWT.
pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion is used at once; this is for clocks that differ.
const LIFETIME: Duration = Duration::from_mins(1);

/// The private key that a client signs its assertions with.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The key in PEM form, PKCS#8.
    pub pem: Secret,
    /// The signature algorithm; it must suit the key.
    pub algorithm: Algorithm,
    /// The `kid` under which the server knows the public key.
    pub key_id: Option<String>,
}

/// OpenID Connect Core 1.0 §9.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

impl SigningKey {
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
    ) -> Result<SecretString, ConfigError> {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            jti: uuid::Uuid::new_v4().to_string(),
            iat: since.as_secs(),
            exp: (since + LIFETIME).as_secs(),
        };
        let header = Header {
            kid: self.key_id.clone(),
            ..Header::new(self.algorithm)
        };
        let key = self.encoding_key()?;
        jsonwebtoken::encode(&header, &claims, &key)
            .map(SecretString::from)
            .map_err(ConfigError::SigningKey)
    }

    fn encoding_key(&self) -> Result<EncodingKey, ConfigError> {
        let pem = self.pem.read()?;
        let pem = pem.expose_secret().as_bytes();
        match self.algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        }
        .map_err(ConfigError::SigningKey)
    }
}
