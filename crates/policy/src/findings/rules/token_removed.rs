//! The token is gone when the rule looks at it.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::matcher::Leaf;

pub(crate) const KIND: Kind = Kind {
    code: "MO0019",
    title: "the token is gone when the rule looks at it",
    page: include_str!("token_removed.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Test(asked, Leaf::Header { name, .. }) = subject else {
        return None;
    };
    let rules = case.effective.jwt_rules();
    let is_removed = rules.iter().any(|rule| !rule.forward_original_token);
    if !name.eq_ignore_ascii_case("authorization") || !is_removed {
        return None;
    }
    let message = "jwt_authn takes the Authorization header away once the token is \
                   verified, so this condition sees none";
    let fix = "set forwardOriginalToken: true, or ask for claims instead";
    Some(Mistake::new(message).istio(fix).at(asked.location()))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, policy, request_authentication};

    fn is_found(fields: &str, header: &str) -> bool {
        let rules =
            format!("[{{when: [{{key: \"request.headers[{header}]\", values: [\"Bearer *\"]}}]}}]");
        let yaml = request_authentication(fields) + &policy("p", "ALLOW", &rules);
        Ask::new(&yaml).shows(KIND.code)
    }

    #[test]
    fn a_rule_on_the_header_that_was_removed() {
        assert!(is_found("", "Authorization"));
    }

    #[test]
    fn a_header_that_is_forwarded_or_another_header_is_there() {
        assert!(!is_found(", forwardOriginalToken: true", "Authorization"));
        assert!(!is_found("", "X-Authorization"));
    }
}
