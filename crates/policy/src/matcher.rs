//! Envoy's matchers, as istiod fills them in.

pub(crate) mod template;

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;
use serde_json::{Map, Value};

use crate::request::{Claims, Peer, Request};

/// Whether something holds, when not everything need be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tri {
    No,
    Unknown,
    Yes,
}

impl Tri {
    pub(crate) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }

    /// One is enough.
    pub(crate) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::No;
        for one in all {
            match one {
                Self::Yes => return Self::Yes,
                Self::Unknown => result = Self::Unknown,
                Self::No => {}
            }
        }
        result
    }

    /// All are needed.
    pub(crate) fn all(all: impl IntoIterator<Item = Self>) -> Self {
        Self::any(all.into_iter().map(Self::not)).not()
    }
}

impl From<bool> for Tri {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// `envoy.type.matcher.v3.StringMatcher`.
#[derive(Debug, Clone)]
pub(crate) struct StringMatcher {
    pub(crate) pattern: Pattern,
    pub(crate) ignore_case: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    /// The regex `.+`: anything but nothing.
    NotEmpty,
    /// A regex over the whole value; kept as istiod writes it.
    Regex(String, Regex),
}

impl StringMatcher {
    pub(crate) fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            ignore_case: false,
        }
    }

    pub(crate) fn exact(text: &str) -> Self {
        Self::new(Pattern::Exact(text.to_owned()))
    }

    /// `*`, `*suffix`, `prefix*` or an exact value. A leading `*` is seen first:
    /// `*a*` ends with a literal `a*`.
    pub(crate) fn from_value(value: &str) -> Self {
        Self::new(if value == "*" {
            Pattern::NotEmpty
        } else if let Some(suffix) = value.strip_prefix('*') {
            Pattern::Suffix(suffix.to_owned())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Pattern::Prefix(prefix.to_owned())
        } else {
            Pattern::Exact(value.to_owned())
        })
    }

    /// A regex that must match the whole value.
    pub(crate) fn regex(source: String) -> Self {
        let anchored = format!("^(?:{source})$");
        // Every source is built from quoted text, so it compiles; should it not,
        // it matches nothing, as Envoy would refuse the configuration.
        Self::new(match Regex::new(&anchored) {
            Ok(regex) => Pattern::Regex(source, regex),
            Err(_) => Pattern::Exact(source),
        })
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        match &self.pattern {
            Pattern::Exact(text) if self.ignore_case => value.eq_ignore_ascii_case(text),
            Pattern::Exact(text) => value == text,
            Pattern::Prefix(text) => value
                .as_bytes()
                .get(..text.len())
                .is_some_and(|head| self.same(head, text.as_bytes())),
            Pattern::Suffix(text) => value
                .len()
                .checked_sub(text.len())
                .is_some_and(|at| self.same(&value.as_bytes()[at..], text.as_bytes())),
            Pattern::NotEmpty => !value.is_empty() && !value.contains('\n'),
            Pattern::Regex(_, regex) => regex.is_match(value),
        }
    }

    fn same(&self, left: &[u8], right: &[u8]) -> bool {
        if self.ignore_case {
            left.eq_ignore_ascii_case(right)
        } else {
            left == right
        }
    }

    /// Some value that matches, to show or to try.
    pub(crate) fn example(&self) -> Option<String> {
        Some(match &self.pattern {
            Pattern::Exact(text) => text.clone(),
            Pattern::Prefix(text) => format!("{text}x"),
            Pattern::Suffix(text) => format!("x{text}"),
            Pattern::NotEmpty => "x".to_owned(),
            Pattern::Regex(..) => return None,
        })
    }
}

/// Escapes what Go's `regexp.QuoteMeta` escapes, so that the text is istiod's.
pub(crate) fn quote_meta(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// The value of one header condition.
#[derive(Debug, Clone)]
pub(crate) enum HeaderValue {
    Present,
    Matches(StringMatcher),
}

/// A single test on a request; with `any of`, `all of` and `not` around it, all
/// that Istio's policies come down to.
#[derive(Debug, Clone)]
pub(crate) enum Leaf {
    DestinationIp(IpNet),
    DestinationPort(u16),
    Sni(StringMatcher),
    Header {
        name: String,
        value: HeaderValue,
    },
    UrlPath(StringMatcher),
    UriTemplate {
        text: String,
        regex: Option<Regex>,
    },
    Authenticated(StringMatcher),
    SourceIp(IpNet),
    RemoteIp(IpNet),
    /// A verified claim that is, or lists, a matching string.
    Claim {
        path: Vec<String>,
        values: Vec<StringMatcher>,
    },
    /// Issuer and subject of a verified token.
    RequestPrincipal {
        issuer: StringMatcher,
        subject: StringMatcher,
    },
    /// Metadata of any filter; each value matches a list (true) or a string.
    FilterMetadata {
        filter: String,
        key: String,
        values: Vec<(bool, StringMatcher)>,
    },
}

/// An input that an answer depends on and that was not given.
pub(crate) type Missing = &'static str;

impl Leaf {
    pub(crate) fn test(&self, request: &Request, claims: &Claims) -> Tri {
        match self {
            Self::DestinationIp(net) => in_block(request.destination_ip, net),
            Self::DestinationPort(port) => known(request.port, |had| had == *port),
            Self::Sni(matcher) => known(request.sni.as_deref(), |had| matcher.matches(had)),
            Self::Header { name, value } => test_header(name, value, request),
            Self::UrlPath(matcher) => {
                known(request.path_without_query(), |had| matcher.matches(had))
            }
            Self::UriTemplate { regex, .. } => known(request.path_without_query(), |had| {
                regex.as_ref().is_some_and(|regex| regex.is_match(had))
            }),
            Self::Authenticated(matcher) => match &request.peer {
                Peer::Unknown => Tri::Unknown,
                Peer::Plaintext => Tri::No,
                Peer::Mtls(spiffe) => matcher.matches(spiffe.uri()).into(),
            },
            Self::SourceIp(net) => in_block(request.source_ip, net),
            Self::RemoteIp(net) => in_block(request.remote_ip, net),
            Self::Claim { path, values } => match claims {
                Claims::Unknown => Tri::Unknown,
                Claims::None => Tri::No,
                Claims::Verified(payload) => claim_matches(payload, path, values).into(),
            },
            Self::RequestPrincipal { issuer, subject } => match claims {
                Claims::Unknown => Tri::Unknown,
                Claims::None => Tri::No,
                Claims::Verified(payload) => {
                    let matches = |name, matcher: &StringMatcher| {
                        let value = payload.get(name).and_then(Value::as_str);
                        value.is_some_and(|value| matcher.matches(value))
                    };
                    (matches("iss", issuer) && matches("sub", subject)).into()
                }
            },
            Self::FilterMetadata { .. } => Tri::Unknown,
        }
    }

    /// What must be given for this test to have an answer.
    pub(crate) fn input(&self) -> Missing {
        match self {
            Self::DestinationIp(_) => "destination IP",
            Self::DestinationPort(_) => "port",
            Self::Sni(_) => "SNI",
            Self::Header { name, .. } => match pseudo_header(name) {
                Some(":method") => "method",
                Some(":authority") => "host",
                Some(":path") => "path",
                _ => "headers",
            },
            Self::UrlPath(_) | Self::UriTemplate { .. } => "path",
            Self::Authenticated(_) => "source principal",
            Self::SourceIp(_) => "source IP",
            Self::RemoteIp(_) => "remote IP",
            Self::Claim { .. } | Self::RequestPrincipal { .. } => "token",
            Self::FilterMetadata { .. } => "metadata of other filters",
        }
    }
}

fn known<T>(given: Option<T>, test: impl FnOnce(T) -> bool) -> Tri {
    given.map_or(Tri::Unknown, |value| test(value).into())
}

fn in_block(address: Option<IpAddr>, net: &IpNet) -> Tri {
    known(address, |address| net.contains(&address))
}

fn test_header(name: &str, value: &HeaderValue, request: &Request) -> Tri {
    let test = |had: &str| match value {
        HeaderValue::Present => true,
        HeaderValue::Matches(matcher) => matcher.matches(had),
    };
    match pseudo_header(name) {
        Some(":method") => known(request.method.as_deref(), test),
        Some(":authority") => known(request.host.as_deref(), test),
        Some(":path") => known(request.path.as_deref(), test),
        Some(":scheme") => test(&request.scheme).into(),
        // Each value of a repeated header counts by itself.
        _ => request.header(name).any(test).into(),
    }
}

/// The request's own fields that Envoy keeps as headers; `Host` is one of them.
fn pseudo_header(name: &str) -> Option<&'static str> {
    match name {
        ":method" => Some(":method"),
        ":path" => Some(":path"),
        ":scheme" => Some(":scheme"),
        ":authority" => Some(":authority"),
        _ if name.eq_ignore_ascii_case("host") => Some(":authority"),
        _ => None,
    }
}

/// Only strings, and strings in a list, can match; numbers, booleans, objects
/// and null never do.
fn claim_matches(payload: &Map<String, Value>, path: &[String], values: &[StringMatcher]) -> bool {
    let one = |text: &str| values.iter().any(|matcher| matcher.matches(text));
    match claim(payload, path) {
        Some(Value::String(text)) => one(text),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(one),
        _ => false,
    }
}

/// The value at a path of nested claims.
pub(crate) fn claim<'a>(payload: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(payload.get(first)?, |value, name| value.get(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_alone_needs_a_value_that_is_not_empty() {
        let any = StringMatcher::from_value("*");
        assert!(any.matches("x"));
        assert!(!any.matches(""));
    }

    #[test]
    fn a_leading_star_is_seen_before_a_trailing_one() {
        let suffix = StringMatcher::from_value("*a*");
        assert!(suffix.matches("xa*"));
        assert!(!suffix.matches("xab"));
    }

    #[test]
    fn strings_are_compared_with_their_case() {
        assert!(StringMatcher::from_value("Foo*").matches("Foobar"));
        assert!(!StringMatcher::from_value("Foo*").matches("foobar"));
        assert!(StringMatcher::from_value("*Bar").matches("fooBar"));
        assert!(!StringMatcher::from_value("foo").matches("fooo"));
    }

    #[test]
    fn prefixes_and_suffixes_can_ignore_case() {
        let mut matcher = StringMatcher::from_value("*.Example.com");
        matcher.ignore_case = true;
        assert!(matcher.matches("a.EXAMPLE.com"));
        assert!(!matcher.matches("a.example.com:80"));
    }

    #[test]
    fn an_unknown_input_leaves_the_answer_open_only_if_it_matters() {
        assert_eq!(Tri::any([Tri::Unknown, Tri::Yes]), Tri::Yes);
        assert_eq!(Tri::any([Tri::Unknown, Tri::No]), Tri::Unknown);
        assert_eq!(Tri::all([Tri::Unknown, Tri::No]), Tri::No);
        assert_eq!(Tri::all([Tri::Unknown, Tri::Yes]), Tri::Unknown);
        assert_eq!(Tri::all([]), Tri::Yes);
    }
}
