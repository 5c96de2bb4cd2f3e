//! Secrets that are known by their values, in every form that text gives them.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{LazyLock, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

/// As much of a secret in a row is recognised: lines may be wrapped or cut anywhere.
const PIECE: usize = 16;
/// What is shorter may be a word of any text.
const SHORTEST: usize = 8;
/// The head of a private key in base64 of DER names its algorithm, as a public one does.
const HEAD: usize = 40;

#[derive(Default)]
struct Known {
    pieces: HashSet<[u8; PIECE]>,
    /// Those that are no longer than a piece.
    short: BTreeSet<String>,
}

static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

/// Takes this value, in whatever form, out of all that is written from now on.
pub fn know(secret: &SecretString) {
    let forms = forms(secret.expose_secret());
    let mut known = KNOWN.write().expect("lock must be whole");
    for form in forms {
        if form.len() < PIECE {
            known.short.insert(form);
        } else {
            known
                .pieces
                .extend(form.as_bytes().array_windows::<PIECE>());
        }
    }
}

/// Where known secrets, or pieces of them, are.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let known = KNOWN.read().expect("lock must be whole");
    let pieces = text.as_bytes().array_windows::<PIECE>().enumerate();
    let pieces = pieces.filter(|(_, piece)| known.pieces.contains(*piece));
    let pieces = pieces.map(|(start, piece)| whole(text, start..start + piece.len()));
    let short = known.short.iter().flat_map(|form| {
        let found = text.match_indices(form);
        found.map(|(start, form)| start..start + form.len())
    });
    pieces.chain(short).collect()
}

/// A range that cuts no character.
fn whole(text: &str, mut range: Range<usize>) -> Range<usize> {
    while !text.is_char_boundary(range.start) {
        range.start -= 1;
    }
    while !text.is_char_boundary(range.end) {
        range.end += 1;
    }
    range
}

/// What a secret looks like: as it is, escaped for JSON once and twice, for URLs, in
/// base64. Lines of a PEM are one: others may wrap them elsewhere.
fn forms(secret: &str) -> Vec<String> {
    let secret = secret.trim();
    let body: String = secret
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let key = if body.starts_with("MI") {
        body.get(HEAD..).unwrap_or_default()
    } else {
        &body
    };
    if key.len() < SHORTEST {
        return Vec::new();
    }
    let escaped = json(key);
    let mut forms = vec![
        json(&escaped),
        escaped,
        key.to_owned(),
        url(key, str::to_ascii_uppercase),
        url(key, str::to_ascii_lowercase),
        // A key in base64, in the other alphabet.
        key.replace('+', "-").replace('/', "_"),
    ];
    for text in [secret, &body] {
        forms.push(STANDARD.encode(text));
        forms.extend((0..3).flat_map(|offset| base64(text, offset)));
    }
    forms
}

fn json(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .trim_matches('"')
        .to_owned()
}

/// All but RFC 3986's unreserved characters in percent-encoding.
fn url(text: &str, hex: impl Fn(&str) -> String) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{}", hex(&format!("{byte:02X}")));
        }
    }
    encoded
}

/// `text` in base64 after so many bytes of something, in both alphabets, without what
/// depends on its neighbours.
fn base64(text: &str, offset: usize) -> [String; 2] {
    let bytes = [&[0; 2][..offset], text.as_bytes()].concat();
    let start = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    [
        STANDARD_NO_PAD.encode(&bytes),
        URL_SAFE_NO_PAD.encode(&bytes),
    ]
    .map(|encoded| encoded[start..end].to_owned())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE;

    use super::*;
    use crate::output;
    use crate::redact::{redact, redact_json, redact_known};
    use crate::report::tests::run;
    use crate::report::{json, junit, markdown, table};
    use crate::secrets::password;
    use crate::token::generate_private_key;

    /// A secret as others may write it: the text, and what of it must not be seen.
    fn planted(secret: &str) -> Vec<(String, String)> {
        let quoted = serde_json::to_string(secret).unwrap();
        let twice = serde_json::to_string(&quoted).unwrap();
        let form = serde_urlencoded::to_string([("b", secret)]).unwrap();
        let lower = url(secret, str::to_ascii_lowercase);
        let mut planted: Vec<(String, String)> = [
            (secret.to_owned(), secret),
            (format!("x{secret}x"), secret),
            (
                format!("{{\"any\": {{\"name\": {quoted}}}}}"),
                quoted.trim_matches('"'),
            ),
            (
                format!("{{\"line\": {twice}}}"),
                twice.trim_matches(['"', '\\']),
            ),
            (format!("GET /?a={form}"), &form[2..]),
            (format!("GET /?a={lower}"), &lower),
        ]
        .map(|(text, form)| (text, form.to_owned()))
        .into();
        for encoded in [
            STANDARD.encode(secret),
            URL_SAFE.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            STANDARD.encode(format!("{secret}\n")),
        ] {
            planted.push((format!("data: {encoded}"), encoded.clone()));
            planted.push((wrapped(&encoded, 76, "\r\n"), encoded));
        }
        for before in ["user:", "user: ", "user:  "] {
            let encoded = STANDARD.encode(format!("{before}{secret} and more"));
            // The neighbours share a letter with the secret on each side.
            let part = encoded[8..encoded.len() - 14].to_owned();
            planted.push((encoded, part));
        }
        for (width, line_break) in [(64, "\n"), (76, "\n"), (33, "\n"), (64, "\\n")] {
            let lines: String = secret.lines().filter(|it| !it.starts_with("--")).collect();
            planted.push((wrapped(&lines, width, line_break), lines));
        }
        planted
    }

    fn wrapped(text: &str, width: usize, line_break: &str) -> String {
        let letters: Vec<_> = text.chars().collect();
        let lines = letters.chunks(width).map(String::from_iter);
        lines.collect::<Vec<_>>().join(line_break)
    }

    /// Nothing of a form of a secret that would be worth having is in a text.
    fn assert_gone((planted, form): &(String, String), redacted: &str) {
        let pieces = |text: &str| -> HashSet<Vec<u8>> {
            text.as_bytes().windows(PIECE).map(<[u8]>::to_vec).collect()
        };
        let hidden = !redacted.contains(&**form);
        // The head of a key, and a PEM's own lines, are no secret.
        let form: String = form.lines().filter(|it| !it.starts_with("--")).collect();
        let worth = if form.len() > 1000 {
            &form[2 * HEAD..]
        } else {
            &form
        };
        let left: Vec<_> = pieces(redacted)
            .intersection(&pieces(worth))
            .cloned()
            .collect();
        assert!(hidden && left.is_empty(), "{planted}\n{redacted}");
        assert!(redacted.contains("[redacted "), "{planted}\n{redacted}");
    }

    fn secrets() -> Vec<String> {
        let key = generate_private_key().unwrap();
        let key = key.expose_secret().to_owned();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            wrapped(&key, 64, "\n")
        );
        vec![
            password().unwrap().expose_secret().to_owned(),
            r#"pa55 wörd+/="\&<with>%all"#.to_owned(),
            key,
            pem,
        ]
    }

    #[test]
    fn known_secret_is_in_no_output_in_whatever_form() {
        for secret in secrets() {
            know(&secret.clone().into());
            for planted in planted(&secret) {
                let text = &planted.0;
                assert_gone(&planted, &redact(text));
                assert_gone(&planted, &redact_known(text));
                assert_gone(&planted, &output::as_said(text));
                let mut value = serde_json::json!({"deep": [{"inside": text}]});
                redact_json(&mut value);
                assert_gone(&planted, value["deep"][0]["inside"].as_str().unwrap());
                let mut run = run();
                run.rows[0].got.clone_from(text);
                run.rows[0].body = Some(text.clone());
                run.rows[1].difference = Some(text.clone());
                for report in [
                    table::render(&run, true),
                    markdown::render(&run),
                    junit::render(&run).unwrap(),
                    json::render(&run).unwrap(),
                ] {
                    assert_gone(&planted, &report);
                }
            }
        }
    }

    #[test]
    fn short_secret_is_redacted_and_a_word_is_none() {
        know(&"s3cr3t-!9".into());
        know(&"data".into());
        let text = format!("s3cr3t-!9 {} data", STANDARD.encode("s3cr3t-!9"));
        let redacted = redact(&text);
        assert!(!redacted.contains("s3cr3t"), "{redacted}");
        assert!(
            !redacted.contains(&STANDARD.encode("s3cr3t-!9")),
            "{redacted}"
        );
        assert!(redacted.ends_with(" data"), "{redacted}");
    }

    #[test]
    fn what_is_no_secret_stays_though_secrets_are_known() {
        let key = generate_private_key().unwrap();
        know(&key);
        let other = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj";
        for text in [
            "-----BEGIN PRIVATE KEY-----",
            other,
            "GET /data from demo/frontend, 200",
        ] {
            assert_eq!(redact_known(text), text);
        }
    }
}
