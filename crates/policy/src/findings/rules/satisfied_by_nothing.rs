//! A condition on tokens that a request without one satisfies.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::types::Action;

pub(crate) const KIND: Kind = Kind {
    code: "MO0010",
    title: "a missing token satisfies it",
    page: include_str!("satisfied_by_nothing.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Rule(policy, rule) = subject else {
        return None;
    };
    let mut about_token = rule.conditions().filter(|condition| condition.asks_token());
    let first = about_token.next()?;
    let only_negative = first.negated && about_token.all(|condition| condition.negated);
    if policy.spec.action != Action::Allow || !only_negative {
        return None;
    }
    let message = format!(
        "{} is satisfied by a request without any token",
        first.attribute
    );
    Some(
        Mistake::new(message)
            .istio("ask for a token, too: requestPrincipals: [\"*\"]")
            .at(policy.origin.locate(&first.path)),
    )
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, policy, request_authentication};

    fn is_found(action: &str, rules: &str) -> bool {
        let yaml = request_authentication("") + &policy("p", action, rules);
        Ask::new(&yaml).shows(KIND.code)
    }

    const NOT_BANNED: &str = "when: [{key: \"request.auth.claims[role]\", notValues: [banned]}]";

    #[test]
    fn a_claim_that_may_not_be_there_need_not_be_there() {
        assert!(is_found("ALLOW", &format!("[{{{NOT_BANNED}}}]")));
    }

    #[test]
    fn a_rule_that_asks_for_a_token_too_or_refuses_is_fine() {
        let with_token =
            format!("[{{from: [{{source: {{requestPrincipals: [\"*\"]}}}}], {NOT_BANNED}}}]");
        assert!(!is_found("ALLOW", &with_token));
        assert!(!is_found("DENY", &format!("[{{{NOT_BANNED}}}]")));
    }
}
