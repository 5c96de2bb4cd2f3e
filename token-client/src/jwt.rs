//! A look into a JSON Web Token (RFC 7519) without any verification.

use std::time::{Duration, SystemTime};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// Header and claims of a token, as it says; **nothing is verified**.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// The JOSE header (RFC 7515 §4).
    pub header: Map<String, Value>,
    /// The claims set (RFC 7519 §4).
    pub claims: Map<String, Value>,
}

/// Why a text is no JWT. Never quotes the text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not `header.payload.signature` (RFC 7515 §7.1).
    #[error("a JWT has three parts with dots between them, this has {0}")]
    Parts(usize),
    /// A part that is no base64url.
    #[error("the {0} is not base64url")]
    Base64(&'static str),
    /// A part that is no JSON object.
    #[error("the {0} is not a JSON object")]
    Json(&'static str),
}

/// Decodes header and claims of a compact JWS; the signature is not looked at.
pub fn decode(token: &str) -> Result<Unverified, DecodeError> {
    let parts: Vec<&str> = token.trim().split('.').collect();
    let [header, claims, _signature] = parts[..] else {
        return Err(DecodeError::Parts(parts.len()));
    };
    Ok(Unverified {
        header: object(header, "header")?,
        claims: object(claims, "payload")?,
    })
}

impl Unverified {
    /// A claim that holds a moment (`exp`, `iat`, `nbf`: RFC 7519 §2,
    /// NumericDate). `None` if it is absent or no such moment.
    pub fn moment(&self, claim: &str) -> Option<SystemTime> {
        let seconds = self.claims.get(claim)?.as_f64()?;
        let since = Duration::try_from_secs_f64(seconds).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}

fn object(part: &str, name: &'static str) -> Result<Map<String, Value>, DecodeError> {
    // Padding is not allowed, but a reader's tool need not be stricter than
    // what it shows.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let json = LENIENT
        .decode(part)
        .map_err(|_| DecodeError::Base64(name))?;
    serde_json::from_slice(&json).map_err(|_| DecodeError::Json(name))
}
