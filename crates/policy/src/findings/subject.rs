//! The things that a mistake may be about.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::matcher::Leaf;
use crate::parse::{Location, Origin, Resource, Service, ServicePort};
use crate::rbac::{CompiledRule, Condition};
use crate::select::{Workload, is_subset};
use crate::types::{self, AuthorizationPolicy, JwtRule, RequestAuthentication, WorkloadSelector};

/// One thing that a mistake may be about.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// What became of the token.
    Token,
    /// A claim that the nearest rule asks for and did not get.
    MissedClaim(MissedClaim<'a>),
    /// A token with these claims whose issuer and subject the nearest rule did not like.
    MissedPrincipal(&'a Map<String, Value>),
    /// Any test of the nearest rule that failed.
    MissedTest(&'a Condition, &'a Leaf),
    /// A rule of a policy of the workload, as the sidecar has it.
    Rule(&'a Resource<AuthorizationPolicy>, &'a CompiledRule),
    /// A test that such a rule makes.
    Test(Asked<'a>, &'a Leaf),
    /// An issuer that such a rule asks for, while only others are verified.
    UnverifiedIssuer(Asked<'a>, &'a str),
    /// A value in a policy of the workload, as it is written.
    Value(Written<'a>),
    /// An issuer whose tokens the workload accepts.
    Accepted(Provider<'a>),
    /// A port of a Service.
    Port(&'a Service, &'a ServicePort),
    /// A resource, whether it applies to the workload or not.
    Attached(Attached<'a>),
    /// An issuer whose tokens are told to the workload in headers.
    Told(Provider<'a>),
    /// A `when` condition of a policy of the workload.
    When(When<'a>),
}

/// A claim that the nearest rule asks for and did not get.
#[derive(Clone, Copy)]
pub(crate) struct MissedClaim<'a> {
    /// All claims of the token.
    pub(crate) payload: &'a Map<String, Value>,
    pub(crate) path: &'a [String],
    /// What the token has there.
    pub(crate) value: Option<&'a Value>,
    /// What the rule wants there.
    pub(crate) wanted: &'a [String],
}

/// What a policy of the workload asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) policy: &'a Resource<AuthorizationPolicy>,
    pub(crate) condition: &'a Condition,
}

impl Asked<'_> {
    pub(crate) fn location(self) -> Location {
        self.policy.origin.locate(&self.condition.path)
    }
}

/// A value in a policy, as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) policy: &'a Resource<AuthorizationPolicy>,
    /// The list that it stands in, from `spec`.
    pub(crate) list: &'a str,
    pub(crate) index: usize,
    pub(crate) value: &'a str,
    /// Whether it is about issuer and subject of a token.
    pub(crate) is_request_principal: bool,
}

impl Written<'_> {
    pub(crate) fn location(self) -> Location {
        let path = format!("{}[{}]", self.list, self.index);
        self.policy.origin.locate(&path)
    }
}

/// An issuer in a RequestAuthentication.
#[derive(Clone, Copy)]
pub(crate) struct Provider<'a> {
    pub(crate) resource: &'a Resource<RequestAuthentication>,
    pub(crate) index: usize,
    pub(crate) rule: &'a JwtRule,
}

impl Provider<'_> {
    pub(crate) fn location(self) -> Location {
        let path = format!("spec.jwtRules[{}]", self.index);
        self.resource.origin.locate(&path)
    }

    /// Whether the workload is told of its tokens in headers.
    pub(crate) fn makes_headers(self) -> bool {
        let rule = self.rule;
        !rule.output_claim_to_headers.is_empty() || !rule.output_payload_to_header.is_empty()
    }
}

/// A resource of any kind with what says whom it is for.
#[derive(Clone, Copy)]
pub(crate) struct Attached<'a> {
    pub(crate) kind: &'static str,
    /// `NAMESPACE/NAME`.
    pub(crate) id: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) origin: &'a Origin,
    pub(crate) selector: Option<&'a WorkloadSelector>,
    pub(crate) has_target_refs: bool,
}

impl Attached<'_> {
    /// Only gateways follow `targetRefs`.
    pub(crate) fn is_ignored_by(self, workload: &Workload) -> bool {
        self.has_target_refs && !workload.is_gateway()
    }

    /// Whether its selector fits these labels.
    pub(crate) fn selects(self, labels: &BTreeMap<String, String>) -> bool {
        is_subset(self.selector, labels)
    }
}

/// A `when` condition of a policy.
#[derive(Clone, Copy)]
pub(crate) struct When<'a> {
    pub(crate) policy: &'a Resource<AuthorizationPolicy>,
    pub(crate) rule: usize,
    pub(crate) index: usize,
    pub(crate) condition: &'a types::Condition,
}

impl When<'_> {
    pub(crate) fn location(self) -> Location {
        let path = format!("spec.rules[{}].when[{}]", self.rule, self.index);
        self.policy.origin.locate(&path)
    }
}
