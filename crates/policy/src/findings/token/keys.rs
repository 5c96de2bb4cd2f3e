//! No key of the issuer made the token's signature.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::jwt::Status;

pub(crate) const KIND: Kind = Kind {
    code: "MO0014",
    title: "the keys do not fit the token",
    page: include_str!("keys.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let evidence = case.evidence;
    let (Subject::Token, Some(Status::NoMatchingKey | Status::VerificationFails)) =
        (subject, evidence.status)
    else {
        return None;
    };
    let message = match &evidence.key_ids {
        Some((kid, ids)) if !ids.contains(kid) => format!(
            "the token's key id is `{kid}`; the issuer's key set has `{}`",
            ids.join("`, `")
        ),
        _ => "no key of the issuer made this signature".to_owned(),
    };
    Some(
        Mistake::new(message)
            .keycloak("fetch a new token if the realm's keys were changed")
            .istio(
                "istiod reads keys every 20 minutes and puts in a key that fits nothing \
                 while it cannot: let Keycloak answer first, then change the \
                 RequestAuthentication's spec so that istiod reads again",
            ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::KIND;
    use crate::KeySets;
    use crate::support::{Ask, ISSUER, base64, codes, token, user};

    #[test]
    fn a_key_set_without_the_tokens_key() {
        let mut ask = Ask::demo().claims(&user(&json!({})));
        let set = json!({"keys": [{"kty": "oct", "kid": "k9", "k": "AAAA"}]}).to_string();
        ask.keys = KeySets::from([(ISSUER.to_owned(), set)]);
        let explanation = ask.explain();
        assert_eq!(codes(&explanation), [KIND.code]);
        assert!(explanation.findings[0].message.contains("`k1`"));
    }

    #[test]
    fn a_signature_that_the_right_key_did_not_make() {
        let good = token(&user(&json!({})));
        let (signed, _) = good.rsplit_once('.').expect("three parts");
        let forged = Ask::demo().token(&format!("{signed}.{}", base64([0; 32])));
        assert_eq!(codes(&forged.explain()), [KIND.code]);
        assert!(!Ask::demo().token(&good).shows(KIND.code));
    }
}
