//! With AWS-LC.

use aws_lc_rs::signature::VerificationAlgorithm;
use aws_lc_rs::{hmac, signature};

use super::{Curve, Hash, Padding};

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
    let (pkcs1, pss) = match hash {
        // What is signed with these two is verified for small keys, too.
        Hash::Sha256 => (
            &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            &signature::RSA_PSS_2048_8192_SHA256,
        ),
        Hash::Sha384 => (
            &signature::RSA_PKCS1_2048_8192_SHA384,
            &signature::RSA_PSS_2048_8192_SHA384,
        ),
        Hash::Sha512 => (
            &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            &signature::RSA_PSS_2048_8192_SHA512,
        ),
    };
    let (parameters, least) = match padding {
        Padding::Pkcs1 if hash == Hash::Sha384 => (pkcs1, 2048),
        Padding::Pkcs1 => (pkcs1, 1024),
        Padding::Pss => (pss, 2048),
    };
    let key = signature::RsaPublicKeyComponents { n, e };
    (least..=8192)
        .contains(&super::bits(n))
        .then(|| key.verify(parameters, message, signature).is_ok())
}

/// Whether a signature of two numbers in as many bytes as the curve needs is good.
pub(in super::super) fn ecdsa(
    curve: Curve,
    hash: Hash,
    point: &[u8],
    message: &[u8],
    fixed: &[u8],
) -> bool {
    use signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
        ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1,
        ECDSA_P521_SHA256_FIXED, ECDSA_P521_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    };
    let verifies = |algorithm: &'static dyn VerificationAlgorithm, signature: &[u8]| {
        let key = signature::UnparsedPublicKey::new(algorithm, point);
        key.verify(message, signature).is_ok()
    };
    match (curve, hash) {
        (Curve::P256, Hash::Sha256) => verifies(&ECDSA_P256_SHA256_FIXED, fixed),
        (Curve::P256, Hash::Sha384) => verifies(&ECDSA_P256_SHA384_ASN1, &asn1(fixed)),
        (Curve::P256, Hash::Sha512) => verifies(&ECDSA_P256_SHA512_ASN1, &asn1(fixed)),
        (Curve::P384, Hash::Sha256) => verifies(&ECDSA_P384_SHA256_ASN1, &asn1(fixed)),
        (Curve::P384, Hash::Sha384) => verifies(&ECDSA_P384_SHA384_FIXED, fixed),
        (Curve::P384, Hash::Sha512) => verifies(&ECDSA_P384_SHA512_ASN1, &asn1(fixed)),
        (Curve::P521, Hash::Sha256) => verifies(&ECDSA_P521_SHA256_FIXED, fixed),
        (Curve::P521, Hash::Sha384) => verifies(&ECDSA_P521_SHA384_FIXED, fixed),
        (Curve::P521, Hash::Sha512) => verifies(&ECDSA_P521_SHA512_FIXED, fixed),
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

/// Whether an uncompressed point lies on its curve.
pub(in super::super) fn is_on_curve(curve: Curve, point: &[u8]) -> bool {
    let algorithm = match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
        Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
    };
    signature::ParsedPublicKey::new(algorithm, point).is_ok()
}

/// Whether a message's code is good.
pub(in super::super) fn hmac(hash: Hash, secret: &[u8], message: &[u8], code: &[u8]) -> bool {
    let algorithm = match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::verify(&hmac::Key::new(algorithm, secret), message, code).is_ok()
}

/// Whether an Ed25519 signature is good.
pub(in super::super) fn ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
    key.verify(message, signature).is_ok()
}
