//! An email is asked of a service account, which has none.

use serde_json::{Map, Value};

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0005",
    title: "an email is asked of a service account",
    page: include_str!("service_account.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::MissedClaim(claim) = subject else {
        return None;
    };
    let message = "the token is a client's own (client_credentials): service accounts have no email, \
         and the scope `email` does not give them one";
    let has_no_email = claim.path == ["email"] && claim.value.is_none();
    (has_no_email && is_service_account(claim.payload)).then(|| {
        Mistake::new(message)
            .keycloak("give the service account's user an email, if it really is to have one")
            .istio("allow the client by request.auth.claims[azp] in a rule of its own")
    })
}

/// Whether Keycloak gave the token to a client rather than to a person.
fn is_service_account(payload: &Map<String, Value>) -> bool {
    let name = payload.get("preferred_username").and_then(Value::as_str);
    name.is_some_and(|name| name.starts_with("service-account-"))
        || payload.contains_key("client_id")
        || payload.contains_key("clientHost")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::KIND;
    use crate::support::{Ask, allow, service_account, user};

    #[test]
    fn an_email_is_missed_in_a_clients_own_token_but_not_in_a_persons() {
        let rules = "[{when: [{key: \"request.auth.claims[email]\", values: [\"*\"]}]}]";
        let ask = |claims: &Value| Ask::new(&allow(rules)).claims(claims);
        assert!(ask(&service_account()).shows(KIND.code));
        assert!(!ask(&user(&json!({"email": null}))).shows(KIND.code));
    }
}
