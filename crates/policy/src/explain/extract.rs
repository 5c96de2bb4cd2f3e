//! Where a request carries tokens.

use std::collections::BTreeMap;

use crate::request::Request;
use crate::types::JwtRule;

/// A token as it was found. No `Debug`: it is a secret.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) place: Place,
}

pub(super) enum Place {
    Header(String),
    Param(String),
    Cookie(String),
}

impl Place {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Header(name) => format!("header `{name}`"),
            Self::Param(name) => format!("query parameter `{name}`"),
            Self::Cookie(name) => format!("cookie `{name}`"),
        }
    }
}

/// Headers, then query parameters, then cookies. Any location that is named
/// replaces the defaults (`Authorization: Bearer …` and `access_token`).
pub(super) fn extract(request: &Request, rule: &JwtRule) -> Vec<Found> {
    let mut headers: Vec<(String, &str)> = Vec::new();
    let mut params: Vec<&str> = rule.from_params.iter().map(String::as_str).collect();
    let mut cookies: Vec<&str> = rule.from_cookies.iter().map(String::as_str).collect();
    for header in &rule.from_headers {
        headers.push((header.name.to_ascii_lowercase(), &header.prefix));
    }
    if headers.is_empty() && params.is_empty() && cookies.is_empty() {
        headers.push(("authorization".to_owned(), "Bearer "));
        params.push("access_token");
    }
    headers.sort_by_key(|(name, prefix)| format!("{name}{prefix}"));
    headers.dedup();
    params.sort_unstable();
    params.dedup();
    cookies.sort_unstable();
    cookies.dedup();

    let mut found = Vec::new();
    for (name, prefix) in headers {
        for value in request.header(&name) {
            if let Some(text) = after_prefix(value, prefix) {
                found.push(Found {
                    text: text.to_owned(),
                    place: Place::Header(name.clone()),
                });
            }
        }
    }
    let query = query(request.path.as_deref().unwrap_or_default());
    for name in params {
        if let Some((_, text)) = query.iter().find(|(had, _)| had == name) {
            found.push(Found {
                text: text.clone(),
                place: Place::Param(name.to_owned()),
            });
        }
    }
    let jar = cookie_jar(request);
    for name in cookies {
        if let Some(text) = jar.get(name) {
            found.push(Found {
                text: text.clone(),
                place: Place::Cookie(name.to_owned()),
            });
        }
    }
    found
}

/// What follows the prefix, wherever it stands in the value, from the first
/// character on that can be in a token.
fn after_prefix<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(value);
    }
    let after = value.find(prefix)? + prefix.len();
    let start =
        value[after..].find(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    Some(start.map_or(value, |start| &value[after + start..]))
}

/// Decoded query parameters in order.
fn query(path: &str) -> Vec<(String, String)> {
    let Some((_, query)) = path.split_once('?') else {
        return Vec::new();
    };
    query
        .split('&')
        .filter(|part| !part.is_empty() || query.contains('&'))
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (percent_decode(name), percent_decode(value))
        })
        .collect()
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten();
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Takes a parameter out of the query. Envoy then writes the others anew: decoded,
/// in the order of their names, each with its `=`.
pub(super) fn remove_param(request: &mut Request, name: &str) {
    let Some(path) = &mut request.path else {
        return;
    };
    let mut kept = query(path);
    kept.retain(|(had, _)| had != name);
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    let kept: Vec<_> = kept
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    path.truncate(path.find('?').unwrap_or(path.len()));
    if !kept.is_empty() {
        path.push('?');
        path.push_str(&kept.join("&"));
    }
}

/// The first value of each cookie.
fn cookie_jar(request: &Request) -> BTreeMap<String, String> {
    let mut jar = BTreeMap::new();
    for pair in request
        .header("cookie")
        .flat_map(|header| header.split(';'))
    {
        let Some((name, value)) = pair.trim().split_once('=') else {
            continue;
        };
        let value = value
            .strip_prefix('"')
            .and_then(|v| v.strip_suffix('"'))
            .unwrap_or(value);
        jar.entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    jar
}

/// Headers that this provider fills are removed first, so nobody can forge them.
pub(super) fn sanitize(request: &mut Request, rule: &JwtRule) {
    let is_output = |name: &str| {
        rule.output_payload_to_header.eq_ignore_ascii_case(name)
            || rule
                .output_claim_to_headers
                .iter()
                .any(|one| one.header.eq_ignore_ascii_case(name))
    };
    request.headers.retain(|(name, _)| !is_output(name));
}
