//! What Istio's request-level security resources mean, without a cluster.
//!
//! The library reads RequestAuthentication, AuthorizationPolicy,
//! PeerAuthentication and TrafficExtension resources and answers three questions
//! about a workload's sidecar:
//!
//! - Which Envoy filters does istiod make of them? [`http_filters`],
//!   [`tcp_filters`]
//! - What does a request get, from whom, why, and what would change it?
//!   [`explain`]
//! - The same for very many requests with verified tokens: [`Compiled`]
//!
//! It knows Istio 1.31 and Envoy 1.39, and nothing of stages, of Kubernetes
//! clients, or of where tokens come from.
//!
//! ```
//! use policy::{KeySets, Manifests, Mesh, Question, Request, Token, Verdict, Workload};
//!
//! let manifests = Manifests::parse(
//!     "policy.yaml",
//!     "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: read-only, namespace: demo}
//! spec:
//!   rules:
//!     - to: [{operation: {methods: [GET]}}]
//! ",
//! )?;
//! let explanation = policy::explain(&Question {
//!     mesh: &Mesh::default(),
//!     manifests: &manifests,
//!     workload: &Workload::app("demo", "backend"),
//!     keys: &KeySets::new(),
//!     request: &Request::new("POST", "/data"),
//!     token: &Token::None,
//!     now: 1_800_000_000,
//! });
//! assert_eq!(explanation.verdict, Verdict::Refused);
//! assert_eq!(explanation.outcome.expect("one answer").status, Some(403));
//! assert_eq!(explanation.nearest[0].conditions[0].wanted, "`GET`");
//! # Ok::<(), policy::InvalidManifests>(())
//! ```
//!
//! # What it does not guess
//!
//! Answers are three-valued. An input that was not given is asked for, in
//! [`Explanation::missing`], if and only if the answer depends on it. What is not
//! modelled makes an answer open, too, and says so by name: Lua other than the
//! project's own script (and scripts of the same shape), Wasm, the answer of an
//! external authorizer (CUSTOM), metadata of other filters. `EnvoyFilter` and
//! `WasmPlugin` objects are named as assumptions. Waypoints are not modelled.
//!
//! # Secrets
//!
//! A token goes in as a [`secrecy::SecretString`] or in a header, and never comes
//! out: no explanation, error or `Debug` output holds a token, a signature, or a
//! claim that no failed check is about.

mod attribute;
mod decide;
mod explain;
pub mod findings;
mod jwt;
mod matcher;
mod normalize;
mod parse;
mod protojson;
mod rbac;
mod request;
mod select;
mod source;
mod template;
mod translate;
pub mod types;
mod validate;

pub use decide::{Compiled, Decision};
pub use explain::{
    Change, Check, Explanation, NearMiss, Outcome, Passed, Question, Step, Style, Verdict, explain,
};
pub use findings::Finding;
pub use parse::{
    Diagnostic, InvalidManifests, Manifests, Meta, Other, Pods, Resource, Service, ServicePort,
};
pub use request::{Claims, Identity, Peer, Request, Token};
pub use select::{Mesh, Mtls, PathNormalization, Workload};
pub use source::{Location, Origin, yaml_problem};
pub use translate::{Filter, KeySets, TranslateError, Translation, http_filters, tcp_filters};
