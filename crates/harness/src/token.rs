//! Token recipes: how the token of a case comes about.
//!
//! A token is *granted* by Keycloak, *minted* (signed here with the realm's own
//! key, so that any claim can be had without waiting for it) or *forged*
//! (anything the realm's key did not sign as it stands).

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

/// A JSON object: the header or the claims of a token.
pub type Object = Map<String, Value>;

/// How the token of a case comes about.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// No token at all.
    None,
    /// This text, whatever it is.
    Raw(String),
    /// The access token of this grant.
    Granted(String),
    /// The refresh token of this grant.
    RefreshToken(String),
    /// A token put together and signed here.
    Minted(Minted),
    /// A granted access token that was tampered with: its signature stays.
    Altered(Altered),
}

/// A token with the header and the claims of a granted one, but for the edits.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Minted {
    /// The grant whose access token is the model.
    pub like: String,
    /// Edits of the header (RFC 7515 §4).
    #[serde(default)]
    pub header: Edits,
    /// Edits of the claims (RFC 7519 §4).
    #[serde(default)]
    pub claims: Edits,
    /// Who signs.
    #[serde(default)]
    pub sign_with: Signer,
}

/// What is done to a granted token behind the back of its issuer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Altered {
    /// The grant whose access token is tampered with.
    pub like: String,
    /// Edits of the header.
    #[serde(default)]
    pub header: Edits,
    /// Edits of the claims.
    #[serde(default)]
    pub claims: Edits,
    /// Text added to the end of the token, that is to its signature.
    #[serde(default)]
    pub append: String,
}

/// Which key signs a minted token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, strum::Display, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Signer {
    /// The realm's own key: the token is as good as a granted one. The header's
    /// `alg` is followed for RSA and is RS256 for any other.
    #[default]
    RealmKey,
    /// An RSA key that no realm knows.
    ForeignKey,
    /// HMAC-SHA256 keyed with the realm's public key in PEM: the algorithm
    /// confusion of RFC 8725 §2.1.
    PublicKeyAsHmacSecret,
    /// An empty signature.
    Nothing,
}

/// Edits of a JSON object, by member name.
pub type Edits = BTreeMap<String, Edit>;

/// What happens to one member. In YAML: `null` removes it, `now`, `now-59s` or
/// `now+1h` sets it to that time in whole seconds since 1970, and any other
/// value sets it as it stands.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(with = "Value")]
pub enum Edit {
    /// The member is removed.
    Remove,
    /// The member is set to this value.
    Set(Value),
    /// The member is set to the time of minting plus this offset.
    Time(SignedDuration),
}

impl<'de> Deserialize<'de> for Edit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Null => Ok(Self::Remove),
            Value::String(text) => match offset_from_now(&text) {
                Some(offset) => offset.map(Self::Time).map_err(serde::de::Error::custom),
                None => Ok(Self::Set(text.into())),
            },
            value => Ok(Self::Set(value)),
        }
    }
}

/// The text is none of `now`, `now-59s` and `now+1h`, but looks like one.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the time `{0}`: write `now`, `now-59s` or `now+1h`")]
pub struct BadTime(String);

/// What `now`, `now-59s` or `now+1h` adds to the present; `None` for text that
/// is no such time.
pub fn offset_from_now(text: &str) -> Option<Result<SignedDuration, BadTime>> {
    let offset = text.strip_prefix("now")?;
    let (negative, amount) = match offset.split_at_checked(1) {
        None => return Some(Ok(SignedDuration::ZERO)),
        Some(("+", amount)) => (false, amount),
        Some(("-", amount)) => (true, amount),
        Some(_) => return None,
    };
    let amount = amount.parse::<SignedDuration>();
    Some(match amount {
        Ok(amount) if negative => Ok(-amount),
        Ok(amount) => Ok(amount),
        Err(_) => Err(BadTime(text.to_owned())),
    })
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove => write!(f, "removed"),
            Self::Set(Value::String(text)) => write!(f, "{}", shortened(text)),
            Self::Set(value) => write!(f, "{value}"),
            Self::Time(offset) => match offset.as_secs() {
                0 => write!(f, "now"),
                seconds if seconds % 3600 == 0 => write!(f, "now{:+}h", seconds / 3600),
                seconds => write!(f, "now{seconds:+}s"),
            },
        }
    }
}

/// The end of a long text: what tells one issuer from another.
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 24;
    match text.char_indices().rev().nth(ENOUGH - 1) {
        Some((start, _)) if start > 0 => format!("…{}", &text[start..]),
        _ => text.to_owned(),
    }
}

/// Edits in words: `, kid removed, exp now-59s`.
fn write_edits(f: &mut fmt::Formatter<'_>, header: &Edits, claims: &Edits) -> fmt::Result {
    header
        .iter()
        .chain(claims)
        .try_for_each(|(name, edit)| write!(f, ", {name} {edit}"))
}

impl Recipe {
    /// The grants whose tokens this recipe needs.
    pub fn grant(&self) -> Option<&str> {
        match self {
            Self::None | Self::Raw(_) => None,
            Self::Granted(grant) | Self::RefreshToken(grant) => Some(grant),
            Self::Minted(recipe) => Some(&recipe.like),
            Self::Altered(recipe) => Some(&recipe.like),
        }
    }

    /// Where a token of this recipe comes from.
    pub fn provenance(&self) -> Provenance {
        match self {
            Self::None => Provenance::None,
            Self::Raw(_) => Provenance::Raw,
            Self::Granted(_) | Self::RefreshToken(_) => Provenance::Granted,
            Self::Minted(recipe) if recipe.sign_with == Signer::RealmKey => Provenance::Minted,
            Self::Minted(_) | Self::Altered(_) => Provenance::Forged,
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Raw(text) => write!(f, "{text}"),
            Self::Granted(grant) => write!(f, "{grant}"),
            Self::RefreshToken(grant) => write!(f, "refresh token of {grant}"),
            Self::Minted(recipe) => {
                write!(f, "{}", recipe.like)?;
                write_edits(f, &recipe.header, &recipe.claims)?;
                match recipe.sign_with {
                    Signer::RealmKey => Ok(()),
                    signer => write!(f, ", signed with {signer}"),
                }
            }
            Self::Altered(recipe) => {
                write!(f, "{}", recipe.like)?;
                write_edits(f, &recipe.header, &recipe.claims)?;
                match recipe.append.as_str() {
                    "" => Ok(()),
                    text => write!(f, ", plus `{text}`"),
                }
            }
        }
    }
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Provenance {
    /// Keycloak issued it.
    Granted,
    /// The harness signed it with the realm's own key.
    Minted,
    /// The realm's key did not sign it as it stands.
    Forged,
    /// Text that never was a token.
    Raw,
    /// There is no token.
    None,
}

/// What Keycloak's token endpoint granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The realm that granted it.
    pub realm: String,
    /// The access token, a JWT.
    pub access_token: SecretString,
    /// The refresh token, where the grant comes with one (RFC 6749 §4.4.3:
    /// client_credentials does not).
    pub refresh_token: Option<SecretString>,
}

/// A token as it is sent.
#[derive(Clone, Debug)]
pub struct Token {
    /// What is sent; empty without a token.
    pub text: SecretString,
    /// Where it comes from.
    pub provenance: Provenance,
    /// Its claims; empty where there are none to read.
    pub claims: Object,
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The stage did not obtain this grant.
    #[error("no token was granted for `{0}`")]
    NoGrant(String),
    /// A refresh token is asked of a grant that has none.
    #[error("the grant `{0}` came without a refresh token")]
    NoRefreshToken(String),
    /// Keycloak's access token cannot be taken apart.
    #[error("the access token of `{0}` is not a JWT: three base64url parts of JSON")]
    NotAJwt(String),
    /// Nobody has the private key of a realm.
    #[error("the suite names no `signing_key` of realm `{0}`, so nothing can be minted for it")]
    NoKey(String),
    /// The realm's key cannot be read.
    #[error("the realm's private key is not an RSA key in base64 of PKCS#8 DER")]
    BadKey,
    /// The cryptographic library refused.
    #[error("signing failed")]
    Signing,
}

/// The keys that tokens are signed with.
pub struct Keyring {
    realms: BTreeMap<String, RsaKeyPair>,
    foreign: RsaKeyPair,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    /// Takes the private keys of realms (base64 of PKCS#8 DER, as in the realm
    /// import), by realm, and generates the foreign key.
    pub fn new<'a>(
        realm_keys: impl IntoIterator<Item = (&'a str, &'a SecretString)>,
    ) -> Result<Self, MintError> {
        let keys = realm_keys.into_iter();
        let read = keys.map(|(realm, key)| Ok((realm.to_owned(), read_private_key(key)?)));
        Ok(Self {
            realms: read.collect::<Result<_, MintError>>()?,
            foreign: read_private_key(&generate_private_key()?)?,
        })
    }

    fn realm(&self, name: &str) -> Result<&RsaKeyPair, MintError> {
        let key = self.realms.get(name);
        key.ok_or_else(|| MintError::NoKey(name.to_owned()))
    }

    /// A realm's public key, PEM of SubjectPublicKeyInfo (RFC 7468 §13).
    pub fn public_key_pem(&self, realm: &str) -> Result<String, MintError> {
        let text = STANDARD.encode(self.public_key_der(realm)?);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for start in (0..text.len()).step_by(64) {
            pem.push_str(&text[start..text.len().min(start + 64)]);
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }

    /// A realm's public key, DER of SubjectPublicKeyInfo.
    pub fn public_key_der(&self, realm: &str) -> Result<Vec<u8>, MintError> {
        let der: PublicKeyX509Der = self
            .realm(realm)?
            .public_key()
            .as_der()
            .map_err(|_| MintError::Signing)?;
        Ok(der.as_ref().to_vec())
    }

    /// The foreign key's public half as a JSON Web Key (RFC 7517).
    pub fn foreign_jwk(&self) -> Value {
        let key = self.foreign.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "n": number(key.modulus().big_endian_without_leading_zero()),
            "e": number(key.exponent().big_endian_without_leading_zero()),
        })
    }

    /// A signature by a realm's key or another; `alg` is followed as [`Signer`]
    /// says.
    pub fn sign(
        &self,
        realm: &str,
        signer: Signer,
        alg: &Value,
        message: &[u8],
    ) -> Result<Vec<u8>, MintError> {
        match signer {
            Signer::RealmKey => rsa_sign(self.realm(realm)?, alg, message),
            Signer::ForeignKey => rsa_sign(&self.foreign, alg, message),
            Signer::PublicKeyAsHmacSecret => {
                let secret = self.public_key_pem(realm)?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                Ok(hmac::sign(&key, message).as_ref().to_vec())
            }
            Signer::Nothing => Ok(Vec::new()),
        }
    }
}

/// A new RSA-2048 private key, as the realm import takes it: base64 of PKCS#8 DER.
pub fn generate_private_key() -> Result<SecretString, MintError> {
    let key = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| MintError::Signing)?;
    let der: Pkcs8V1Der = key.as_der().map_err(|_| MintError::Signing)?;
    Ok(STANDARD.encode(der.as_ref()).into())
}

fn read_private_key(text: &SecretString) -> Result<RsaKeyPair, MintError> {
    let der = STANDARD
        .decode(text.expose_secret().trim())
        .map_err(|_| MintError::BadKey)?;
    RsaKeyPair::from_pkcs8(&der).map_err(|_| MintError::BadKey)
}

/// How RSA signs for an `alg` (RFC 7518 §3.3, §3.5): as RS256 for any that is not
/// its own.
pub fn rsa_padding(alg: &str) -> &'static dyn RsaEncoding {
    match alg {
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        _ => &signature::RSA_PKCS1_SHA256,
    }
}

fn rsa_sign(key: &RsaKeyPair, alg: &Value, message: &[u8]) -> Result<Vec<u8>, MintError> {
    let padding = rsa_padding(alg.as_str().unwrap_or_default());
    let mut bytes = vec![0; key.public_modulus_len()];
    key.sign(padding, &SystemRandom::new(), message, &mut bytes)
        .map_err(|_| MintError::Signing)?;
    Ok(bytes)
}

/// Makes tokens by recipe.
#[derive(Debug)]
pub struct Mint<'a> {
    /// What Keycloak granted, by the suite's names.
    pub granted: &'a BTreeMap<String, Granted>,
    /// The keys to sign with.
    pub keyring: &'a Keyring,
}

impl Mint<'_> {
    /// The realm that granted a token.
    pub fn realm_of(&self, grant: &str) -> Result<&str, MintError> {
        Ok(&self.grant(grant)?.realm)
    }

    /// Makes the token of `recipe`; `now` is the time its claims are relative to.
    pub fn make(&self, recipe: &Recipe, now: Timestamp) -> Result<Token, MintError> {
        let text = match recipe {
            Recipe::None => String::new(),
            Recipe::Raw(text) => text.clone(),
            Recipe::Granted(grant) => self.access_token(grant)?.to_owned(),
            Recipe::RefreshToken(grant) => self
                .grant(grant)?
                .refresh_token
                .as_ref()
                .ok_or_else(|| MintError::NoRefreshToken(grant.clone()))?
                .expose_secret()
                .to_owned(),
            Recipe::Minted(recipe) => {
                let model = self.take_apart(&recipe.like)?;
                let header = edited(model.header, &recipe.header, now);
                let claims = edited(model.claims, &recipe.claims, now);
                let alg = header.get("alg").cloned().unwrap_or_default();
                let message = format!("{}.{}", encode(header), encode(claims));
                let realm = &self.grant(&recipe.like)?.realm;
                let keyring = self.keyring;
                let signature = keyring.sign(realm, recipe.sign_with, &alg, message.as_bytes())?;
                format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
            }
            Recipe::Altered(recipe) => {
                let model = self.take_apart(&recipe.like)?;
                let header = edited_part(&model.header_part, model.header, &recipe.header, now);
                let claims = edited_part(&model.claims_part, model.claims, &recipe.claims, now);
                format!("{header}.{claims}.{}{}", model.signature, recipe.append)
            }
        };
        Ok(Token {
            provenance: recipe.provenance(),
            claims: read_claims(&text),
            text: text.into(),
        })
    }

    fn grant(&self, name: &str) -> Result<&Granted, MintError> {
        self.granted
            .get(name)
            .ok_or_else(|| MintError::NoGrant(name.to_owned()))
    }

    fn access_token(&self, name: &str) -> Result<&str, MintError> {
        Ok(self.grant(name)?.access_token.expose_secret())
    }

    fn take_apart(&self, name: &str) -> Result<Parts, MintError> {
        Parts::of(self.access_token(name)?).ok_or_else(|| MintError::NotAJwt(name.to_owned()))
    }
}

/// A JWT in compact form (RFC 7515 §7.1), taken apart but not verified.
struct Parts {
    header: Object,
    header_part: String,
    claims: Object,
    claims_part: String,
    signature: String,
}

impl Parts {
    fn of(token: &str) -> Option<Self> {
        let [header, claims, signature] =
            <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).ok()?;
        Some(Self {
            header: decode(header)?,
            header_part: header.to_owned(),
            claims: decode(claims)?,
            claims_part: claims.to_owned(),
            signature: signature.to_owned(),
        })
    }
}

fn read_claims(token: &str) -> Object {
    token.split('.').nth(1).and_then(decode).unwrap_or_default()
}

fn decode(part: &str) -> Option<Object> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

fn encode(object: Object) -> String {
    URL_SAFE_NO_PAD.encode(Value::Object(object).to_string())
}

/// An untouched part keeps its very bytes, or its signature would not be tested.
fn edited_part(part: &str, object: Object, edits: &Edits, now: Timestamp) -> String {
    if edits.is_empty() {
        part.to_owned()
    } else {
        encode(edited(object, edits, now))
    }
}

/// The object with the edits made; `now` is what times are relative to.
pub fn edited(mut object: Object, edits: &Edits, now: Timestamp) -> Object {
    for (name, edit) in edits {
        match edit {
            Edit::Remove => {
                object.remove(name);
            }
            Edit::Set(value) => {
                object.insert(name.clone(), value.clone());
            }
            Edit::Time(offset) => {
                object.insert(name.clone(), json!(now.as_second() + offset.as_secs()));
            }
        }
    }
    object
}

#[cfg(test)]
mod tests;
