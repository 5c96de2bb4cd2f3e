//! Takes secrets out of whatever is written: reports, logs, evidence.
//!
//! A secret becomes `[redacted 1a2b3c4d]`, the digits being the beginning of
//! its SHA-256, so that equal tokens can still be recognised as equal.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use regex::{Captures, Regex};

/// Each pattern captures the secret itself as `secret`; what is around it stays.
/// Quotes may come with backslashes: JSON within JSON is common in logs.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // PEM private keys, line breaks written out or escaped.
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?<secret>[\s\S]*?)(?:-----END|\z)",
        // PKCS#8 in base64 DER, as the realm import has it: an RSA-2048 key is
        // 1,600 characters long and always begins so.
        r"(?<secret>MII[A-Za-z0-9+/]{600,}={0,2})",
        // Anything shaped like a JWT, cut short or not: `eyJ` is base64 of `{"`.
        r"(?<secret>eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*)",
        // Authorization header values.
        r"(?i)\b(?:bearer|basic)\s+(?<secret>[A-Za-z0-9._~+/=-]{16,})",
        // Forms and queries.
        r"(?i)\b(?:client_secret|password|access_token|refresh_token|id_token|assertion)=(?<secret>[^\s&\x22'<>\\]+)",
        // JSON and YAML members.
        r#"(?i)\b(?:[a-z_]*(?:client_?secret|password|private_?key)|access_token|refresh_token|id_token)\\*["']?\s*:\s*\\*["']?(?<secret>[^\s"'\\,{}&<>]+)"#,
    ]
    .map(|pattern| Regex::new(pattern).expect("the patterns are valid"))
    .into()
});

/// `text` without its tokens, passwords, client secrets and private keys.
pub fn redact(text: &str) -> String {
    PATTERNS.iter().fold(text.to_owned(), |text, pattern| {
        pattern
            .replace_all(&text, |found: &Captures<'_>| {
                let (whole, secret) = (found.get_match(), &found["secret"]);
                if secret.is_empty() || secret.starts_with("[redacted") {
                    return whole.as_str().to_owned();
                }
                let at = found.name("secret").expect("captured").start() - whole.start();
                let whole = whole.as_str();
                let (before, after) = (&whole[..at], &whole[at + secret.len()..]);
                format!("{before}[redacted {}]{after}", fingerprint(secret))
            })
            .into_owned()
    })
}

/// The first eight hexadecimal digits of the text's SHA-256.
pub fn fingerprint(secret: &str) -> String {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    hash.as_ref()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
