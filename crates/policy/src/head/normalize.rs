//! What a sidecar does to a path before any filter sees it
//! (`MeshConfig.pathNormalization`).

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::select::PathNormalization;

/// `response_code_details` of a path that Envoy answers with 400.
pub(crate) type Refusal = &'static str;

/// A path that is no path to begin with.
pub(crate) const NO_PATH: Refusal = "http1.codec_error";
/// A path that cannot be brought into its normal form.
const NOT_NORMAL: Refusal = "path_normalization_failed";

/// The path as the filters see it, with its query.
pub(crate) fn normalize(path: &str, mode: PathNormalization) -> Result<Cow<'_, str>, Refusal> {
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NO_PATH);
    }
    // Istio's bootstrap has the fragment cut off; Envoy by itself would refuse it.
    let path = path.split('#').next().unwrap_or(path);
    if mode == PathNormalization::None || is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut text = path.to_owned();
    if mode == PathNormalization::DecodeAndMergeSlashes {
        text = unescape_slashes(&text);
    }
    let mut text = resolve(&text)?;
    if matches!(
        mode,
        PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
    ) {
        text = merge_slashes(&text);
    }
    Ok(Cow::Owned(match query {
        Some(query) => format!("{text}?{query}"),
        None => text,
    }))
}

/// Nothing in it that normalization could change.
fn is_plain(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    !path.contains("/.")
        && !path.contains("//")
        && !path.bytes().any(|byte| b"\\%\"<>`{}|^".contains(&byte))
}

fn unescape_slashes(path: &str) -> String {
    let mut text = path.to_owned();
    for (escape, plain) in [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\")] {
        text = text.replace(escape, plain);
    }
    text
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}

/// Dot segments, backslashes and escapes of unreserved characters.
fn resolve(path: &str) -> Result<String, Refusal> {
    let path = path.replace('\\', "/");
    let mut segments: Vec<String> = Vec::new();
    let mut parts = path[1..].split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let decoded = decode_unreserved(part)?;
        // Envoy takes `..;a=b` for `..`, but only if the dots are not escaped.
        let dots = if part.starts_with('.') && !part.contains('%') {
            decoded.split(';').next().unwrap_or_default()
        } else {
            &decoded
        };
        match dots {
            "." | ".." => {
                if dots == ".." {
                    segments.pop();
                }
                if last {
                    segments.push(String::new());
                }
            }
            _ => segments.push(decoded),
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

/// Other escapes stay as they are; a zero byte is refused. Characters that may
/// not stand in a path are escaped.
fn decode_unreserved(path: &str) -> Result<String, Refusal> {
    let bytes = path.as_bytes();
    let mut text = String::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let escape = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let value = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(0) => return Err(NOT_NORMAL),
            Some(value) if value.is_ascii_alphanumeric() || b"-._~".contains(&value) => {
                text.push(char::from(value));
                at += 3;
            }
            Some(_) => {
                text.push_str(&path[at..at + 3]);
                at += 3;
            }
            None => {
                if b"\"<>`{}|^".contains(&byte) {
                    text.push('%');
                    let _ = write!(text, "{byte:02X}");
                } else {
                    text.push(char::from(byte));
                }
                at += 1;
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: PathNormalization, cases: &[(&str, &str)]) {
        for (sent, seen) in cases {
            assert_eq!(
                normalize(sent, mode).as_deref(),
                Ok(*seen),
                "{sent} under {mode:?}"
            );
        }
    }

    #[test]
    fn without_normalization_a_path_stays_as_it_is() {
        check(
            PathNormalization::None,
            &[("/app/../admin", "/app/../admin"), ("/app%2f/", "/app%2f/")],
        );
    }

    #[test]
    fn the_default_resolves_dots_backslashes_and_needless_escapes() {
        check(
            PathNormalization::Base,
            &[
                ("/", "/"),
                ("/app/../admin", "/admin"),
                ("/app/%2E./admin", "/admin"),
                ("/xyz%30..//abc", "/xyz0..//abc"),
                ("/app\\admin", "/app/admin"),
                ("/app//../admin", "/app/admin"),
                ("/app//../../admin", "/admin"),
                ("/data/.?x=/../y", "/data/?x=/../y"),
            ],
        );
    }

    #[test]
    fn the_default_leaves_double_and_escaped_slashes_alone() {
        check(
            PathNormalization::Base,
            &[
                ("/app//", "/app//"),
                ("/app/%2f", "/app/%2f"),
                ("/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc"),
                (
                    "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc",
                    "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
                ),
            ],
        );
    }

    #[test]
    fn merging_makes_one_slash_of_many() {
        check(
            PathNormalization::MergeSlashes,
            &[
                ("/app//", "/app/"),
                ("/app/\\/\\/\\admin", "/app/admin"),
                ("/app%2f/", "/app%2f/"),
            ],
        );
    }

    #[test]
    fn decoding_makes_slashes_of_their_escapes() {
        check(
            PathNormalization::DecodeAndMergeSlashes,
            &[
                ("/app/%2f", "/app/"),
                ("/%2Fapp%5cadmin%5Cabc", "/app/admin/abc"),
                ("/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/app/admin/abc"),
                ("/%c0%2fadmin", "/%c0/admin"),
                ("/%252e%252e/admin", "/%252e%252e/admin"),
                ("/.../admin", "/.../admin"),
                ("/;/admin", "/;/admin"),
            ],
        );
    }

    #[test]
    fn a_path_parameter_does_not_hide_a_dot_segment() {
        check(
            PathNormalization::Base,
            &[
                ("/..;/admin", "/admin"),
                ("/a;b/..;x/c", "/c"),
                ("/%2e%2e;/x", "/..;/x"),
                ("/a/.;", "/a/"),
            ],
        );
    }

    #[test]
    fn characters_that_may_not_stand_in_a_path_are_escaped() {
        check(
            PathNormalization::Base,
            &[("/a|b", "/a%7Cb"), ("/a{b}", "/a%7Bb%7D"), ("/%zz", "/%zz")],
        );
    }

    #[test]
    fn a_fragment_is_cut_off_first() {
        let cases = [("/a#b", "/a"), ("/a#/../b", "/a"), ("/a?x=1#b", "/a?x=1")];
        check(PathNormalization::Base, &cases);
        check(PathNormalization::None, &cases);
    }

    #[test]
    fn a_zero_byte_is_refused() {
        let refused = Err("path_normalization_failed");
        assert_eq!(normalize("/admin%00", PathNormalization::Base), refused);
    }

    #[test]
    fn what_is_no_path_is_refused_before_that() {
        assert_eq!(
            normalize("x", PathNormalization::Base),
            Err("http1.codec_error")
        );
        assert_eq!(
            normalize("/\u{e9}", PathNormalization::Base),
            Err("http1.codec_error")
        );
    }
}
