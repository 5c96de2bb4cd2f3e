//! Tokens and key sets as Envoy's JWT library reads them
//! (`source/common/jwt` of Envoy 1.39), with its own error texts.

mod crypto;
mod keys;
mod protojson;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

pub(crate) use keys::{Keys, Signature};

/// Seconds by which `exp` and `nbf` may be off; Istio offers no other value.
pub(crate) const CLOCK_SKEW: u64 = 60;

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Missing,
    NotYetValid,
    Expired,
    BadFormat,
    HeaderBadBase64,
    HeaderBadJson,
    HeaderBadAlg,
    HeaderUnsupportedAlg,
    HeaderBadKid,
    PayloadBadBase64,
    PayloadBadJson,
    NotAString(&'static str),
    NotAnInteger(&'static str),
    OutOfRange(&'static str),
    AudienceNotAString,
    SignatureBadBase64,
    Ed25519WrongLength,
    UnknownIssuer,
    AudienceNotAllowed,
    VerificationFails,
    NoMatchingKey,
}

impl Status {
    /// The reply's body.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Missing => "Jwt is missing",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::BadFormat => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::HeaderBadBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderBadJson => "Jwt header is an invalid JSON",
            Self::HeaderBadAlg => "Jwt header [alg] field is required and must be a string",
            Self::HeaderUnsupportedAlg => "Jwt header [alg] is not supported",
            Self::HeaderBadKid => "Jwt header [kid] field is not a string",
            Self::PayloadBadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadBadJson => "Jwt payload is an invalid JSON",
            Self::NotAString(name) => return format!("Jwt payload [{name}] field is not a string"),
            Self::NotAnInteger(name) => {
                return format!("Jwt payload [{name}] field is not an integer");
            }
            Self::OutOfRange(name) => {
                return format!("Jwt payload [{name}] field is not a positive 64 bit integer");
            }
            Self::AudienceNotAString => "Jwt payload [aud] field is not a string or string list",
            Self::SignatureBadBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::Ed25519WrongLength => "Jwt ED25519 signature is wrong length",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::AudienceNotAllowed => "Audiences in Jwt are not allowed",
            Self::VerificationFails => "Jwt verification fails",
            Self::NoMatchingKey => "Jwks doesn't have key to match kid or alg from Jwt",
        }
        .to_owned()
    }

    /// 403 for a wrong audience, 401 for everything else.
    pub(crate) fn code(self) -> u16 {
        if self == Self::AudienceNotAllowed {
            403
        } else {
            401
        }
    }

    /// `response_code_details`.
    pub(crate) fn details(self) -> String {
        format!(
            "jwt_authn_access_denied{{{}}}",
            self.text().replace(' ', "_")
        )
    }
}

/// A parsed token. It holds the signature, so it has no `Debug`.
pub(crate) struct Jwt {
    pub(crate) alg: String,
    pub(crate) kid: String,
    pub(crate) issuer: String,
    pub(crate) not_before: u64,
    pub(crate) expires: u64,
    pub(crate) audiences: Vec<String>,
    pub(crate) payload: Map<String, Value>,
    pub(crate) payload_text: String,
    signed: String,
    signature: Vec<u8>,
}

const ALGORITHMS: [&str; 13] = [
    "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
    "PS384", "PS512", "EdDSA",
];

impl Jwt {
    pub(crate) fn parse(token: &str) -> Result<Self, Status> {
        // Empty sections do not count: `a..b.c` has three.
        let sections: Vec<_> = token
            .split('.')
            .filter(|section| !section.is_empty())
            .collect();
        let [header_text, payload_text, signature_text] = sections[..] else {
            return Err(Status::BadFormat);
        };

        let header = decode(header_text).ok_or(Status::HeaderBadBase64)?;
        let header = protojson::object(&header).ok_or(Status::HeaderBadJson)?;
        let alg = header
            .get("alg")
            .and_then(Value::as_str)
            .ok_or(Status::HeaderBadAlg)?;
        if !ALGORITHMS.contains(&alg) {
            return Err(Status::HeaderUnsupportedAlg);
        }
        let kid = string(&header, "kid").map_err(|()| Status::HeaderBadKid)?;

        let payload = decode(payload_text).ok_or(Status::PayloadBadBase64)?;
        let payload = protojson::object(&payload).ok_or(Status::PayloadBadJson)?;
        let text = |name| string(&payload, name).map_err(|()| Status::NotAString(name));
        let issuer = text("iss")?;
        text("sub")?;
        seconds(&payload, "iat")?;
        let not_before = seconds(&payload, "nbf")?;
        let expires = seconds(&payload, "exp")?;
        text("jti")?;
        let audiences = audiences(&payload).ok_or(Status::AudienceNotAString)?;

        let signature = decode(signature_text).ok_or(Status::SignatureBadBase64)?;
        Ok(Self {
            alg: alg.to_owned(),
            kid,
            issuer,
            not_before,
            expires,
            audiences,
            payload_text: payload_text.to_owned(),
            signed: format!("{header_text}.{payload_text}"),
            signature,
            payload,
        })
    }

    /// `nbf` and `exp` against `now`, in seconds since 1970.
    pub(crate) fn check_times(&self, now: u64) -> Result<(), Status> {
        if now.saturating_add(CLOCK_SKEW) < self.not_before {
            return Err(Status::NotYetValid);
        }
        if self.expires != 0 && now > self.expires.saturating_add(CLOCK_SKEW) {
            return Err(Status::Expired);
        }
        Ok(())
    }
}

/// A missing string is empty; another type is an error.
fn string(object: &Map<String, Value>, name: &str) -> Result<String, ()> {
    match object.get(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(()),
    }
}

/// Numbers are doubles, cut to whole seconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked, and fractions are dropped as Envoy drops them"
)]
fn seconds(payload: &Map<String, Value>, name: &'static str) -> Result<u64, Status> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    match payload.get(name) {
        None => Ok(0),
        Some(Value::Number(number)) => match number.as_f64() {
            Some(value) if (0.0..LIMIT).contains(&value) => Ok(value as u64),
            _ => Err(Status::OutOfRange(name)),
        },
        Some(_) => Err(Status::NotAnInteger(name)),
    }
}

fn audiences(payload: &Map<String, Value>) -> Option<Vec<String>> {
    match payload.get("aud") {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(all)) => all
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    }
}

/// Whether one of the token's audiences is allowed; no list allows any.
pub(crate) fn audience_allowed(allowed: &[String], had: &[String]) -> bool {
    allowed.is_empty()
        || had.iter().any(|one| {
            allowed
                .iter()
                .any(|other| bare_audience(other) == bare_audience(one))
        })
}

/// Neither the scheme nor one last slash counts.
pub(crate) fn bare_audience(audience: &str) -> &str {
    let bare = audience
        .strip_prefix("http://")
        .or_else(|| audience.strip_prefix("https://"))
        .unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}

/// Base64url as abseil reads it: white space is skipped, padding is absent or
/// exact, unused bits may be anything.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let digits = dense.trim_end_matches('=');
    let padding = dense.len() - digits.len();
    let exact = (4 - digits.len() % 4) % 4;
    (padding == 0 || padding == exact)
        .then(|| LENIENT.decode(digits).ok())
        .flatten()
}
