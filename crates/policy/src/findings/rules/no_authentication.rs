//! Claims are asked for, but no token is verified.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0001",
    title: "claims are asked for, but no token is verified",
    page: include_str!("no_authentication.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Rule(policy, rule) = subject else {
        return None;
    };
    if !case.effective.jwt_rules().is_empty() {
        return None;
    }
    let first = rule.conditions().find(|condition| condition.asks_token())?;
    let message = format!(
        "policy {} asks for {}, but no RequestAuthentication applies to the \
         workload, so no token is ever verified and no claim is ever there",
        policy.id(),
        first.attribute
    );
    Some(
        Mistake::new(message)
            .istio("add a RequestAuthentication with the issuer for the same workload")
            .at(policy.origin.locate(&first.path)),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::KIND;
    use crate::Verdict;
    use crate::support::{Ask, allow, codes, policy, user};

    const RULES: &str = "[{when: [{key: \"request.auth.claims[a]\", values: [b]}]}]";

    #[test]
    fn a_claim_is_asked_for_without_request_authentication() {
        let ask = Ask::new(&policy("p", "ALLOW", RULES)).claims(&user(&json!({"a": "b"})));
        let explanation = ask.explain();
        assert_eq!(
            explanation.verdict,
            Verdict::Refused,
            "nobody verifies the token"
        );
        assert_eq!(codes(&explanation), [KIND.code]);
        let place = explanation.findings[0].location.as_ref();
        assert_eq!(place.expect("a place").line, 7);
    }

    #[test]
    fn with_request_authentication_or_without_claims_nothing_is_amiss() {
        assert!(!Ask::new(&allow(RULES)).shows(KIND.code));
        let rules = "[{to: [{operation: {methods: [POST]}}]}]";
        assert!(!Ask::new(&policy("p", "ALLOW", rules)).shows(KIND.code));
    }
}
