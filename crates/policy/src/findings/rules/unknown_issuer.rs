//! A policy asks for an issuer that nobody verifies.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0016",
    title: "an issuer that nobody verifies",
    page: include_str!("unknown_issuer.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::UnverifiedIssuer(asked, issuer) = subject else {
        return None;
    };
    if case.rule_alike(issuer).is_some() {
        return None;
    }
    let message = format!("no RequestAuthentication of the workload verifies issuer `{issuer}`");
    let fix = "add a jwtRule for it, or take the value out";
    Some(Mistake::new(message).istio(fix).at(asked.location()))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, ISSUER, allow};

    fn is_found(issuer: &str) -> bool {
        let rules =
            format!("[{{when: [{{key: \"request.auth.claims[iss]\", values: [\"{issuer}\"]}}]}}]");
        Ask::new(&allow(&rules)).shows(KIND.code)
    }

    #[test]
    fn an_issuer_without_a_rule() {
        assert!(is_found("https://other"));
        let principal = "[{from: [{source: {requestPrincipals: [\"https://other/*\"]}}]}]";
        assert!(Ask::new(&allow(principal)).shows(KIND.code));
    }

    #[test]
    fn the_issuer_in_any_spelling_and_patterns_are_not_unknown() {
        assert!(!is_found(ISSUER));
        assert!(!is_found(&format!("{ISSUER}/")));
        assert!(!is_found("https://other*"));
    }
}
