//! One question to both the model and Envoy, whole and readable.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use policy::{KeySets, Manifests, Mesh, Peer, TranslateError, Workload};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::token::{Keyring, Token};
use envoy::PortRules;

/// The callers that have a certificate of the mesh's authority.
pub const PRINCIPALS: [&str; 4] = [
    "cluster.local/ns/demo/sa/frontend",
    "cluster.local/ns/other/sa/intruder",
    "old.domain/ns/demo/sa/frontend",
    "elsewhere.org/ns/demo/sa/frontend",
];

/// The server names that the sidecar's certificate has.
pub const SERVER_NAMES: [&str; 3] = [
    "backend.demo",
    "outbound.8080.backend.demo",
    "other.example.com",
];

/// Where connections come from; `ipBlocks` and `source.ip` see it.
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One call to one sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// What there is to be seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shows: String,
    /// The kind of Envoy's answer ([`Answer::kind`](super::answer::Answer::kind)).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
    /// Who decides.
    #[serde(default)]
    pub sidecar: Sidecar,
    /// What is decided.
    #[serde(default)]
    pub call: Call,
}

/// The sidecar of the workload `app: backend` in namespace `demo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// Mesh-wide settings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mesh: Mesh,
    /// Istio's resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Value>,
    /// Each issuer's key set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Vec<PublicKey>>,
}

/// A key of a key set: members of the JWK (RFC 7517 §4), where `key` stands for
/// those that a key of the run has, and `null` takes one of them away.
pub type PublicKey = Map<String, Value>;

/// A connection and a request on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The connection.
    #[serde(default, skip_serializing_if = "is_default")]
    pub connection: Connection,
    /// Tokens by the names that stand for them in the request, as in `{good}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, Token>,
    /// The request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub request: Request,
}

/// What is true of all requests of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connection {
    /// The caller, one of [`PRINCIPALS`]; without one it is plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The server name of the TLS handshake, one of [`SERVER_NAMES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Where it comes from by the PROXY header, as `remoteIpBlocks` see it.
    pub from: IpAddr,
    /// The pod's address.
    pub to: IpAddr,
    /// The pod's port.
    pub port: u16,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            principal: None,
            server_name: None,
            from: IpAddr::from([192, 0, 2, 1]),
            to: IpAddr::from([10, 0, 0, 9]),
            port: 8080,
        }
    }
}

/// An HTTP/1.1 request, sent as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path with query, or another target.
    pub path: String,
    /// Host header.
    pub host: String,
    /// Further headers: name and value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: "x".to_owned(),
            headers: Vec::new(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why a sidecar cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum NotAskable {
    /// The API server would refuse the manifests.
    #[error(transparent)]
    Manifests(#[from] policy::InvalidManifests),
    /// They need more than manifests.
    #[error(transparent)]
    Translation(#[from] TranslateError),
    /// Where an issuer has no keys, the model does not guess at them.
    #[error("no keys for {}", .0.join(", "))]
    NoKeys(Vec<String>),
    /// A key set names a key that no run has.
    #[error("no run has a key named {0}")]
    NoSuchKey(Value),
}

/// A sidecar as the model takes it.
#[derive(Debug)]
pub struct Rules {
    /// Mesh-wide settings.
    pub mesh: Mesh,
    /// Istio's resources.
    pub manifests: Manifests,
    /// Key sets by issuer.
    pub keys: KeySets,
}

/// Whose sidecar it is.
pub fn workload() -> Workload {
    Workload::app("demo", "backend")
}

impl Sidecar {
    /// Reads the manifests as they would be read from files.
    pub fn rules(&self, keyring: &Keyring) -> Result<Rules, NotAskable> {
        let documents: Vec<_> = self.manifests.iter().map(Value::to_string).collect();
        let manifests = Manifests::parse("scene", &documents.join("\n---\n"))?;
        let mut keys = KeySets::new();
        for (issuer, set) in &self.keys {
            let set: Vec<_> = set
                .iter()
                .map(|key| public_key(key, keyring))
                .collect::<Result<_, _>>()?;
            keys.insert(issuer.clone(), json!({"keys": set}).to_string());
        }
        Ok(Rules {
            mesh: self.mesh.clone(),
            manifests,
            keys,
        })
    }
}

fn public_key(key: &PublicKey, keyring: &Keyring) -> Result<PublicKey, NotAskable> {
    let mut members = match key.get("key") {
        None => PublicKey::new(),
        Some(name) => name
            .as_str()
            .and_then(|name| keyring.public(name))
            .ok_or_else(|| NotAskable::NoSuchKey(name.clone()))?,
    };
    for (name, value) in key.iter().filter(|(name, _)| *name != "key") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    Ok(members)
}

impl Rules {
    /// What istiod would put in force on these ports.
    pub fn on_ports(&self, ports: &[u16]) -> Result<Vec<PortRules>, NotAskable> {
        let rules = ports.iter().map(|&port| {
            let (rules, without_keys) =
                PortRules::of(&self.mesh, &self.manifests, &self.keys, &workload(), port)?;
            if without_keys.is_empty() {
                Ok(rules)
            } else {
                Err(NotAskable::NoKeys(without_keys))
            }
        });
        rules.collect()
    }
}

impl Connection {
    /// Fails for a caller or a server name that no certificate has, and for
    /// addresses that one PROXY header cannot hold.
    pub fn check(&self) -> Result<()> {
        if let Some(principal) = &self.principal {
            ensure!(
                PRINCIPALS.contains(&principal.as_str()),
                "principal {principal}: must be one of {PRINCIPALS:?}"
            );
        }
        if let Some(name) = &self.server_name {
            ensure!(
                SERVER_NAMES.contains(&name.as_str()),
                "server_name {name}: must be one of {SERVER_NAMES:?}"
            );
        }
        ensure!(
            self.from.is_ipv4() == self.to.is_ipv4(),
            "from and to must both be IPv4 or both be IPv6"
        );
        Ok(())
    }

    /// The header that says from where to where (PROXY protocol, version 1).
    pub fn proxy_header(&self, source_port: u16) -> String {
        let Self { from, to, port, .. } = self;
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        format!("PROXY {family} {from} {to} {source_port} {port}\r\n")
    }
}

impl Call {
    /// Whether it can be sent: what belongs to the scene is there, and no part
    /// of the request ends it early.
    pub fn is_sound(&self, keyring: &Keyring) -> bool {
        let Ok(request) = self.request(keyring, 0) else {
            return false;
        };
        let word = |text: &str| !text.is_empty() && !text.contains([' ', '\r', '\n']);
        self.connection.check().is_ok()
            && [&request.method, &request.path, &request.host]
                .into_iter()
                .all(|text| word(text))
            && request
                .headers
                .iter()
                .all(|(name, value)| word(name) && !value.contains(['\r', '\n']))
    }

    /// Makes the tokens and puts them where they belong.
    pub fn request(&self, keyring: &Keyring, now: u64) -> Result<Request> {
        let mut request = self.request.clone();
        for (name, token) in &self.tokens {
            let text = token
                .text(keyring, now)
                .with_context(|| format!("token {name}"))?;
            let place = format!("{{{name}}}");
            request.path = request.path.replace(&place, &text);
            for (_, value) in &mut request.headers {
                *value = value.replace(&place, &text);
            }
        }
        Ok(request)
    }

    /// The same as the model takes it: `request` is [`Self::request`]'s.
    pub fn for_model(&self, request: &Request) -> policy::Request {
        let connection = &self.connection;
        let forwarded = request
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-proto"))
            .map(|(_, scheme)| scheme.to_ascii_lowercase())
            .filter(|scheme| scheme == "http" || scheme == "https");
        let tls = connection.principal.is_some();
        let scheme = forwarded.unwrap_or_else(|| if tls { "https" } else { "http" }.to_owned());
        policy::Request {
            method: Some(request.method.clone()),
            path: Some(request.path.clone()),
            host: Some(request.host.clone()),
            scheme,
            headers: request.headers.clone(),
            port: Some(connection.port),
            peer: match &connection.principal {
                None => Peer::Plaintext,
                Some(principal) => Peer::mtls(principal),
            },
            source_ip: Some(SOURCE),
            remote_ip: Some(connection.from),
            destination_ip: Some(connection.to),
            sni: Some(connection.server_name.clone().unwrap_or_default()),
        }
    }
}
