//! The token's time is over, or not yet come.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::jwt::Status;

pub(crate) const KIND: Kind = Kind {
    code: "MO0020",
    title: "the token's time is over, or not yet come",
    page: include_str!("clock.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let (Subject::Token, Some(Status::Expired | Status::NotYetValid)) =
        (subject, case.evidence.status)
    else {
        return None;
    };
    let message = "exp and nbf may be off by 60 seconds, and Istio has no setting for more";
    Some(
        Mistake::new(message)
            .keycloak("fetch a new token, or lengthen the client's access token lifespan")
            .istio("compare the clocks of Keycloak and the node"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::KIND;
    use crate::support::{Ask, NOW, codes, user};

    fn ask(changes: &Value) -> Ask {
        Ask::demo().claims(&user(changes))
    }

    #[test]
    fn a_token_out_of_time() {
        for changes in [json!({"exp": NOW - 61}), json!({"nbf": NOW + 61})] {
            assert_eq!(codes(&ask(&changes).explain()), [KIND.code], "{changes}");
        }
    }

    #[test]
    fn a_minute_is_forgiven() {
        for changes in [json!({"exp": NOW - 59}), json!({"nbf": NOW + 60})] {
            assert!(!ask(&changes).shows(KIND.code), "{changes}");
        }
    }
}
