//! The token has no subject, and so no request principal.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0004",
    title: "the token has no subject",
    page: include_str!("subject.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::MissedPrincipal(payload) = subject else {
        return None;
    };
    let message = "requestPrincipals compare issuer and subject, and the token has no `sub`";
    let fix = "add the client scope `basic`, which holds `sub` since Keycloak 25, to \
               the client's default scopes";
    (!payload.contains_key("sub")).then(|| {
        Mistake::new(message)
            .keycloak(fix)
            .istio("ask for other claims: request.auth.claims[azp]")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::KIND;
    use crate::support::{Ask, allow, user};

    #[test]
    fn a_token_without_sub_has_no_principal() {
        let rules = "[{from: [{source: {requestPrincipals: [x/y]}}]}]";
        let ask = |changes: Value| Ask::new(&allow(rules)).claims(&user(&changes));
        assert!(ask(json!({"sub": null})).shows(KIND.code));
        assert!(!ask(json!({"sub": "z"})).shows(KIND.code));
    }
}
