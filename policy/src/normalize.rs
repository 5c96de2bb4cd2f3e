//! What a sidecar does to a path before any filter sees it
//! (`MeshConfig.pathNormalization`).

use std::borrow::Cow;

use crate::select::PathNormalization;

/// The path as the filters see it, with its query; `None` if Envoy answers 400.
pub(crate) fn normalize(path: &str, mode: PathNormalization) -> Option<Cow<'_, str>> {
    // Envoy drops a fragment before anything else.
    let path = path.split('#').next().unwrap_or(path);
    if mode == PathNormalization::None || is_plain(path) {
        return Some(Cow::Borrowed(path));
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
    if matches!(mode, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes) {
        text = merge_slashes(&text);
    }
    Some(Cow::Owned(match query {
        Some(query) => format!("{text}?{query}"),
        None => text,
    }))
}

/// Nothing in it that normalization could change.
fn is_plain(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    path.starts_with('/')
        && !path.contains("/.")
        && !path.contains("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\%\"<>`{}|^".contains(&byte))
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
fn resolve(path: &str) -> Option<String> {
    let path = decode_unreserved(&path.replace('\\', "/"))?;
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.strip_prefix('/')?.split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." if last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(part),
        }
    }
    Some(format!("/{}", segments.join("/")))
}

/// Other escapes stay as they are; a zero byte is refused. Characters that may
/// not stand in a path are escaped.
fn decode_unreserved(path: &str) -> Option<String> {
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
            Some(0) => return None,
            Some(value) if value.is_ascii_alphanumeric() || b"-._~".contains(&value) => {
                text.push(char::from(value));
                at += 3;
            }
            Some(_) => {
                text.push_str(&path[at..at + 3]);
                at += 3;
            }
            None => {
                if byte.is_ascii_graphic() && !b"\"<>`{}|^".contains(&byte) {
                    text.push(char::from(byte));
                } else {
                    text.push_str(&format!("%{byte:02X}"));
                }
                at += 1;
            }
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: PathNormalization, cases: &[(&str, &str)]) {
        for (sent, seen) in cases {
            assert_eq!(normalize(sent, mode).as_deref(), Some(*seen), "{sent} under {mode:?}");
        }
    }

    #[test]
    fn without_normalization_a_path_stays_as_it_is() {
        check(
            PathNormalization::None,
            &[("/app/../admin", "/app/../admin"), ("/app%2f/", "/app%2f/"), ("/app#foo", "/app")],
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
                ("/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc", "/%5Capp%2f%5c%2F..%2fadmin%5c/abc"),
            ],
        );
    }

    #[test]
    fn merging_makes_one_slash_of_many() {
        check(
            PathNormalization::MergeSlashes,
            &[("/app//", "/app/"), ("/app/\\/\\/\\admin", "/app/admin"), ("/app%2f/", "/app%2f/")],
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
    fn an_escaped_zero_byte_is_refused() {
        assert_eq!(normalize("/admin%00", PathNormalization::Base), None);
    }
}
