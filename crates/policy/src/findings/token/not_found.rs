//! A token is sent, but not where one is looked for.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::request::Token;
use crate::types::JwtRule;

pub(crate) const KIND: Kind = Kind {
    code: "MO0013",
    title: "a token, but not where it is looked for",
    page: include_str!("not_found.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Token = subject else { return None };
    let rules = case.effective.jwt_rules();
    if case.evidence.token_found || rules.is_empty() || !is_sent(case) {
        return None;
    }
    let message = if rules.into_iter().any(looks_in_default_place) {
        "the Authorization header does not have `Bearer ` with a capital B and a space, \
         so the request counts as one without a token"
    } else {
        "fromHeaders, fromParams or fromCookies replace the Authorization header, so a \
         token there is not seen"
    };
    let fix = "send the token where the rule looks, or name the place in fromHeaders";
    Some(Mistake::new(message).istio(fix))
}

fn is_sent(case: &Case<'_>) -> bool {
    let request = case.question.request;
    matches!(case.question.token, Token::Bearer(_))
        || request.header("authorization").next().is_some()
}

fn looks_in_default_place(rule: &JwtRule) -> bool {
    rule.from_headers.is_empty() && rule.from_params.is_empty() && rule.from_cookies.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::KIND;
    use crate::support::{Ask, codes, request_authentication, user};

    #[test]
    fn a_token_where_nobody_looks() {
        let yaml = request_authentication(", audiences: [a], fromHeaders: [{name: x-token}]");
        let ask = Ask::new(&yaml);
        assert_eq!(codes(&ask.explain()), [""; 0], "none is sent");
        let ask = ask.claims(&user(&json!({})));
        assert_eq!(codes(&ask.explain()), [KIND.code]);
    }

    #[test]
    fn a_header_that_is_no_bearer_token() {
        let yaml = request_authentication("");
        let header = |value| Ask::new(&yaml).header("authorization", value);
        let finding = header("bearer abc").finding(KIND.code).expect("found");
        assert!(finding.message.contains("capital B"), "{finding:?}");
        assert!(!header("Bearer abc").shows(KIND.code), "a bad one is found");
    }
}
