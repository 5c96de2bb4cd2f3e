//! The request that is explained or decided.

use std::fmt;
use std::net::IpAddr;

use secrecy::SecretString;
use serde_json::{Map, Value};

/// An HTTP/1.1 request as it reaches the workload's sidecar. What is `None` was not
/// given: no answer will depend on a guess about it.
///
/// Headers are the exception: a header that is not listed is not sent.
#[derive(Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Option<String>,
    /// The target, as sent: a path with its query, a URL, or what CONNECT names.
    pub path: Option<String>,
    /// Host header, with its port if it has one.
    pub host: Option<String>,
    /// Scheme as the sidecar sees it; inside the mesh it is `http` even over mTLS.
    pub scheme: String,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// Port of the pod (not of the Service).
    pub port: Option<u16>,
    /// Who holds the other end of the connection.
    pub peer: Peer,
    /// Address of the direct peer.
    pub source_ip: Option<IpAddr>,
    /// Address of the original client.
    pub remote_ip: Option<IpAddr>,
    /// Address of the pod.
    pub destination_ip: Option<IpAddr>,
    /// Server name of the TLS handshake.
    pub sni: Option<String>,
}

/// Header values can be tokens, so they are not shown.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path_without_query())
            .field("host", &self.host)
            .field("headers", &names)
            .field("port", &self.port)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// A request of which nothing is known.
impl Default for Request {
    fn default() -> Self {
        Self {
            method: None,
            path: None,
            host: None,
            scheme: "http".to_owned(),
            headers: Vec::new(),
            port: None,
            peer: Peer::Unknown,
            source_ip: None,
            remote_ip: None,
            destination_ip: None,
            sni: None,
        }
    }
}

impl Request {
    /// A request of which only method and path are known.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: Some(method.to_owned()),
            path: Some(path.to_owned()),
            ..Self::default()
        }
    }

    /// The values of a header, in the order sent.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(had, _)| had.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_method(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    pub(crate) fn is_connect(&self) -> bool {
        self.is_method("CONNECT")
    }

    /// What path rules are about: neither query nor fragment counts.
    pub(crate) fn path_without_query(&self) -> Option<&str> {
        let path = self.path.as_deref()?;
        Some(path.split(['?', '#']).next().unwrap_or(path))
    }
}

/// Who holds the other end of the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Peer {
    /// Not said.
    #[default]
    Unknown,
    /// Nobody that proved who it is.
    Plaintext,
    /// A workload with a certificate of the mesh.
    Mtls(Identity),
}

impl Peer {
    /// A workload by its principal, `TRUSTDOMAIN/ns/NAMESPACE/sa/ACCOUNT`, with
    /// or without `spiffe://`.
    pub fn mtls(principal: &str) -> Self {
        Self::Mtls(Identity::new(principal))
    }
}

/// A workload's SPIFFE identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    uri: String,
}

impl Identity {
    const SCHEME: &str = "spiffe://";

    /// From a principal, with or without `spiffe://`.
    pub fn new(principal: &str) -> Self {
        let bare = principal.strip_prefix(Self::SCHEME).unwrap_or(principal);
        Self {
            uri: format!("{}{bare}", Self::SCHEME),
        }
    }

    /// With `spiffe://`.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Without `spiffe://`, as policies write it.
    pub fn principal(&self) -> &str {
        &self.uri[Self::SCHEME.len()..]
    }
}

/// The token a request carries.
#[derive(Debug, Clone, Default)]
pub enum Token {
    /// Not said; it is asked for if the answer depends on it.
    #[default]
    Unknown,
    /// The request has none, besides what its headers hold.
    None,
    /// Sent as `Authorization: Bearer …`.
    Bearer(SecretString),
}

/// The claims that the authorization filters see.
#[derive(Clone, Default)]
pub enum Claims {
    /// Nobody knows yet.
    #[default]
    Unknown,
    /// No token was verified.
    None,
    /// Payload of the verified token.
    Verified(Map<String, Value>),
}

/// Claims are about people, so only their names are shown.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("Unknown"),
            Self::None => f.write_str("None"),
            Self::Verified(payload) => {
                let names: Vec<_> = payload.keys().collect();
                f.debug_tuple("Verified").field(&names).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_header_values_and_no_query() {
        let mut request = Request::new("GET", "/data?access_token=eyJhbGciOi");
        request
            .headers
            .push(("authorization".to_owned(), "Bearer eyJhbGciOi".to_owned()));
        let shown = format!("{request:?}");
        assert!(!shown.contains("eyJ"), "{shown}");
        assert!(shown.contains("/data"));
    }

    #[test]
    fn debug_output_of_claims_shows_their_names_only() {
        let payload = Map::from_iter([("email".to_owned(), Value::from("user@example.com"))]);
        let shown = format!("{:?}", Claims::Verified(payload));
        assert_eq!(shown, r#"Verified(["email"])"#);
    }

    #[test]
    fn a_principal_reads_the_same_with_and_without_its_scheme() {
        let bare = Identity::new("cluster.local/ns/demo/sa/frontend");
        assert_eq!(
            bare,
            Identity::new("spiffe://cluster.local/ns/demo/sa/frontend")
        );
        assert_eq!(bare.principal(), "cluster.local/ns/demo/sa/frontend");
    }
}
