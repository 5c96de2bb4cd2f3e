//! Signatures: all that is asked of a cryptographic library. Feature `aws-lc-rs` is
//! the usual one; `pure-rust` is for where no C is compiled, such as WebAssembly.

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(feature = "aws-lc-rs")]
pub(super) use aws_lc::{ecdsa, ed25519, hmac, is_on_curve, rsa};

#[cfg(all(feature = "pure-rust", not(feature = "aws-lc-rs")))]
mod pure_rust;
#[cfg(all(feature = "pure-rust", not(feature = "aws-lc-rs")))]
pub(super) use pure_rust::{ecdsa, ed25519, hmac, is_on_curve, rsa};

#[cfg(not(any(feature = "aws-lc-rs", feature = "pure-rust")))]
compile_error!("policy checks signatures with feature `aws-lc-rs` or `pure-rust`");

/// A hash of SHA-2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The hash that `alg` names at its end, SHA-256 where it names none.
    pub(super) fn of(alg: &str) -> Self {
        match alg.get(2..) {
            Some("384") => Self::Sha384,
            Some("512") => Self::Sha512,
            _ => Self::Sha256,
        }
    }
}

/// A padding of RSA signatures (RFC 8017 §8).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    Pkcs1,
    Pss,
}

/// A curve of ECDSA.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

/// How many bits a number has, without its leading zeros.
pub(super) fn bits(number: &[u8]) -> usize {
    let digits = super::keys::without_zeros(number);
    let unused = digits.first().map_or(0, |first| first.leading_zeros());
    digits.len() * 8 - unused as usize
}
