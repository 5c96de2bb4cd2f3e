//! Headers are made of claims, while a request may bring several tokens.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::types::JwtRule;

pub(crate) const KIND: Kind = Kind {
    code: "MO0021",
    title: "headers are made of claims, and a request may bring several tokens",
    page: include_str!("several_tokens.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Told(provider) = subject else {
        return None;
    };
    let is_only_issuer = case.effective.jwt_rules().len() == 1;
    let (why, fix) = match places(provider.rule) {
        0 => (
            "tokens are taken from the Authorization header and from `access_token`, \
             and both are told",
            "set `fromHeaders: [{name: Authorization, prefix: \"Bearer \"}]`",
        ),
        1 if is_only_issuer => return None,
        1 => (
            "another issuer's token is taken as well, and then this rule's headers \
             may be the caller's own",
            "have all rules fill the same headers, or select workloads apart",
        ),
        _ => (
            "tokens are taken from several places, and all of them are told",
            "name one place in `fromHeaders`, `fromParams` or `fromCookies`",
        ),
    };
    let message = format!(
        "RequestAuthentication {} makes headers of the claims of `{}`, but {why}",
        provider.resource.id(),
        provider.rule.issuer
    );
    Some(Mistake::new(message).istio(fix).at(provider.location()))
}

/// The places where a rule says that tokens are.
fn places(rule: &JwtRule) -> usize {
    rule.from_headers.len() + rule.from_params.len() + rule.from_cookies.len()
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, request_authentication};

    /// Whether it is found where tokens are taken from there and become headers.
    fn is_found(fields: &str) -> bool {
        let outputs = ", audiences: [a], outputClaimToHeaders: [{header: x-sub, claim: sub}]";
        let yaml = request_authentication(&format!("{outputs}{fields}"));
        Ask::new(&yaml).shows(KIND.code)
    }

    #[test]
    fn tokens_are_taken_from_several_places() {
        assert!(is_found(""));
        assert!(is_found(", fromHeaders: [{name: a}, {name: b}]"));
        assert!(is_found(", fromHeaders: [{name: a}], fromParams: [t]"));
    }

    #[test]
    fn one_place_is_fine_and_so_are_tokens_that_nobody_is_told_of() {
        assert!(!is_found(", fromHeaders: [{name: a}]"));
        assert!(!is_found(", fromParams: [t]"));
        let silent = request_authentication(", audiences: [a]");
        assert!(!Ask::new(&silent).shows(KIND.code));
    }

    #[test]
    fn tokens_of_several_issuers_are_taken() {
        let yaml = request_authentication(
            ", fromHeaders: [{name: a}], outputClaimToHeaders: [{header: x-sub, claim: sub}]",
        );
        let other = "    - {issuer: other, fromHeaders: [{name: a}]}\n";
        assert!(Ask::new(&format!("{yaml}{other}")).shows(KIND.code));
    }
}
