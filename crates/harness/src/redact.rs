//! Takes secrets out of whatever is written: reports, logs, evidence, the terminal.
//! What they are is known by their values, since every secret of a mesh is read or
//! made here, and beside that by the shape that secrets have.
//!
//! A secret becomes `[redacted 1a2b3c4d]`, the digits being the beginning of
//! its SHA-256, so that equal tokens can still be recognised as equal.

mod known;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use aws_lc_rs::digest;
pub use known::know;
use regex::Regex;
use serde_json::Value;

/// Each pattern captures what is kept as `before` and what is not as `secret`.
/// Quotes may come with backslashes: JSON within JSON is common in logs.
static PATTERNS: LazyLock<[Regex; 6]> = LazyLock::new(|| {
    [
        // Private keys in PEM, line breaks written out or escaped.
        r"(?<before>-----BEGIN [A-Z ]*PRIVATE KEY-----)(?<secret>(?:[A-Za-z0-9+/=\s]|\\[nr])+)",
        // Private keys as the realm import has them, base64 of DER: an RSA-2048
        // key is 1,600 characters long and always begins so.
        r"(?<before>)(?<secret>MII[A-Za-z0-9+/]{600,}={0,2})",
        // Anything shaped like a JWT, cut short or not: `eyJ` is base64 of `{"`.
        r"(?<before>)(?<secret>eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*)",
        // Authorization header values.
        r"(?i)(?<before>\b(?:bearer|basic)\s+)(?<secret>[A-Za-z0-9._~+/=-]{16,})",
        // Forms and queries; `{token}` is a case's placeholder.
        r#"(?i)(?<before>\b[a-z_]*(?:client_secret|password|access_token|refresh_token|id_token|assertion)=)(?<secret>[^\s&"'<>\\{\[][^\s&"'<>\\]*)"#,
        // JSON and YAML members.
        r#"(?i)(?<before>(?:\b(?:[a-z_]*(?:client_?secret|password|private_?key)|access_token|refresh_token|id_token)|["']secret)\\*["']?\s*:\s*\\*["']?)(?<secret>[^\s"'\\,{}\[&<>][^\s"'\\,{}&<>]*)"#,
    ]
    .map(|pattern| Regex::new(pattern).expect("the patterns are valid"))
});

/// `text` without its tokens, passwords, client secrets and private keys.
pub fn redact(text: &str) -> String {
    let shapes = PATTERNS.iter().flat_map(|pattern| {
        let found = pattern.captures_iter(text);
        found.filter_map(|found| Some(found.name("secret")?.range()))
    });
    without(text, shapes.chain(known::find(text)).collect())
}

/// `text` without what is known to be a secret, whatever else is in it.
pub fn redact_known(text: &str) -> String {
    without(text, known::find(text))
}

/// `text` with a mark in the place of each of these parts, those that overlap being one.
fn without(text: &str, mut parts: Vec<Range<usize>>) -> String {
    parts.sort_by_key(|part| part.start);
    let mut rest = parts.into_iter().peekable();
    let (mut redacted, mut done) = (String::with_capacity(text.len()), 0);
    while let Some(mut part) = rest.next() {
        while let Some(next) = rest.next_if(|next| next.start < part.end) {
            part.end = part.end.max(next.end);
        }
        redacted.push_str(&text[done..part.start]);
        let mark = fingerprint(&text[part.clone()]);
        let _ = write!(redacted, "[redacted {mark}]");
        done = part.end;
    }
    redacted.push_str(&text[done..]);
    redacted
}

/// `value` with all text in it redacted.
pub fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(values) => values.iter_mut().for_each(redact_json),
        Value::Object(members) => members.values_mut().for_each(redact_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The first eight hexadecimal digits of the text's SHA-256.
fn fingerprint(secret: &str) -> String {
    let hash = digest::digest(&digest::SHA256, secret.as_bytes());
    let beginning = hash
        .as_ref()
        .iter()
        .take(4)
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    format!("{beginning:08x}")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::token::generate_private_key;

    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl";

    #[test]
    fn bearer_token_becomes_a_marker() {
        assert_eq!(
            redact(&format!("authorization: Bearer {JWT}")),
            format!("authorization: Bearer [redacted {}]", fingerprint(JWT))
        );
    }

    #[test]
    fn equal_tokens_stay_recognisable() {
        let text = redact(&format!("{JWT} {JWT} {JWT}x"));
        let marks: Vec<_> = text.split(' ').skip(1).step_by(2).collect();
        assert_eq!(marks[0], marks[1]);
        assert_ne!(marks[1], marks[2]);
    }

    #[test]
    fn opaque_bearer_token_and_basic_credentials_are_redacted() {
        for text in ["Bearer 0123456789abcdef0123", "Basic dXNlcjpwYXNzd29yZA=="] {
            let secret = text.split(' ').nth(1).unwrap();
            assert!(!redact(text).contains(secret), "{}", redact(text));
        }
    }

    #[test]
    fn secrets_in_forms_and_queries_are_redacted() {
        for name in [
            "client_secret",
            "password",
            "access_token",
            "refresh_token",
            "USER_PASSWORD",
        ] {
            let text = redact(&format!("POST /token?a=b&{name}=hunter2&grant_type=c"));
            assert_eq!(
                text,
                format!("POST /token?a=b&{name}=[redacted f52fbd32]&grant_type=c")
            );
        }
    }

    #[test]
    fn secrets_in_json_and_yaml_are_redacted() {
        for text in [
            r#"{"password":"hunter2","a":1}"#,
            r#"{"line":"{\"password\":\"hunter2\",\"a\":1}"}"#,
            "password: hunter2\na: 1",
            r#"{"client_secret": "hunter2"}"#,
            r#"{"clientId": "frontend", "secret": "hunter2"}"#,
            "FRONTEND_CLIENT_SECRET: 'hunter2'",
        ] {
            let redacted = redact(text);
            assert_eq!(redacted, text.replace("hunter2", "[redacted f52fbd32]"));
        }
    }

    #[test]
    fn private_keys_are_redacted() {
        let key = generate_private_key().unwrap();
        let key = key.expose_secret();
        let text = redact(&format!("MYREALM_PRIVATE_KEY: {key}"));
        assert!(!text.contains(&key[..64]), "{text}");
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----");
        let text = redact(&pem);
        assert!(!text.contains(&key[..64]), "{text}");
        assert!(text.ends_with("-----END PRIVATE KEY-----"), "{text}");
        let cut_short = redact(&pem[..200]);
        assert!(!cut_short.contains(&key[..64]), "{cut_short}");
    }

    #[test]
    fn private_key_in_json_leaves_the_json_whole() {
        let line = serde_json::json!({"a": "-----BEGIN PRIVATE KEY-----\nMIIabc\n\"", "b": 1});
        let redacted: Value = serde_json::from_str(&redact(&line.to_string())).unwrap();
        assert_eq!(redacted["b"], 1);
        assert!(!redacted.to_string().contains("MIIabc"), "{redacted}");
    }

    #[test]
    fn text_anywhere_in_json_is_redacted() {
        let mut value = serde_json::json!({"a": [JWT, 1, {"b": JWT}], "c": "plain"});
        redact_json(&mut value);
        assert_eq!(value["a"][0], format!("[redacted {}]", fingerprint(JWT)));
        assert_eq!(value["a"][0], value["a"][2]["b"]);
        assert_eq!(value["c"], "plain");
    }

    #[test]
    fn plain_text_is_left_alone() {
        for text in [
            "401 Jwt is missing; www-authenticate: Bearer realm=\"http://backend/data\"",
            "the password of the user",
            "GET /data?access_token={token} from token-client",
            "granted: user, signed with public-key-as-hmac-secret",
            "header www-authenticate: want Bearer, got absent",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn redacting_twice_changes_nothing_more() {
        let once = redact(&format!(
            "Bearer {JWT} password=hunter2 {{\"client_secret\":\"hunter2\"}}"
        ));
        assert_eq!(redact(&once), once);
    }

    fn part(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    proptest! {
        #[test]
        fn no_jwt_survives(
            before in "[ -~]{0,40}",
            claim in "[a-z]{1,20}",
            value in "[ -~&&[^\"\\\\]]{0,60}",
            signature in proptest::collection::vec(any::<u8>(), 0..300),
            after in r#"[ "'<>&,;)}\n]?"#,
        ) {
            let header = part(r#"{"alg":"RS256"}"#);
            let claims = part(&format!("{{\"{claim}\":\"{value}\"}}"));
            let signature = URL_SAFE_NO_PAD.encode(&signature);
            let redacted = redact(&format!("{before}{header}.{claims}.{signature}{after}"));
            prop_assert!(!redacted.contains(&header), "{}", redacted);
            prop_assert!(!redacted.contains(&claims), "{}", redacted);
            // A few characters may be in the text around it by chance.
            prop_assert!(signature.len() < 8 || !redacted.contains(&signature), "{}", redacted);
        }
    }
}
