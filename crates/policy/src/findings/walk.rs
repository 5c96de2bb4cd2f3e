//! The order in which a case is looked at, and in which the findings come.

use super::case::Case;
use super::subject::{Asked, Attached, MissedClaim, Provider, Subject, When, Written};
use super::values::lists;
use crate::matcher::{Leaf, Pattern, StringMatcher, claim};
use crate::parse::Resource;
use crate::rbac;
use crate::types::{AuthorizationPolicy, WorkloadSelector};

type Look<'l> = &'l mut dyn FnMut(Subject<'_>);

/// Shows one thing after the other.
pub(crate) fn subjects(case: &Case<'_>, look: Look<'_>) {
    look(Subject::Token);
    missed(case, look);
    for policy in &case.effective.policies {
        rules(case, policy, look);
        values(policy, look);
    }
    providers(case, &mut |provider| look(Subject::Accepted(provider)));
    for service in &case.question.manifests.services {
        for port in &service.ports {
            look(Subject::Port(service, port));
        }
    }
    attached(case, look);
    providers(case, &mut |provider| {
        if provider.makes_headers() {
            look(Subject::Told(provider));
        }
    });
    for policy in &case.effective.policies {
        whens(policy, look);
    }
}

/// First what the token lacks, then what the request does.
fn missed(case: &Case<'_>, look: Look<'_>) {
    let conditions = case.missed.iter().filter(|condition| !condition.negated);
    let tests =
        conditions.flat_map(|condition| condition.any_of.iter().map(move |leaf| (condition, leaf)));
    if let Some(payload) = &case.evidence.payload {
        for (condition, leaf) in tests.clone() {
            match leaf {
                Leaf::Claim { path, .. } => look(Subject::MissedClaim(MissedClaim {
                    payload,
                    path,
                    value: claim(payload, path),
                    wanted: &condition.values,
                })),
                Leaf::RequestPrincipal { .. } => look(Subject::MissedPrincipal(payload)),
                _ => {}
            }
        }
    }
    for (condition, leaf) in tests {
        look(Subject::MissedTest(condition, leaf));
    }
}

fn rules(case: &Case<'_>, policy: &Resource<AuthorizationPolicy>, look: Look<'_>) {
    let rbac = rbac::build(case.question.mesh, &[policy], policy.spec.action, false);
    let policies = rbac
        .into_iter()
        .flat_map(|rbac| rbac.rules.into_iter().chain(rbac.shadow));
    for (_, rule) in policies.flatten() {
        look(Subject::Rule(policy, &rule));
        for condition in rule.conditions() {
            let asked = Asked { policy, condition };
            for leaf in &condition.any_of {
                look(Subject::Test(asked, leaf));
                unverified_issuers(case, leaf, &mut |issuer| {
                    look(Subject::UnverifiedIssuer(asked, issuer));
                });
            }
        }
    }
}

/// The issuers that a test asks for by name, unless no issuer is verified at all.
fn unverified_issuers(case: &Case<'_>, leaf: &Leaf, look: &mut dyn FnMut(&str)) {
    let rules = case.effective.jwt_rules();
    let matchers = match leaf {
        Leaf::Claim { path, values } if path[..] == ["iss"] => values,
        Leaf::RequestPrincipal { issuer, .. } => std::slice::from_ref(issuer),
        _ => return,
    };
    for issuer in matchers.iter().filter_map(exact) {
        if !rules.is_empty() && rules.iter().all(|rule| rule.issuer != issuer) {
            look(issuer);
        }
    }
}

fn exact(matcher: &StringMatcher) -> Option<&str> {
    match &matcher.pattern {
        Pattern::Exact(text) => Some(text),
        _ => None,
    }
}

fn values(policy: &Resource<AuthorizationPolicy>, look: Look<'_>) {
    for (index, rule) in policy.spec.rules.iter().enumerate() {
        for list in lists(index, rule) {
            for (index, value) in list.values.iter().enumerate() {
                look(Subject::Value(Written {
                    policy,
                    list: &list.path,
                    index,
                    value,
                    is_request_principal: list.is_request_principals,
                }));
            }
        }
    }
}

fn providers(case: &Case<'_>, look: &mut dyn FnMut(Provider<'_>)) {
    for &resource in &case.effective.request_authentications {
        for (index, rule) in resource.spec.jwt_rules.iter().enumerate() {
            look(Provider {
                resource,
                index,
                rule,
            });
        }
    }
}

fn attached(case: &Case<'_>, look: Look<'_>) {
    let manifests = case.question.manifests;
    for policy in &manifests.authorization_policies {
        let spec = &policy.spec;
        let targets = !spec.target_refs.is_empty() || spec.target_ref.is_some();
        let selector = spec.selector.as_ref();
        attach("AuthorizationPolicy", policy, selector, targets, look);
    }
    for resource in &manifests.request_authentications {
        let spec = &resource.spec;
        let targets = !spec.target_refs.is_empty() || spec.target_ref.is_some();
        let selector = spec.selector.as_ref();
        attach("RequestAuthentication", resource, selector, targets, look);
    }
    for resource in &manifests.peer_authentications {
        let selector = resource.spec.selector.as_ref();
        attach("PeerAuthentication", resource, selector, false, look);
    }
    for extension in &manifests.traffic_extensions {
        let targets = !extension.spec.target_refs.is_empty();
        let selector = extension.spec.selector.as_ref();
        attach("TrafficExtension", extension, selector, targets, look);
    }
}

fn attach<T>(
    kind: &'static str,
    resource: &Resource<T>,
    selector: Option<&WorkloadSelector>,
    has_target_refs: bool,
    look: Look<'_>,
) {
    look(Subject::Attached(Attached {
        kind,
        id: &resource.id(),
        namespace: &resource.meta.namespace,
        origin: &resource.origin,
        selector,
        has_target_refs,
    }));
}

fn whens(policy: &Resource<AuthorizationPolicy>, look: Look<'_>) {
    for (rule, spec) in policy.spec.rules.iter().enumerate() {
        for (index, condition) in spec.when.iter().enumerate() {
            look(Subject::When(When {
                policy,
                rule,
                index,
                condition,
            }));
        }
    }
}
