//! The third witness: what an application's own log says of a request.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A line of an application's log.
#[derive(Clone, Debug)]
pub struct AppLine {
    /// Whose: the Deployment's name.
    pub at: String,
    /// The line.
    pub text: String,
}

/// One request that reached an application, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRecord {
    /// Which application: the Deployment's name.
    pub at: String,
    /// The request's `x-request-id`.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// All that looks like one of the mesh's identity headers.
    pub identity: BTreeMap<String, Vec<String>>,
    /// `x-forwarded-client-cert`.
    pub client_cert: Option<String>,
    /// The status it answered.
    pub status: u16,
}

#[derive(Deserialize)]
struct Line {
    status: u16,
    span: Span,
}

#[derive(Deserialize)]
struct Span {
    request_id: String,
    method: String,
    path: String,
    identity: Option<String>,
    client_cert: Option<String>,
}

impl AppRecord {
    /// Reads a line; none if it is about no request.
    pub fn parse(line: &AppLine) -> Option<Self> {
        let Line { status, span } = serde_json::from_str(&line.text).ok()?;
        let identity = span.identity.map(|text| serde_json::from_str(&text));
        Some(Self {
            at: line.at.clone(),
            request_id: span.request_id,
            method: span.method,
            path: span.path,
            // Unreadable means that something is there that must not be.
            identity: identity
                .unwrap_or_else(|| Ok(BTreeMap::new()))
                .unwrap_or_else(|error| {
                    BTreeMap::from([("unreadable".to_owned(), vec![error.to_string()])])
                }),
            client_cert: span.client_cert,
            status,
        })
    }

    /// The record in words.
    pub fn in_words(&self) -> String {
        let identity: Vec<_> = self
            .identity
            .iter()
            .map(|(name, values)| format!("{name}: {}", values.join(" | ")))
            .collect();
        let identity = if identity.is_empty() {
            "nobody".to_owned()
        } else {
            identity.join(", ")
        };
        format!("{} {} {} as {identity}", self.at, self.method, self.path)
    }

    /// The callers that the elements of `x-forwarded-client-cert` name, in order
    /// (Envoy appends the one that it has verified itself).
    pub fn callers(&self) -> Vec<String> {
        let elements = self.client_cert.iter().flat_map(|value| value.split(','));
        elements
            .map(|element| {
                let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
                let uri = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("uri"));
                uri.map_or_else(String::new, |(_, value)| value.trim_matches('"').to_owned())
            })
            .collect()
    }
}

/// Whether an application might take a header for one of the mesh's: those that it
/// records, as some read `_` and `-` alike.
pub fn is_identity(header: &str) -> bool {
    header.replace('_', "-").starts_with("x-jwt-")
}

/// What Envoy writes into a header for a claim: text and whole numbers as they
/// are, and none for an empty text. Lists and objects, which it writes in base64,
/// are told by the attack itself.
pub fn claim_in_header(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_service_is_read_back() {
        let text = r#"{"timestamp":"x","level":"INFO","status":200,"latency_seconds":0.1,
            "message":"answered","span":{"request_id":"7","method":"GET","path":"/data",
            "identity":"{\"x-jwt-sub\":[\"a\",\"b\"]}",
            "client_cert":"By=spiffe://td/b;Hash=1;URI=spiffe://td/x,By=z;URI=spiffe://td/y",
            "name":"request"}}"#;
        let line = AppLine {
            at: "backend".to_owned(),
            text: text.replace('\n', ""),
        };
        let record = AppRecord::parse(&line).unwrap();
        assert_eq!(record.identity["x-jwt-sub"], ["a", "b"]);
        assert_eq!(record.callers(), ["spiffe://td/x", "spiffe://td/y"]);
        assert_eq!(record.in_words(), "backend GET /data as x-jwt-sub: a | b");
        let other = AppLine {
            at: "backend".to_owned(),
            text: r#"{"level":"INFO","message":"listening"}"#.to_owned(),
        };
        assert_eq!(AppRecord::parse(&other), None);
    }
}
