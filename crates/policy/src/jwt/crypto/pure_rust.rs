//! With the crates of RustCrypto and dalek.

use ed25519_dalek::Verifier as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, PublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{Curve, Hash, Padding};

impl Hash {
    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// Whether a signature is good; `None` for sizes of keys that the library does not
/// take.
pub(in super::super) fn rsa(
    n: &[u8],
    e: &[u8],
    padding: Padding,
    hash: Hash,
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    if !(PublicKey::MIN_SIZE..=PublicKey::MAX_SIZE).contains(&super::bits(n)) {
        return None;
    }
    let number = BoxedUint::from_be_slice_vartime;
    let Ok(key) = PublicKey::new(number(n), number(e)) else {
        return Some(false);
    };
    let digest = hash.digest(message);
    let verified = match (padding, hash) {
        (Padding::Pkcs1, Hash::Sha256) => {
            key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, signature)
        }
        (Padding::Pkcs1, Hash::Sha384) => {
            key.verify(Pkcs1v15Sign::new::<Sha384>(), &digest, signature)
        }
        (Padding::Pkcs1, Hash::Sha512) => {
            key.verify(Pkcs1v15Sign::new::<Sha512>(), &digest, signature)
        }
        (Padding::Pss, Hash::Sha256) => key.verify(Pss::<Sha256>::new(), &digest, signature),
        (Padding::Pss, Hash::Sha384) => key.verify(Pss::<Sha384>::new(), &digest, signature),
        (Padding::Pss, Hash::Sha512) => key.verify(Pss::<Sha512>::new(), &digest, signature),
    };
    Some(verified.is_ok())
}

/// Whether a signature of two numbers in as many bytes as the curve needs is good.
pub(in super::super) fn ecdsa(
    curve: Curve,
    hash: Hash,
    point: &[u8],
    message: &[u8],
    fixed: &[u8],
) -> bool {
    macro_rules! verifies {
        ($library:ident) => {{
            let key = $library::ecdsa::VerifyingKey::from_sec1_bytes(point);
            let signature = $library::ecdsa::Signature::from_slice(fixed);
            key.and_then(|key| key.verify_prehash(&hash.digest(message), &signature?))
                .is_ok()
        }};
    }
    match curve {
        Curve::P256 => verifies!(p256),
        Curve::P384 => verifies!(p384),
        Curve::P521 => verifies!(p521),
    }
}

/// Whether an uncompressed point lies on its curve.
pub(in super::super) fn is_on_curve(curve: Curve, point: &[u8]) -> bool {
    match curve {
        Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok(),
        Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok(),
        Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(point).is_ok(),
    }
}

/// Whether a message's code is good.
pub(in super::super) fn hmac(hash: Hash, secret: &[u8], message: &[u8], code: &[u8]) -> bool {
    macro_rules! verifies {
        ($hash:ident) => {
            Hmac::<$hash>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(message).verify_slice(code).is_ok())
        };
    }
    match hash {
        Hash::Sha256 => verifies!(Sha256),
        Hash::Sha384 => verifies!(Sha384),
        Hash::Sha512 => verifies!(Sha512),
    }
}

/// Whether an Ed25519 signature is good.
pub(in super::super) fn ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = <[u8; 32]>::try_from(key) else {
        return false;
    };
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key);
    let signature = ed25519_dalek::Signature::from_slice(signature);
    key.and_then(|key| key.verify(message, &signature?)).is_ok()
}
