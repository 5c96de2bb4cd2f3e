//! Many decisions from policies compiled once.

use std::borrow::Cow;

use crate::head::{self, Stop, normalize};
use crate::matcher::Tri;
use crate::parse::Manifests;
use crate::rbac::{self, Policies, Rbac};
use crate::request::{Claims, Request};
use crate::select::{Mesh, PathNormalization, Workload};
use crate::types::Action;

/// A workload's enforced DENY and ALLOW rules, ready to be asked many times.
///
/// It decides as the RBAC filters do, after the token was verified: signatures
/// are [`explain`](crate::explain)'s business.
#[derive(Debug, Clone)]
pub struct Compiled {
    deny: Option<Policies>,
    allow: Option<Policies>,
    normalization: PathNormalization,
}

/// What the RBAC filters answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Let through.
    Allowed,
    /// Refused with 403; by the named DENY rule, or because no ALLOW rule matches.
    Denied(Option<&'a str>),
    /// The target is none, or has no normal form: Envoy answers by itself.
    BadPath,
    /// It depends on an input that was not given.
    Unknown,
}

impl Compiled {
    /// Compiles the policies that apply to a workload. AUDIT policies and dry
    /// runs decide nothing; CUSTOM policies are left out, see
    /// [`Explanation`](crate::Explanation) for what they do.
    pub fn new(mesh: &Mesh, manifests: &Manifests, workload: &Workload) -> Self {
        let effective = mesh.effective(manifests, workload);
        let build = |action| rbac::build(mesh, &effective.policies, action, false);
        let rules = |rbac: Option<Rbac>| rbac.and_then(|rbac| rbac.rules);
        Self {
            deny: rules(build(Action::Deny)),
            allow: rules(build(Action::Allow)),
            normalization: mesh.path_normalization,
        }
    }

    /// Decides about one request with its verified claims.
    pub fn decide(&self, request: &Request, claims: &Claims) -> Decision<'_> {
        let has_path = |path: &str| path.starts_with('/');
        if !request.path.as_deref().is_none_or(has_path) {
            let mut read = request.clone();
            return match head::read(&mut read, self.normalization) {
                Ok(()) => self.by_rules(&read, claims),
                Err(Stop::Refused(_)) => Decision::BadPath,
                Err(Stop::Open(_)) => Decision::Unknown,
            };
        }
        let path = request
            .path
            .as_deref()
            .map(|path| normalize(path, self.normalization));
        match path {
            Some(Err(_)) => Decision::BadPath,
            Some(Ok(Cow::Owned(path))) => {
                let normal = Request {
                    path: Some(path),
                    ..request.clone()
                };
                self.by_rules(&normal, claims)
            }
            Some(Ok(Cow::Borrowed(path))) if request.path.as_deref() != Some(path) => {
                let cut = Request {
                    path: Some(path.to_owned()),
                    ..request.clone()
                };
                self.by_rules(&cut, claims)
            }
            Some(Ok(Cow::Borrowed(_))) | None => self.by_rules(request, claims),
        }
    }

    fn by_rules(&self, request: &Request, claims: &Claims) -> Decision<'_> {
        let mut open = false;
        if let Some(deny) = &self.deny {
            let found = rbac::first_match(deny, request, claims);
            match found.holds {
                Tri::Yes => return Decision::Denied(found.name),
                Tri::Unknown => open = true,
                Tri::No => {}
            }
        }
        if let Some(allow) = &self.allow {
            match rbac::first_match(allow, request, claims).holds {
                Tri::Yes => {}
                Tri::Unknown => open = true,
                Tri::No if open => return Decision::Unknown,
                Tri::No => return Decision::Denied(None),
            }
        }
        if open {
            Decision::Unknown
        } else {
            Decision::Allowed
        }
    }
}
