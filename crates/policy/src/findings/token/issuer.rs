//! Two spellings of one issuer: they are compared byte for byte.

use serde_json::Value;

use crate::findings::alike::alike;
use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::{Asked, MissedClaim, Subject};
use crate::jwt::Status;

pub(crate) const KIND: Kind = Kind {
    code: "MO0002",
    title: "two spellings of one issuer",
    page: include_str!("issuer.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    match subject {
        Subject::Token if case.evidence.status == Some(Status::UnknownIssuer) => of_token(case),
        Subject::MissedClaim(claim) if claim.path == ["iss"] => of_nearest_rule(claim),
        Subject::UnverifiedIssuer(asked, issuer) => of_policy(case, asked, issuer),
        _ => None,
    }
}

fn of_token(case: &Case<'_>) -> Option<Mistake> {
    let claim = case.evidence.claim("iss");
    let had = claim.and_then(Value::as_str).unwrap_or_default();
    let verified = &case.rule_alike(had)?.issuer;
    let message = format!(
        "the token's issuer is `{had}`, the RequestAuthentication's `{verified}`; \
         they are compared byte for byte"
    );
    let fix = format!("set KC_HOSTNAME to the full URL, so that every token has `{verified}`");
    Some(
        Mistake::new(message)
            .keycloak(fix)
            .istio(format!("write `issuer: {had}`")),
    )
}

fn of_nearest_rule(claim: MissedClaim<'_>) -> Option<Mistake> {
    let had = claim.value?.as_str()?;
    let wanted = claim.wanted.iter().find(|wanted| alike(wanted, had))?;
    let message = format!("the token's issuer is `{had}`, the rule wants `{wanted}`");
    Some(Mistake::new(message).istio(format!("write `{had}` in the rule")))
}

fn of_policy(case: &Case<'_>, asked: Asked<'_>, issuer: &str) -> Option<Mistake> {
    let verified = &case.rule_alike(issuer)?.issuer;
    let message = format!(
        "the policy wants issuer `{issuer}`, tokens are verified for `{verified}`; \
         they are compared byte for byte"
    );
    let mistake = Mistake::new(message).at(asked.location());
    Some(mistake.istio(format!("write `{verified}`")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::KIND;
    use crate::support::{Ask, ISSUER, allow, codes, user};

    #[test]
    fn a_token_of_an_issuer_that_differs_by_what_people_overlook() {
        for issuer in [
            format!("{ISSUER}/"),
            ISSUER.replace("http:", "https:"),
            ISSUER.replace("/realms", ":8080/realms"),
            ISSUER.replace("/realms", "/auth/realms"),
        ] {
            let ask = Ask::demo().claims(&user(&json!({"iss": issuer})));
            assert_eq!(codes(&ask.explain()), [KIND.code], "{issuer}");
        }
    }

    #[test]
    fn a_token_of_another_issuer_is_no_other_spelling() {
        let foreign = json!({"iss": "https://other/realms/myrealm"});
        let ask = Ask::demo().claims(&user(&foreign));
        assert_eq!(codes(&ask.explain()), [""; 0]);
    }

    /// Whether it is found where a policy wants this issuer.
    fn is_found_in_policy(issuer: &str) -> bool {
        let rules =
            format!("[{{when: [{{key: \"request.auth.claims[iss]\", values: [\"{issuer}\"]}}]}}]");
        Ask::new(&allow(&rules)).shows(KIND.code)
    }

    #[test]
    fn a_policy_that_wants_another_spelling_than_is_verified() {
        assert!(is_found_in_policy(&format!("{ISSUER}/")));
        assert!(!is_found_in_policy(ISSUER));
        assert!(!is_found_in_policy("https://other/realms/myrealm"));
    }

    #[test]
    fn a_good_token_whose_issuer_the_nearest_rule_spells_differently() {
        let rules =
            format!("[{{when: [{{key: \"request.auth.claims[iss]\", values: [\"{ISSUER}/\"]}}]}}]");
        let ask = Ask::new(&allow(&rules)).claims(&user(&json!({})));
        let finding = ask.finding(KIND.code).expect("found");
        assert!(
            finding
                .message
                .ends_with(&format!("the rule wants `{ISSUER}/`")),
            "the first of them is about the token: {finding:?}"
        );
    }
}
