//! Keycloak nests roles that a rule looks for at the top.

use serde_json::{Map, Value};

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0012",
    title: "Keycloak nests its roles",
    page: include_str!("nested_roles.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::MissedClaim(claim) = subject else {
        return None;
    };
    let ([name], None) = (claim.path, claim.value) else {
        return None;
    };
    let place = nested(claim.payload, name)?;
    let message = format!("the token has no top-level `{name}`, but {place}");
    let fix = format!("add a role mapper whose token claim name is `{name}`");
    Some(
        Mistake::new(message)
            .keycloak(fix)
            .istio(format!("ask for request.auth.claims{place}")),
    )
}

/// Where Keycloak puts what a rule looks for at the top.
fn nested(payload: &Map<String, Value>, name: &str) -> Option<String> {
    if name != "roles" && name != "groups" {
        return None;
    }
    let has = |access: &Value| access.get(name).is_some();
    if payload.get("realm_access").is_some_and(has) {
        return Some(format!("[realm_access][{name}]"));
    }
    let clients = payload.get("resource_access")?.as_object()?;
    let (client, _) = clients.iter().find(|(_, access)| has(access))?;
    Some(format!("[resource_access][{client}][{name}]"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::KIND;
    use crate::support::{Ask, allow, user};

    /// The fix on Istio's side if a rule looks for this role at the top.
    fn fix(claims: &Value) -> Option<String> {
        let rules = "[{when: [{key: \"request.auth.claims[roles]\", values: [reader]}]}]";
        let ask = Ask::new(&allow(rules)).claims(&user(claims));
        ask.finding(KIND.code)?.istio
    }

    #[test]
    fn roles_of_the_realm_and_of_a_client_are_nested() {
        let roles = json!({"roles": ["reader"]});
        let realm = fix(&json!({"realm_access": roles})).expect("found");
        assert!(realm.ends_with("request.auth.claims[realm_access][roles]"));
        let client = fix(&json!({"resource_access": {"web": roles}})).expect("found");
        assert!(client.ends_with("request.auth.claims[resource_access][web][roles]"));
    }

    #[test]
    fn roles_at_the_top_or_nowhere_are_not_nested() {
        assert_eq!(fix(&json!({})), None);
        let both = json!({"roles": ["writer"], "realm_access": {"roles": ["reader"]}});
        assert_eq!(fix(&both), None);
    }
}
