//! Tokens by recipe, and the keys of a run that sign them.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::token::{offset_from_now, rsa_padding};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A token: what is signed, by which key, and what is done to it then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The header (RFC 7515 §4).
    #[serde(default)]
    pub header: Map<String, Value>,
    /// The claims. A string such as `now`, `now-30s` or `now+600.5s` stands for that
    /// time in seconds since 1970.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// The key that signs, by the `alg` of the header; without one nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is done to it after that, behind the signer's back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<Defect>,
}

/// What is done to a signed token. `HEADER.CLAIMS.SIGNATURE` are its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// Its parts are put into this text, where `{header}`, `{claims}` and
    /// `{signature}` stand for them.
    Layout(String),
    /// This JSON text, base64url-encoded, is its header instead.
    Header(String),
    /// This JSON text, base64url-encoded, is its payload instead.
    Claims(String),
    /// The last character of the signature is another.
    LastCharacter,
}

impl Token {
    /// The token as it is sent.
    pub fn text(&self, keyring: &Keyring, now: u64) -> Result<String> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let mut header = encode(&Value::Object(self.header.clone()).to_string());
        let mut claims = encode(&timed(&Value::Object(self.claims.clone()), now)?.to_string());
        let signature = match &self.key {
            None => Vec::new(),
            Some(key) => {
                let alg = self.header.get("alg").and_then(Value::as_str);
                let message = format!("{header}.{claims}");
                keyring.sign(key, alg.unwrap_or_default(), message.as_bytes())?
            }
        };
        let mut signature = URL_SAFE_NO_PAD.encode(signature);
        match &self.defect {
            None => {}
            Some(Defect::Layout(layout)) => {
                return Ok(layout
                    .replace("{header}", &header)
                    .replace("{claims}", &claims)
                    .replace("{signature}", &signature));
            }
            Some(Defect::Header(text)) => header = encode(text),
            Some(Defect::Claims(text)) => claims = encode(text),
            Some(Defect::LastCharacter) => {
                let last = signature.pop();
                signature.push(if last == Some('A') { 'B' } else { 'A' });
            }
        }
        Ok(format!("{header}.{claims}.{signature}"))
    }
}

/// The claims with their times told.
fn timed(claims: &Value, now: u64) -> Result<Value> {
    Ok(match claims {
        Value::String(text) => match offset_from_now(text) {
            Some(offset) => moved(now, offset?),
            None => claims.clone(),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| timed(item, now))
            .collect::<Result<_>>()?,
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| Ok((name.clone(), timed(value, now)?)))
            .collect::<Result<_>>()?,
        _ => claims.clone(),
    })
}

/// Whole seconds are an integer, others are not.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since 1970 are far below what a double holds"
)]
fn moved(now: u64, offset: SignedDuration) -> Value {
    match offset.subsec_nanos() {
        0 => json!(now.saturating_add_signed(offset.as_secs())),
        _ => json!(now as f64 + offset.as_secs_f64()),
    }
}

/// The keys of a run, by name.
pub struct Keyring {
    keys: BTreeMap<&'static str, Key>,
    random: SystemRandom,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec {
        curve: &'static str,
        /// The same key for each hash that the library signs with on its curve,
        /// by the algorithm that asks for it. The first is for any other.
        pairs: Vec<(&'static str, EcdsaKeyPair)>,
    },
    Ed25519(Ed25519KeyPair),
    Secret(&'static [u8]),
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

/// No secret: it is the same in each run, and only throw-away sidecars know it.
const SHARED_SECRET: &[u8] = b"a secret that everybody may know";

impl Keyring {
    /// The names of the keys.
    pub const NAMES: [&str; 7] = [
        "rsa",
        "foreign-rsa",
        "p256",
        "p384",
        "p521",
        "ed25519",
        "secret",
    ];

    /// New keys under the old names.
    pub fn generate() -> Result<Self> {
        let rsa = || {
            Ok::<_, aws_lc_rs::error::Unspecified>(Key::Rsa(rsa::KeyPair::generate(
                KeySize::Rsa2048,
            )?))
        };
        let keys = BTreeMap::from([
            ("rsa", rsa()?),
            ("foreign-rsa", rsa()?),
            (
                "p256",
                ec(
                    "P-256",
                    &[("ES256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING)],
                )?,
            ),
            (
                "p384",
                ec(
                    "P-384",
                    &[("ES384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING)],
                )?,
            ),
            (
                "p521",
                ec(
                    "P-521",
                    &[
                        ("ES256", &signature::ECDSA_P521_SHA256_FIXED_SIGNING),
                        ("ES384", &signature::ECDSA_P521_SHA384_FIXED_SIGNING),
                        ("ES512", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
                    ],
                )?,
            ),
            ("ed25519", Key::Ed25519(Ed25519KeyPair::generate()?)),
            ("secret", Key::Secret(SHARED_SECRET)),
        ]);
        Ok(Self {
            keys,
            random: SystemRandom::new(),
        })
    }

    /// A key's public members (RFC 7518 §6), without `kid` and `alg`.
    pub fn public(&self, name: &str) -> Option<Map<String, Value>> {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self.keys.get(name)? {
            Key::Rsa(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": base64(key.modulus().big_endian_without_leading_zero()),
                    "e": base64(key.exponent().big_endian_without_leading_zero()),
                })
            }
            Key::Ec { curve, pairs } => {
                // An uncompressed point: 4, x, y.
                let point = &pairs.first()?.1.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
            }
            Key::Ed25519(pair) => {
                let x = base64(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
            Key::Secret(secret) => json!({"kty": "oct", "k": base64(secret)}),
        };
        members.as_object().cloned()
    }

    fn sign(&self, name: &str, alg: &str, message: &[u8]) -> Result<Vec<u8>> {
        let key = self
            .keys
            .get(name)
            .with_context(|| format!("no key named {name}; there are {:?}", Self::NAMES))?;
        Ok(match key {
            Key::Rsa(pair) => {
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_padding(alg), &self.random, message, &mut bytes)?;
                bytes
            }
            Key::Ec { pairs, .. } => {
                let fitting = pairs.iter().find(|(name, _)| *name == alg);
                let (_, pair) = fitting.or(pairs.first()).context("a key has a pair")?;
                pair.sign(&self.random, message)?.as_ref().to_vec()
            }
            Key::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Secret(secret) => {
                let algorithm = match alg {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), message)
                    .as_ref()
                    .to_vec()
            }
        })
    }
}

fn ec(
    curve: &'static str,
    algorithms: &[(&'static str, &'static EcdsaSigningAlgorithm)],
) -> Result<Key> {
    let (_, first) = algorithms.first().context("a curve has an algorithm")?;
    let key = EcdsaKeyPair::generate(first)?.to_pkcs8v1()?;
    let pairs = algorithms
        .iter()
        .map(|(alg, algorithm)| Ok((*alg, EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref())?)))
        .collect::<Result<_>>()?;
    Ok(Key::Ec { curve, pairs })
}
