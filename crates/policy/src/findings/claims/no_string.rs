//! A claim that no rule can match, as it is no string.

use serde_json::Value;

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0011",
    title: "the claim is no string",
    page: include_str!("no_string.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::MissedClaim(claim) = subject else {
        return None;
    };
    // What is wrong with the audience is said by itself.
    if claim.path == ["aud"] {
        return None;
    }
    let message = format!(
        "claim {} is {}; only strings and lists of strings can match",
        claim.path.join(" > "),
        what(claim.value?)?
    );
    Some(
        Mistake::new(message)
            .keycloak("set the mapper's claim JSON type to String")
            .istio("ask for a field inside it: request.auth.claims[a][b]"),
    )
}

/// What a value is that cannot match.
fn what(value: &Value) -> Option<&'static str> {
    match value {
        Value::Number(_) => Some("a number"),
        Value::Bool(_) => Some("a boolean"),
        Value::Null => Some("null"),
        Value::Object(_) => Some("an object"),
        Value::Array(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::KIND;
    use crate::support::{Ask, allow, user};

    fn is_found(value: &Value) -> bool {
        let rules =
            "[{when: [{key: \"request.auth.claims[email_verified]\", values: [\"true\"]}]}]";
        let claims = user(&json!({"email_verified": value}));
        Ask::new(&allow(rules)).claims(&claims).shows(KIND.code)
    }

    #[test]
    fn booleans_numbers_and_objects_never_match() {
        assert!(is_found(&json!(true)));
        assert!(is_found(&json!(1)));
        assert!(is_found(&json!({"a": "true"})));
    }

    #[test]
    fn another_string_or_list_of_strings_could_match() {
        assert!(!is_found(&json!("false")));
        assert!(!is_found(&json!(["false"])));
    }
}
