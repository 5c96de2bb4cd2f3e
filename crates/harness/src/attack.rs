//! Attacks: hostile requests, byte for byte, and what must become of each.
//!
//! An attack is data (one file per class, in the folder that the suite names). It is judged by
//! three witnesses: what came back, what the proxy before the workload recorded,
//! and what the workload's own log says. One that is missing proves nothing, so
//! the attack is not green.

mod answer;
pub(crate) mod corpus;
mod fire;
mod h2;
mod judge;
mod template;
mod token;
mod wire;
pub mod witness;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::case::{OneOrMany, StageName};
use crate::suite::{Suite, Unknown};

pub use answer::{Answers, read_answers};
pub use corpus::{Corpus, NothingSelected};
pub use fire::{NoAttacks, Selection, fire};
pub use judge::{Facts, judge};
pub use token::{HostileToken, Smith};
pub use wire::{RawAnswer, Shot};
pub use witness::{AppLine, AppRecord};

/// One hostile request, with nothing left to be expanded.
#[derive(Clone, Debug)]
pub struct Attack {
    /// A name, unique in the corpus.
    pub name: String,
    /// What the attacks of its file have in common.
    pub class: String,
    /// The name before expansion: attacks that differ in one value share it.
    pub group: String,
    /// Why the outcome is what it is, where that is not plain.
    pub why: Option<String>,
    /// What it does.
    pub spec: Spec,
}

/// What an attack does, as it is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Who sends it; the suite's usual attacker unless given.
    #[serde(default)]
    pub from: Origin,
    /// Who is attacked; the suite's usual target unless given.
    #[serde(default)]
    pub to: Target,
    /// `{token}` in the request.
    #[serde(default)]
    pub token: HostileToken,
    /// `{other_token}` in the request.
    #[serde(default)]
    pub other_token: HostileToken,
    /// What is sent.
    #[serde(default)]
    pub request: Sent,
    /// What must become of it.
    pub expect: Expect,
    /// What the proxy has to record, where that is not what was sent.
    #[serde(default)]
    pub logged: Logged,
    /// Whether no request comes about that a proxy could record, so that the
    /// witness is its count of refused connections.
    #[serde(default)]
    pub counted: bool,
    /// Stages that cannot send it, with the reason.
    #[serde(default)]
    pub skip: BTreeMap<StageName, String>,
}

impl Spec {
    /// Whether the proxy's witness is a count, and no record: of connections that
    /// end before there is a request.
    pub fn is_counted(&self) -> bool {
        self.counted || !matches!(self.from, Origin::Caller(_))
    }
}

/// The workload that is attacked, as the mesh knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub struct Target {
    /// Its Deployment's name, as attacks and logs have it.
    pub name: String,
    /// Its Service's host.
    pub host: String,
    /// What it is asked unless an attack says otherwise.
    pub path: String,
    /// Its mTLS identity.
    pub principal: String,
}

impl From<String> for Target {
    fn from(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Target {
    /// What the suite knows of the workload of this name.
    pub fn find(suite: &Suite, name: &str) -> Result<Self, Unknown> {
        let workload = suite.workload(name)?;
        Ok(Self {
            name: name.to_owned(),
            host: suite.host_of(workload).unwrap_or_default(),
            path: suite.request.path.clone(),
            principal: workload.principal(&suite.mesh),
        })
    }
}

/// Who sends an attack, by what the connection proves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// TLS without a certificate.
    NoCertificate,
    /// A certificate for this SPIFFE name, by an authority of the attacker's own
    /// with the name of the mesh's.
    ForeignAuthority(String),
    /// A certificate for this SPIFFE name, signed with the usual attacker's own
    /// certificate as though that were an authority's.
    LeafAsAuthority(String),
    /// A certificate for this SPIFFE name that signed itself.
    SelfSigned(String),
    /// A caller of the suite, with its own certificate.
    #[serde(untagged)]
    Caller(Sender),
}

/// A caller of the suite that sends attacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub struct Sender {
    /// Its name in the suite.
    pub name: String,
    /// Its mTLS identity; without a sidecar it has none, and speaks plain text.
    pub principal: Option<String>,
}

impl From<String> for Sender {
    fn from(name: String) -> Self {
        Self {
            name,
            principal: None,
        }
    }
}

impl Sender {
    /// What the suite knows of the caller of this name.
    pub fn find(suite: &Suite, name: &str) -> Result<Self, Unknown> {
        Ok(Self {
            name: name.to_owned(),
            principal: suite.caller(name)?.principal(&suite.mesh),
        })
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::Caller(Sender::default())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(caller) => f.write_str(&caller.name),
            Self::NoCertificate => write!(f, "nobody"),
            Self::ForeignAuthority(name) => write!(f, "{name} by a foreign authority"),
            Self::LeafAsAuthority(name) => write!(f, "{name} by a member's certificate"),
            Self::SelfSigned(name) => write!(f, "{name} by itself"),
        }
    }
}

impl Origin {
    /// The identity that the proxy must have seen.
    pub fn principal(&self) -> Option<String> {
        match self {
            Self::Caller(caller) => {
                let principal = caller.principal.as_ref()?;
                Some(format!("spiffe://{principal}"))
            }
            _ => None,
        }
    }
}

/// What is sent: by members, or by lines as they stand.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sent {
    /// The HTTP method.
    pub method: String,
    /// Path and query; the suite's usual path unless given.
    pub path: Option<String>,
    /// The protocol at the end of the request line.
    pub version: String,
    /// The `host` header; that of the target unless given.
    pub host: Option<String>,
    /// The values of the `authorization` headers: `Bearer {token}` unless given,
    /// and none without a token.
    pub authorization: Option<OneOrMany>,
    /// The value of `x-request-id`; with an empty one the header is left out.
    pub request_id: String,
    /// Further header lines, as they stand.
    pub headers: Vec<String>,
    /// The body; `content-length` comes with it unless a header line says how
    /// long it is.
    pub body: Option<String>,
    /// All lines of the head, in the place of everything above but the body.
    pub lines: Option<Vec<String>>,
    /// Header names and values of one HTTP/2 request, in the place of everything
    /// above but the body.
    pub h2: Option<Vec<(String, String)>>,
    /// Protocols offered in the TLS handshake.
    pub alpn: Vec<String>,
    /// The server's name in the TLS handshake.
    pub server_name: Option<String>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: None,
            version: "HTTP/1.1".to_owned(),
            host: None,
            authorization: None,
            request_id: "{id}".to_owned(),
            headers: Vec::new(),
            body: None,
            lines: None,
            h2: None,
            alpn: vec!["istio".to_owned()],
            server_name: None,
        }
    }
}

/// What the proxy has to record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Logged {
    /// The path, without a query.
    pub path: Option<String>,
    /// The method.
    pub method: Option<String>,
}

/// What must become of an attack.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// It never reaches the application, and is answered with one of these.
    Refused(Vec<Acceptable>),
    /// It reaches the application, and the reason why that is right is given.
    ByDesign(ByDesign),
}

/// Something that looks like an attack and is let through.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByDesign {
    /// Why.
    pub because: String,
    /// What may come back.
    #[serde(default = "ok")]
    pub answer: Vec<Acceptable>,
    /// All that the applications may see of it, in any order.
    #[serde(default = "one_request")]
    pub app: Vec<AppSees>,
}

fn ok() -> Vec<Acceptable> {
    vec![Acceptable::Status(200)]
}

fn one_request() -> Vec<AppSees> {
    vec![AppSees::default()]
}

/// Something that may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acceptable {
    /// The connection is closed without one.
    Closed,
    /// Nothing comes: the proxy waits for more.
    Silence,
    /// A refusal as gRPC has it: 200 with a `grpc-status` other than 0.
    GrpcError,
    /// An answer with this status.
    #[serde(untagged)]
    Status(u16),
}

impl fmt::Display for Acceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Closed => write!(f, "closed"),
            Self::Silence => write!(f, "silence"),
            Self::GrpcError => write!(f, "gRPC error"),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, acceptable) = match self {
            Self::Refused(acceptable) => ("refused", acceptable),
            Self::ByDesign(design) => ("by design", &design.answer),
        };
        let texts: Vec<_> = acceptable.iter().map(ToString::to_string).collect();
        write!(f, "{word}: {}", texts.join(" or "))
    }
}

/// One request as an application may see it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppSees {
    /// Which application, by its Deployment's name.
    pub at: Option<String>,
    /// The method; the one sent unless given.
    pub method: Option<String>,
    /// The path without its query; the one sent unless given.
    pub path: Option<String>,
    /// Whom the headers `x-jwt-*` name.
    pub identity: Identity,
    /// Headers that look like the mesh's identity headers and are the caller's.
    pub also: BTreeMap<String, Vec<String>>,
    /// Whether the caller's own `x-forwarded-client-cert` is among the elements.
    pub forged_client_cert: bool,
}

impl Default for AppSees {
    fn default() -> Self {
        Self {
            at: None,
            method: None,
            path: None,
            identity: Identity::Token,
            also: BTreeMap::new(),
            forged_client_cert: false,
        }
    }
}

/// Whom an application is told that it speaks to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The claims of `token`.
    #[default]
    Token,
    /// The claims of `other_token`.
    OtherToken,
    /// Nobody.
    Nobody,
    /// A workload that fetched a token of its own: the claims of this grant.
    Granted(String),
    /// The claims of `token`, but for these, which arrive so.
    TokenBut(BTreeMap<String, Value>),
}
