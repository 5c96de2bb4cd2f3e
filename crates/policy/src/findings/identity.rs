//! Mistakes about who the workload and the rules take the caller for.

use crate::parse::Resource;
use crate::select::Effective;
use crate::types::{Action, AuthorizationPolicy, JwtRule};

use super::{EMAIL, Finding, SEVERAL_TOKENS};

/// Who is let in too easily is of interest only where the rules do not refuse.
pub(super) fn find(effective: &Effective<'_>, lets_in: bool) -> Vec<Finding> {
    let several = several_tokens(effective).into_iter();
    let policies = effective.policies.iter().filter(|_| lets_in);
    several
        .chain(policies.flat_map(|policy| emails(policy)))
        .collect()
}

/// Identity headers, while a request may bring more than one token.
fn several_tokens(effective: &Effective<'_>) -> Vec<Finding> {
    let rules = effective.jwt_rules();
    let tells = |rule: &JwtRule| {
        !rule.output_claim_to_headers.is_empty() || !rule.output_payload_to_header.is_empty()
    };
    let mut found = Vec::new();
    for resource in &effective.request_authentications {
        for (index, rule) in resource.spec.jwt_rules.iter().enumerate() {
            let (why, fix) = match places(rule) {
                _ if !tells(rule) => continue,
                0 => (
                    "tokens are taken from the Authorization header and from `access_token`, \
                     and both are told",
                    "set `fromHeaders: [{name: Authorization, prefix: \"Bearer \"}]`",
                ),
                1 if rules.len() > 1 => (
                    "another issuer's token is taken as well, and then this rule's headers \
                     may be the caller's own",
                    "have all rules fill the same headers, or select workloads apart",
                ),
                1 => continue,
                _ => (
                    "tokens are taken from several places, and all of them are told",
                    "name one place in `fromHeaders`, `fromParams` or `fromCookies`",
                ),
            };
            let place = format!("spec.jwtRules[{index}]");
            let (code, title) = SEVERAL_TOKENS;
            found.push(Finding {
                code,
                title,
                message: format!(
                    "RequestAuthentication {} makes headers of the claims of `{}`, but {why}",
                    resource.id(),
                    rule.issuer
                ),
                keycloak: None,
                istio: Some(fix.to_owned()),
                location: Some(resource.origin.locate(&place)),
            });
        }
    }
    found
}

/// The places where a rule says that tokens are.
fn places(rule: &JwtRule) -> usize {
    rule.from_headers.len() + rule.from_params.len() + rule.from_cookies.len()
}

/// Rules that let in by an address that the caller may have chosen.
fn emails(policy: &Resource<AuthorizationPolicy>) -> Vec<Finding> {
    let rules = policy.spec.rules.iter().enumerate();
    let (code, title) = EMAIL;
    rules
        .filter(|_| policy.spec.action == Action::Allow)
        .flat_map(|(index, rule)| rule.when.iter().enumerate().map(move |it| (index, it)))
        .filter(|(_, (_, when))| when.key == "request.auth.claims[email]")
        .filter(|(_, (_, when))| !when.values.is_empty())
        .map(|(rule, (index, _))| Finding {
            code,
            title,
            message: format!(
                "AuthorizationPolicy {} rule {rule} lets in by `email`, which may be an address \
                 that nobody verified: claims are compared with strings, so `email_verified` \
                 cannot be asked for",
                policy.id()
            ),
            keycloak: Some("let only administrators set the email (user profile)".to_owned()),
            istio: Some("ask for `request.auth.claims[sub]`, or for a role, instead".to_owned()),
            location: Some(
                policy
                    .origin
                    .locate(&format!("spec.rules[{rule}].when[{index}]")),
            ),
        })
        .collect()
}
