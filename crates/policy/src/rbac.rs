//! Authorization policies as Envoy's RBAC rules, the way istiod builds them.
//!
//! One structure serves all: it is printed for Envoy, decided on, and explained.

mod build;
mod leaf;

use std::collections::BTreeMap;

use crate::matcher::{Leaf, Tri};
use crate::request::{Claims, Request};
use crate::types::Action;

pub(crate) use build::build;

/// The rules of one action for one workload.
#[derive(Debug, Clone)]
pub(crate) struct Rbac {
    pub(crate) action: Action,
    /// `None` if no policy of this action is enforced.
    pub(crate) rules: Option<Policies>,
    /// Those under `istio.io/dry-run`.
    pub(crate) shadow: Option<Policies>,
}

/// Envoy tries policies in the order of their names.
pub(crate) type Policies = BTreeMap<String, CompiledRule>;

/// One rule of one policy.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRule {
    /// `NAMESPACE/NAME` of the policy.
    pub(crate) policy: String,
    /// Which rule of the policy; `None` for a policy without rules, which never matches.
    pub(crate) index: Option<usize>,
    /// Alternatives about the operation; one must hold.
    pub(crate) permissions: Vec<Vec<Condition>>,
    /// Alternatives about the caller; one must hold.
    pub(crate) principals: Vec<Vec<Condition>>,
}

/// One attribute of a rule with the values it may, or may not, have.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) negated: bool,
    /// Whether istiod puts an `or` around the tests even if there is only one.
    pub(crate) wrapped: bool,
    pub(crate) any_of: Vec<Leaf>,
    /// The attribute in the policy's own words.
    pub(crate) attribute: String,
    /// The values in the policy's own words.
    pub(crate) values: Vec<String>,
    /// Where the policy says so, from `spec`.
    pub(crate) path: String,
}

impl Condition {
    pub(crate) fn test(&self, request: &Request, claims: &Claims) -> Tri {
        let any = Tri::any(self.any_of.iter().map(|leaf| leaf.test(request, claims)));
        if self.negated { any.not() } else { any }
    }

    /// Whether it is about what only a verified token has.
    pub(crate) fn asks_token(&self) -> bool {
        let of_token =
            |leaf: &Leaf| matches!(leaf, Leaf::Claim { .. } | Leaf::RequestPrincipal { .. });
        self.any_of.iter().any(of_token)
    }
}

impl CompiledRule {
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.permissions.iter().chain(&self.principals).flatten()
    }

    pub(crate) fn test(&self, request: &Request, claims: &Claims) -> Tri {
        if self.index.is_none() {
            return Tri::No;
        }
        let holds =
            |alternatives: &[Vec<Condition>]| {
                Tri::any(alternatives.iter().map(|all| {
                    Tri::all(all.iter().map(|condition| condition.test(request, claims)))
                }))
            };
        match holds(&self.permissions) {
            Tri::No => Tri::No,
            permission => Tri::all([permission, holds(&self.principals)]),
        }
    }
}

/// What a set of rules says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    pub(crate) holds: Tri,
    /// The rule that matches, or the only one that may; `None` if it could be
    /// more than one.
    pub(crate) name: Option<&'a str>,
}

/// Looks for the first matching rule.
pub(crate) fn first_match<'a>(
    rules: &'a Policies,
    request: &Request,
    claims: &Claims,
) -> Match<'a> {
    let mut open: Option<&str> = None;
    let mut several = false;
    for (name, rule) in rules {
        match rule.test(request, claims) {
            // An earlier rule that may match hides which one it will be.
            Tri::Yes => {
                return Match {
                    holds: Tri::Yes,
                    name: open.is_none().then_some(name),
                };
            }
            Tri::Unknown => {
                several = open.is_some();
                open = open.or(Some(name));
            }
            Tri::No => {}
        }
    }
    match open {
        None => Match {
            holds: Tri::No,
            name: None,
        },
        Some(name) => Match {
            holds: Tri::Unknown,
            name: (!several).then_some(name),
        },
    }
}
