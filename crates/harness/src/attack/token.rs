//! Hostile tokens: what no honest issuer would write, and what is done to a good
//! one behind its back.

use std::borrow::Cow;
use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::wire::{Filling, fill};
use crate::token::{Edits, Mint, Object, Recipe, Signer, Token, edited};

/// How the token of an attack comes about.
#[derive(Clone, Debug)]
pub enum HostileToken {
    /// As in the table of cases.
    Recipe(Recipe),
    /// Put together from parts, none of which need be in order.
    Jws(Box<Jws>),
}

impl Default for HostileToken {
    fn default() -> Self {
        Self::Recipe(Recipe::None)
    }
}

impl JsonSchema for HostileToken {
    fn schema_name() -> Cow<'static, str> {
        "HostileToken".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A recipe as cases have it, or `jws`: parts that need not be in order.",
            "anyOf": [
                generator.subschema_for::<Recipe>(),
                {
                    "type": "object",
                    "properties": {"jws": generator.subschema_for::<Jws>()},
                    "required": ["jws"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// By hand, since an untagged enum could not say what is wrong.
impl<'de> Deserialize<'de> for HostileToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = match value.get("jws") {
            Some(jws) => serde_json::from_value(jws.clone()).map(|jws| Self::Jws(Box::new(jws))),
            None => serde_json::from_value(value).map(Self::Recipe),
        };
        read.map_err(serde::de::Error::custom)
    }
}

/// A token in compact form (RFC 7515 §7.1) and every way to spoil it.
///
/// In texts, `<members>` stands for the members of the header or the claims as
/// they would have been, and `{bytes:…}` and `{repeat:…}` for what they stand for
/// in requests. In the header's values `{foreign_jwk}` is the public key of the
/// foreign key, `{foreign_x5c}` a certificate of the attacker's own and `{kid}`
/// the realm's key id.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jws {
    /// The grant whose access token is the model.
    pub like: String,
    /// Edits of the header.
    #[serde(default)]
    pub header: Edits,
    /// Edits of the claims.
    #[serde(default)]
    pub claims: Edits,
    /// The header's JSON text, if not that of an object.
    pub header_text: Option<String>,
    /// The claims' JSON text, if not that of an object.
    pub claims_text: Option<String>,
    /// How the header is encoded.
    #[serde(default)]
    pub header_as: Encoding,
    /// How the claims are encoded.
    #[serde(default)]
    pub claims_as: Encoding,
    /// Who signs.
    #[serde(default)]
    pub sign_with: SignWith,
    /// What is done to the signature's bytes.
    #[serde(default)]
    pub signature: Signature,
    /// How the signature is encoded.
    #[serde(default)]
    pub signature_as: Encoding,
    /// How the parts stand together.
    #[serde(default = "compact")]
    pub layout: String,
}

fn compact() -> String {
    "{header}.{claims}.{signature}".to_owned()
}

/// How bytes become text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Base64url without padding, as a JWS has it.
    #[default]
    UrlSafe,
    /// Base64url with padding.
    Padded,
    /// Base64 with `+` and `/`.
    Standard,
    /// The same bytes, but the last character has bits that encode nothing set.
    LooseBits,
    /// Not at all.
    Plain,
    /// Hexadecimal.
    Hex,
}

/// Whose key signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignWith {
    /// The realm's.
    #[default]
    RealmKey,
    /// An RSA key that no realm knows.
    ForeignKey,
    /// The same on P-256.
    ForeignEcKey,
    /// The same, Ed25519.
    ForeignEd25519Key,
    /// HMAC keyed with the realm's public key in PEM.
    PublicKeyAsHmacSecret,
    /// HMAC keyed with the modulus of the realm's public key, in DER.
    PublicKeyDerAsHmacSecret,
    /// HMAC keyed with this text.
    HmacSecret(String),
    /// Nobody: the signature is empty.
    Nothing,
}

/// What is done to a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// Nothing.
    #[default]
    AsSigned,
    /// The first bit is another.
    FlipFirstBit,
    /// The last bit is another.
    FlipLastBit,
    /// The last byte is missing.
    DropLastByte,
    /// The first byte is missing.
    DropFirstByte,
    /// There is a zero byte more at the end.
    AppendZero,
    /// There is a zero byte more at the beginning.
    PrependZero,
    /// It stands there twice.
    Twice,
    /// Backwards.
    Reversed,
    /// So many zero bytes.
    Zeros(usize),
    /// So many bytes of 255.
    Ones(usize),
    /// That of the granted token that is the model.
    OfTheModel,
    /// That of this grant's token.
    Of(String),
}

/// Makes hostile tokens.
pub struct Smith<'a> {
    /// What the realm can make.
    pub mint: Mint<'a>,
    foreign_ec: EcdsaKeyPair,
    foreign_ed25519: Ed25519KeyPair,
    certificate: Vec<u8>,
}

impl fmt::Debug for Smith<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smith").finish_non_exhaustive()
    }
}

impl HostileToken {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Recipe(Recipe::None))
    }

    /// The grants whose tokens this needs.
    pub fn grant(&self) -> Vec<&str> {
        match self {
            Self::Recipe(recipe) => recipe.grant().into_iter().collect(),
            Self::Jws(jws) => match &jws.signature {
                Signature::Of(grant) => vec![&jws.like, grant],
                _ => vec![&jws.like],
            },
        }
    }
}

impl fmt::Display for HostileToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipe(Recipe::None) => write!(f, "none"),
            Self::Recipe(recipe) => write!(f, "{}: {recipe}", recipe.provenance()),
            Self::Jws(jws) => write!(f, "put together like {}", jws.like),
        }
    }
}

impl<'a> Smith<'a> {
    /// A smith with keys of its own besides the mint's.
    pub fn new(mint: Mint<'a>) -> Result<Self> {
        let ec = KeyPair::generate()?;
        let certificate = CertificateParams::default().self_signed(&ec)?;
        let foreign_ec =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &ec.serialize_der())
                .map_err(|_| anyhow!("the foreign EC key cannot be read back"))?;
        Ok(Self {
            mint,
            foreign_ec,
            foreign_ed25519: Ed25519KeyPair::generate().map_err(|_| anyhow!("no Ed25519 key"))?,
            certificate: certificate.der().to_vec(),
        })
    }

    /// The token's bytes, and the claims that it bears.
    pub fn make(&self, recipe: &HostileToken, now: Timestamp) -> Result<(Vec<u8>, Object)> {
        match recipe {
            HostileToken::Recipe(recipe) => {
                let Token { text, claims, .. } = self.mint.make(recipe, now)?;
                Ok((text.expose_secret().as_bytes().to_vec(), claims))
            }
            HostileToken::Jws(jws) => self.put_together(jws, now),
        }
    }

    fn put_together(&self, jws: &Jws, now: Timestamp) -> Result<(Vec<u8>, Object)> {
        let model = self.model(&jws.like)?;
        let [header, claims, _] = &model[..] else {
            anyhow::bail!("the access token of `{}` is no JWT", jws.like);
        };
        let object = |part: &str| -> Result<Object> {
            Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
        };
        let model_header = object(header)?;
        let kid = model_header
            .get("kid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let mut header = edited(model_header, &jws.header, now);
        header
            .values_mut()
            .for_each(|value| self.fill_header(value, &kid));
        let claims = edited(object(claims)?, &jws.claims, now);
        let header_part = jws
            .header_as
            .encode(&text_of(&header, jws.header_text.as_deref())?);
        let claims_part = jws
            .claims_as
            .encode(&text_of(&claims, jws.claims_text.as_deref())?);
        let message = [&header_part[..], b".", &claims_part].concat();
        let alg = header.get("alg").cloned().unwrap_or_default();
        let realm = self.mint.realm_of(&jws.like)?;
        let signed = self.sign(realm, &jws.sign_with, &alg, &message)?;
        let signature = jws
            .signature_as
            .encode(&self.spoil(&jws.signature, signed, &jws.like)?);
        let mut text = Vec::new();
        let mut rest = jws.layout.as_str();
        while let Some(start) = rest.find('{') {
            text.extend_from_slice(&rest.as_bytes()[..start]);
            let end = rest[start..]
                .find('}')
                .context("a `{` without `}` in `layout`")?
                + start;
            match &rest[start + 1..end] {
                "header" => text.extend_from_slice(&header_part),
                "claims" => text.extend_from_slice(&claims_part),
                "signature" => text.extend_from_slice(&signature),
                _ => text.extend(literal(&rest[start..=end])?),
            }
            rest = &rest[end + 1..];
        }
        text.extend_from_slice(rest.as_bytes());
        Ok((text, claims))
    }

    fn model(&self, grant: &str) -> Result<Vec<String>> {
        let token = self
            .mint
            .make(&Recipe::Granted(grant.to_owned()), Timestamp::now())?;
        Ok(token
            .text
            .expose_secret()
            .split('.')
            .map(str::to_owned)
            .collect())
    }

    fn fill_header(&self, value: &mut Value, kid: &str) {
        match value {
            Value::String(text) if text == "{foreign_jwk}" => {
                *value = self.mint.keyring.foreign_jwk();
            }
            Value::String(text) if text == "{foreign_x5c}" => {
                *value = json!(STANDARD.encode(&self.certificate));
            }
            Value::String(text) => {
                let filled = literal(&text.replace("{kid}", kid));
                *text = String::from_utf8_lossy(&filled.unwrap_or_default()).into_owned();
            }
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| self.fill_header(item, kid)),
            Value::Object(members) => members
                .values_mut()
                .for_each(|value| self.fill_header(value, kid)),
            _ => {}
        }
    }

    fn sign(&self, realm: &str, with: &SignWith, alg: &Value, message: &[u8]) -> Result<Vec<u8>> {
        let keyring = self.mint.keyring;
        Ok(match with {
            SignWith::RealmKey => keyring.sign(realm, Signer::RealmKey, alg, message)?,
            SignWith::ForeignKey => keyring.sign(realm, Signer::ForeignKey, alg, message)?,
            SignWith::Nothing => Vec::new(),
            SignWith::ForeignEcKey => self
                .foreign_ec
                .sign(&SystemRandom::new(), message)
                .map_err(|_| anyhow!("signing failed"))?
                .as_ref()
                .to_vec(),
            SignWith::ForeignEd25519Key => self.foreign_ed25519.sign(message).as_ref().to_vec(),
            SignWith::PublicKeyAsHmacSecret => {
                mac(alg, keyring.public_key_pem(realm)?.as_bytes(), message)
            }
            SignWith::PublicKeyDerAsHmacSecret => {
                mac(alg, &keyring.public_key_der(realm)?, message)
            }
            SignWith::HmacSecret(secret) => mac(alg, secret.as_bytes(), message),
        })
    }

    fn spoil(&self, how: &Signature, mut bytes: Vec<u8>, like: &str) -> Result<Vec<u8>> {
        let of = |grant: &str| -> Result<Vec<u8>> {
            let parts = self.model(grant)?;
            Ok(URL_SAFE_NO_PAD.decode(parts.last().map_or("", |part| part))?)
        };
        match how {
            Signature::AsSigned => {}
            Signature::FlipFirstBit => flip(bytes.first_mut(), 0x80),
            Signature::FlipLastBit => flip(bytes.last_mut(), 1),
            Signature::DropLastByte => drop(bytes.pop()),
            Signature::DropFirstByte => drop(bytes.drain(..1)),
            Signature::AppendZero => bytes.push(0),
            Signature::PrependZero => bytes.insert(0, 0),
            Signature::Twice => bytes.extend(bytes.clone()),
            Signature::Reversed => bytes.reverse(),
            Signature::Zeros(length) => bytes = vec![0; *length],
            Signature::Ones(length) => bytes = vec![255; *length],
            Signature::OfTheModel => bytes = of(like)?,
            Signature::Of(grant) => bytes = of(grant)?,
        }
        Ok(bytes)
    }
}

fn flip(byte: Option<&mut u8>, bit: u8) {
    if let Some(byte) = byte {
        *byte ^= bit;
    }
}

/// HMAC with the hash that `alg` names (RFC 7518 §3.2).
fn mac(alg: &Value, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match alg.as_str() {
        Some("HS384") => hmac::HMAC_SHA384,
        Some("HS512") => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(algorithm, secret), message)
        .as_ref()
        .to_vec()
}

fn text_of(object: &Object, text: Option<&str>) -> Result<Vec<u8>> {
    let json = Value::Object(object.clone()).to_string();
    let Some(text) = text else {
        return Ok(json.into_bytes());
    };
    let members = &json[1..json.len() - 1];
    literal(&text.replace("<members>", members))
}

fn literal(text: &str) -> Result<Vec<u8>> {
    let nothing = Filling {
        id: "",
        token: b"",
        other_token: b"",
        host: "",
    };
    fill(text, &nothing).map_err(|problem| anyhow!(problem))
}

impl Encoding {
    fn encode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::UrlSafe => URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
            Self::Padded => another(URL_SAFE.encode(bytes), bytes),
            Self::Standard => another(STANDARD.encode(bytes), bytes),
            Self::LooseBits => loosen(URL_SAFE_NO_PAD.encode(bytes).into_bytes(), bytes.len()),
            Self::Plain => bytes.to_vec(),
            Self::Hex => bytes
                .iter()
                .flat_map(|byte| format!("{byte:02x}").into_bytes())
                .collect(),
        }
    }
}

/// The text, made to differ from what it would have been in base64url where it
/// happens not to.
fn another(text: String, bytes: &[u8]) -> Vec<u8> {
    let text = if text == URL_SAFE_NO_PAD.encode(bytes) {
        text + "="
    } else {
        text
    };
    text.into_bytes()
}

/// Base64 text whose last character has its lowest bit set, which encodes nothing
/// where the length is no multiple of three.
fn loosen(mut text: Vec<u8>, length: usize) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if let Some(last) = text.last_mut().filter(|_| !length.is_multiple_of(3)) {
        let at = ALPHABET.iter().position(|c| c == last).unwrap_or_default();
        *last = ALPHABET[at | 1];
    }
    text
}

#[cfg(test)]
mod tests;
