#![doc = include_str!("../README.md")]

mod decide;
mod explain;
pub mod findings;
mod head;
mod jwt;
mod matcher;
mod parse;
mod question;
mod rbac;
mod request;
mod select;
mod translate;
pub mod types;

// The helpers of the tests in `tests/`, which know the crate by its name.
#[cfg(test)]
extern crate self as policy;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use decide::{Compiled, Decision};
pub use explain::{
    Arrival, Change, Check, Explanation, NearMiss, Outcome, Passed, Step, Style, Verdict, explain,
};
pub use findings::Finding;
pub use parse::{
    Diagnostic, InvalidManifests, Location, Manifests, Meta, Origin, Other, Pods, Resource,
    Service, ServicePort, yaml_problem,
};
pub use question::Question;
pub use request::{Claims, Identity, Peer, Request, Token};
pub use select::{Mesh, Mtls, PathNormalization, Workload};
pub use translate::{Filter, KeySets, TranslateError, Translation, http_filters, tcp_filters};
