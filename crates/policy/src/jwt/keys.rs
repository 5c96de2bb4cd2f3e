//! Key sets, and which key a token's signature is checked with.

use serde_json::{Map, Value};

use super::crypto::{self, Curve, Hash, Padding};
use super::protojson;
use super::{Jwt, Status, decode};

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
        let digits = without_zeros(number);
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
                if !standard.contains(&without_zeros(&e)) {
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
        // SHA-256 where the token names none of an algorithm of the key's kind.
        let hash = Hash::of(&jwt.alg);
        match &self.material {
            Material::Opaque => Signature::NotModelled,
            Material::Rsa { n, e } => {
                let padding = match jwt.alg.get(..2) {
                    Some("RS") => Padding::Pkcs1,
                    Some("PS") => Padding::Pss,
                    _ => return bad,
                };
                // The same for every algorithm, so it is known also for those
                // that the library does not offer.
                if jwt.signature.len() != without_zeros(n).len() {
                    return bad;
                }
                let good = crypto::rsa(n, e, padding, hash, message, &jwt.signature);
                good.map_or(Signature::NotModelled, judge)
            }
            Material::Ec { curve, point } => {
                let Some(signature) = curve.fixed_signature(&jwt.signature) else {
                    return bad;
                };
                let hash = if jwt.alg.starts_with("ES") {
                    hash
                } else {
                    Hash::Sha256
                };
                judge(crypto::ecdsa(*curve, hash, point, message, &signature))
            }
            Material::Oct(secret) => {
                let hash = if jwt.alg.starts_with("HS") {
                    hash
                } else {
                    Hash::Sha256
                };
                judge(crypto::hmac(hash, secret, message, &jwt.signature))
            }
            Material::Ed25519(_) if jwt.signature.len() != 64 => {
                Signature::Bad(Status::Ed25519WrongLength)
            }
            Material::Ed25519(key) => judge(crypto::ed25519(key, message, &jwt.signature)),
        }
    }
}

/// Whether BoringSSL takes a number for an RSA modulus: odd, of 512 to 16384 bits.
fn is_modulus(n: &[u8]) -> bool {
    (512..=16384).contains(&crypto::bits(n)) && n.last().is_some_and(|last| last % 2 == 1)
}

/// The curve that `alg` and `crv` name; without either it is P-256.
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
    crypto::is_on_curve(curve, &point).then_some(point)
}

/// The significant bytes of a number.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
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
