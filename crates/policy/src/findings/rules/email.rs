//! A rule lets in by an email that nobody verified.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::types::Action;

pub(crate) const KIND: Kind = Kind {
    code: "MO0022",
    title: "an email that nobody verified lets in",
    page: include_str!("email.md"),
    find,
};

/// Who is let in too easily is of interest only where the rules do not refuse.
fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::When(when) = subject else {
        return None;
    };
    let lets_in = case.lets_in && when.policy.spec.action == Action::Allow;
    let by_email =
        when.condition.key == "request.auth.claims[email]" && !when.condition.values.is_empty();
    if !lets_in || !by_email {
        return None;
    }
    let message = format!(
        "AuthorizationPolicy {} rule {} lets in by `email`, which may be an address \
         that nobody verified: claims are compared with strings, so `email_verified` \
         cannot be asked for",
        when.policy.id(),
        when.rule
    );
    Some(
        Mistake::new(message)
            .keycloak("let only administrators set the email (user profile)")
            .istio("ask for `request.auth.claims[sub]`, or for a role, instead")
            .at(when.location()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::KIND;
    use crate::Finding;
    use crate::support::{Ask, policy, request_authentication, user};

    fn ask(action: &str, conditions: &str) -> Ask {
        let rules = format!("[{{when: [{conditions}]}}]");
        let yaml = request_authentication("") + &policy("p", action, &rules);
        Ask::new(&yaml).claims(&user(&json!({"email": "a@b.c", "sub": "a"})))
    }

    fn found(action: &str, conditions: &str) -> Option<Finding> {
        ask(action, conditions).finding(KIND.code)
    }

    const EMAIL: &str = "{key: \"request.auth.claims[email]\", values: [a@b.c]}";

    #[test]
    fn a_rule_on_an_email_lets_in() {
        let found = found("ALLOW", EMAIL).expect("found");
        assert!(
            found
                .message
                .contains("`email_verified` cannot be asked for")
        );
        let fix = found.istio.expect("a fix");
        assert!(fix.contains("request.auth.claims[sub]"));
        assert!(found.location.is_some());
    }

    #[test]
    fn a_rule_that_refuses_or_asks_for_the_subject_is_fine() {
        assert_eq!(found("DENY", EMAIL), None);
        let subject = "{key: \"request.auth.claims[sub]\", values: [a]}";
        assert_eq!(found("ALLOW", subject), None);
    }

    #[test]
    fn nobody_who_is_refused_is_let_in_too_easily() {
        let other = EMAIL.replace("a@b.c", "other@b.c");
        assert_eq!(found("ALLOW", &other), None);
    }

    #[test]
    fn what_is_the_same_word_for_word_is_said_once() {
        let explanation = ask("ALLOW", &format!("{EMAIL}, {EMAIL}")).explain();
        let codes = explanation.findings.iter().map(|finding| finding.code);
        assert_eq!(codes.filter(|code| *code == KIND.code).count(), 1);
    }
}
