//! Tokens and key sets as Envoy's JWT library reads them
//! (`source/common/jwt` of Envoy 1.39), with its own error texts.

use aws_lc_rs::signature::VerificationAlgorithm;
use aws_lc_rs::{hmac, signature};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::protojson;

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

/// The valid keys of a set.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    kid: String,
    alg: String,
    material: Material,
}

enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Oct(Vec<u8>),
    Ed25519(Vec<u8>),
    /// Valid for Envoy, but not checked here (a certificate).
    Opaque,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// A number in as many bytes as the curve needs.
    fn fixed(self, number: &[u8]) -> Option<Vec<u8>> {
        let start = number.iter().take_while(|byte| **byte == 0).count();
        let digits = &number[start..];
        let mut fixed = vec![0; self.size().checked_sub(digits.len())?];
        fixed.extend(digits);
        Some(fixed)
    }

    /// Envoy takes each half of a signature for a number, whatever its length;
    /// an odd byte at the end does not count.
    fn fixed_signature(self, signature: &[u8]) -> Option<Vec<u8>> {
        let half = signature.len() / 2;
        let mut fixed = self.fixed(&signature[..half])?;
        fixed.extend(self.fixed(&signature[half..2 * half])?);
        Some(fixed)
    }

    /// Envoy takes the hash from the token, SHA-256 if it names none of ECDSA's
    /// algorithms, and the curve from the key.
    fn verify(self, alg: &str, point: &[u8], message: &[u8], fixed: &[u8]) -> bool {
        let verifies = |algorithm: &'static dyn VerificationAlgorithm, signature: &[u8]| {
            let key = signature::UnparsedPublicKey::new(algorithm, point);
            key.verify(message, signature).is_ok()
        };
        match (self, alg) {
            (Self::P256, "ES384") => verifies(&signature::ECDSA_P256_SHA384_ASN1, &asn1(fixed)),
            (Self::P256, "ES512") => verifies(&signature::ECDSA_P256_SHA512_ASN1, &asn1(fixed)),
            (Self::P256, _) => verifies(&signature::ECDSA_P256_SHA256_FIXED, fixed),
            (Self::P384, "ES384") => verifies(&signature::ECDSA_P384_SHA384_FIXED, fixed),
            (Self::P384, "ES512") => verifies(&signature::ECDSA_P384_SHA512_ASN1, &asn1(fixed)),
            (Self::P384, _) => verifies(&signature::ECDSA_P384_SHA256_ASN1, &asn1(fixed)),
            (Self::P521, "ES384") => verifies(&signature::ECDSA_P521_SHA384_FIXED, fixed),
            (Self::P521, "ES512") => verifies(&signature::ECDSA_P521_SHA512_FIXED, fixed),
            (Self::P521, _) => verifies(&signature::ECDSA_P521_SHA256_FIXED, fixed),
        }
    }
}

/// Both halves of a signature as a sequence of two integers, for the hashes that
/// the library takes in no other form. It fits P-256 and P-384, which need no
/// more than 127 bytes.
fn asn1(fixed: &[u8]) -> Vec<u8> {
    const INTEGER: u8 = 2;
    const SEQUENCE: u8 = 0x30;
    let mut integers = Vec::with_capacity(fixed.len() + 6);
    for half in fixed.chunks(fixed.len() / 2) {
        let zeros = half.iter().take_while(|byte| **byte == 0).count();
        let digits = &half[zeros.min(half.len() - 1)..];
        let positive = (digits[0] >= 0x80).then_some(0);
        let bytes: Vec<u8> = positive.into_iter().chain(digits.iter().copied()).collect();
        integers.push(INTEGER);
        integers.push(u8::try_from(bytes.len()).expect("at most 49 bytes"));
        integers.extend(bytes);
    }
    let length = u8::try_from(integers.len()).expect("at most 102 bytes");
    [vec![SEQUENCE, length], integers].concat()
}

/// What checking a signature came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    Good,
    Bad(Status),
    /// A key or combination that this crate does not check.
    NotModelled,
}

impl Keys {
    /// Invalid keys are skipped. A set without a valid one is none: Envoy refuses
    /// the whole configuration.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let set = protojson::object(text.as_bytes())?;
        let keys: Vec<_> = match set.get("keys") {
            Some(Value::Array(keys)) => keys.iter().filter_map(Key::parse).collect(),
            Some(_) => Vec::new(),
            None => certificates(&set),
        };
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The key ids, for messages.
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.kid.as_str()).collect()
    }

    /// Whether a key can be meant by the token's `kid` and `alg`.
    pub(crate) fn has_eligible(&self, jwt: &Jwt) -> bool {
        self.0.iter().any(|key| key.is_eligible(jwt))
    }

    /// Tries every key that can be meant.
    pub(crate) fn verify(&self, jwt: &Jwt) -> Signature {
        let mut eligible = false;
        let mut not_modelled = false;
        for key in self.0.iter().filter(|key| key.is_eligible(jwt)) {
            eligible = true;
            match key.verify(jwt) {
                Signature::Bad(Status::VerificationFails) => {}
                Signature::NotModelled => not_modelled = true,
                decided => return decided,
            }
        }
        match (eligible, not_modelled) {
            (false, _) => Signature::Bad(Status::NoMatchingKey),
            (true, true) => Signature::NotModelled,
            (true, false) => Signature::Bad(Status::VerificationFails),
        }
    }
}

impl Key {
    fn parse(jwk: &Value) -> Option<Self> {
        let field = |name: &str| jwk.get(name).and_then(Value::as_str);
        let alg = field("alg").unwrap_or_default();
        let bytes = |name: &str| field(name).and_then(decode);
        let material = match field("kty")? {
            "RSA" => {
                if !alg.is_empty() && !alg.starts_with("RS") && !alg.starts_with("PS") {
                    return None;
                }
                let e = bytes("e")?;
                let standard = [&[3][..], &[1, 0, 1][..]];
                let trimmed = &e[e.iter().take_while(|byte| **byte == 0).count()..];
                if !standard.contains(&trimmed) {
                    return None;
                }
                Material::Rsa {
                    n: bytes("n").filter(|n| is_modulus(n))?,
                    e,
                }
            }
            "EC" => {
                let curve = curve(alg, field("crv").unwrap_or_default())?;
                Material::Ec {
                    curve,
                    point: point(curve, &bytes("x")?, &bytes("y")?)?,
                }
            }
            "oct" => {
                if !alg.is_empty() && !["HS256", "HS384", "HS512"].contains(&alg) {
                    return None;
                }
                Material::Oct(bytes("k").filter(|key| !key.is_empty())?)
            }
            "OKP" => {
                if (!alg.is_empty() && alg != "EdDSA") || field("crv")? != "Ed25519" {
                    return None;
                }
                Material::Ed25519(bytes("x").filter(|key| key.len() == 32)?)
            }
            _ => return None,
        };
        Some(Self {
            kid: field("kid").unwrap_or_default().to_owned(),
            alg: alg.to_owned(),
            material,
        })
    }

    /// A key is passed over only if both sides name a different `kid` or `alg`.
    fn is_eligible(&self, jwt: &Jwt) -> bool {
        let kid = jwt.kid.is_empty() || self.kid.is_empty() || jwt.kid == self.kid;
        let alg = self.alg.is_empty() || self.alg == jwt.alg;
        kid && alg
    }

    fn verify(&self, jwt: &Jwt) -> Signature {
        let bad = Signature::Bad(Status::VerificationFails);
        let message = jwt.signed.as_bytes();
        let judge = |good: bool| if good { Signature::Good } else { bad };
        match &self.material {
            Material::Opaque => Signature::NotModelled,
            Material::Rsa { n, e } => {
                let key = signature::RsaPublicKeyComponents { n, e };
                let size = n.len() - n.iter().take_while(|byte| **byte == 0).count();
                // The same for every algorithm, so it is known also for those
                // that the library does not offer for small keys.
                if jwt.signature.len() != size {
                    return bad;
                }
                let small = size < 256;
                let parameters = match jwt.alg.as_str() {
                    "RS256" => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                    "RS512" => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                    "RS384" | "PS256" | "PS384" | "PS512" if small => {
                        return Signature::NotModelled;
                    }
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return bad,
                };
                judge(key.verify(parameters, message, &jwt.signature).is_ok())
            }
            Material::Ec { curve, point } => {
                let Some(signature) = curve.fixed_signature(&jwt.signature) else {
                    return bad;
                };
                judge(curve.verify(&jwt.alg, point, message, &signature))
            }
            Material::Oct(secret) => {
                let algorithm = match jwt.alg.as_str() {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(algorithm, secret);
                judge(hmac::verify(&key, message, &jwt.signature).is_ok())
            }
            Material::Ed25519(_) if jwt.signature.len() != 64 => {
                Signature::Bad(Status::Ed25519WrongLength)
            }
            Material::Ed25519(key) => {
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
                judge(key.verify(message, &jwt.signature).is_ok())
            }
        }
    }
}

/// The curve that `alg` and `crv` name; without either it is P-256.
/// Whether BoringSSL takes a number for an RSA modulus: odd, of 512 to 16384 bits.
fn is_modulus(n: &[u8]) -> bool {
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    let digits = &n[zeros..];
    let (Some(first), Some(last)) = (digits.first(), digits.last()) else {
        return false;
    };
    let bits = digits.len() * 8 - first.leading_zeros() as usize;
    (512..=16384).contains(&bits) && last % 2 == 1
}

fn curve(alg: &str, crv: &str) -> Option<Curve> {
    let by_alg = match alg {
        "" => None,
        "ES256" => Some(Curve::P256),
        "ES384" => Some(Curve::P384),
        "ES512" => Some(Curve::P521),
        _ => return None,
    };
    let by_crv = match crv {
        "" => None,
        "P-256" => Some(Curve::P256),
        "P-384" => Some(Curve::P384),
        "P-521" => Some(Curve::P521),
        _ => return None,
    };
    match (by_alg, by_crv) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => Some(one.or(other).unwrap_or(Curve::P256)),
    }
}

/// The uncompressed point, if it lies on the curve.
fn point(curve: Curve, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let mut point = vec![4];
    point.extend(curve.fixed(x)?);
    point.extend(curve.fixed(y)?);
    let algorithm = match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
        Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
    };
    signature::ParsedPublicKey::new(algorithm, &point)
        .is_ok()
        .then_some(point)
}

/// Instead of `keys`, a set may hold certificates by key id.
fn certificates(set: &Map<String, Value>) -> Vec<Key> {
    let certificate = |value: &Value| {
        value.as_str().is_some_and(|text| {
            text.starts_with("-----BEGIN CERTIFICATE-----\n")
                && text.ends_with("\n-----END CERTIFICATE-----\n")
        })
    };
    if !set.values().all(certificate) {
        return Vec::new();
    }
    set.keys()
        .map(|kid| Key {
            kid: kid.clone(),
            alg: String::new(),
            material: Material::Opaque,
        })
        .collect()
}
