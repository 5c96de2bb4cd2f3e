//! The token is for another audience than is asked for.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::{MissedClaim, Subject};
use crate::jwt::Status;

pub(crate) const KIND: Kind = Kind {
    code: "MO0003",
    title: "the token is for another audience",
    page: include_str!("audience.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    match subject {
        Subject::Token if case.evidence.status == Some(Status::AudienceNotAllowed) => {
            Some(refused(case))
        }
        Subject::MissedClaim(claim) if claim.path == ["aud"] => Some(missed(claim)),
        _ => None,
    }
}

fn refused(case: &Case<'_>) -> Mistake {
    let rules = case.effective.jwt_rules().into_iter();
    let wanted: Vec<_> = rules.flat_map(|rule| rule.audiences.clone()).collect();
    let wanted = wanted.join("` or `");
    let had = case.evidence.claim("aud");
    let had = had.map_or("the token has no `aud`".to_owned(), |had| {
        format!("the token's `aud` is {had}")
    });
    Mistake::new(format!("{had}, wanted is `{wanted}`"))
        .keycloak(format!(
            "give the client that fetches the token an audience mapper for `{wanted}` \
             (client scope, mapper type oidc-audience-mapper)"
        ))
        .istio("name the audience that the tokens really have in `audiences`")
}

fn missed(claim: MissedClaim<'_>) -> Mistake {
    let had = claim.value;
    let had = had.map_or("no `aud`".to_owned(), |had| format!("`aud` {had}"));
    let wanted = claim.wanted.join("` or `");
    Mistake::new(format!("the token has {had}, the rule wants `{wanted}`")).keycloak(format!(
        "give the client that fetches the token an audience mapper for `{wanted}`"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::KIND;
    use crate::support::{Ask, allow, codes, user};

    #[test]
    fn an_audience_that_keycloak_does_not_put_in() {
        let ask = Ask::demo().claims(&user(&json!({"aud": "account"})));
        let explanation = ask.explain();
        assert_eq!(explanation.outcome.as_ref().expect("one").status, Some(403));
        assert_eq!(codes(&explanation), [KIND.code]);
        let fix = explanation.findings[0].keycloak.as_ref();
        assert!(fix.expect("a fix").contains("audience mapper"));
    }

    #[test]
    fn an_audience_that_a_policy_asks_for() {
        let rules = "[{when: [{key: request.auth.audiences, values: [other]}]}]";
        let ask = Ask::new(&allow(rules)).claims(&user(&json!({})));
        assert!(ask.shows(KIND.code));
    }

    #[test]
    fn the_right_audience_among_others_is_fine() {
        let audiences = json!({"aud": ["account", "my-backend-client"], "email": "x"});
        assert!(!Ask::demo().claims(&user(&audiences)).shows(KIND.code));
    }
}
