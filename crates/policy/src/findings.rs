//! Known mistakes, each with a stable code, a fix and a page.
//!
//! Each kind of mistake is a file with its page beside it. A file looks at one
//! thing at a time, a `Subject`, and says what is wrong with it.

mod alike;
mod case;
mod claims;
mod kind;
mod request;
mod resources;
mod rules;
mod subject;
mod token;
mod values;
mod walk;

use serde::Serialize;

use crate::parse::Location;
use kind::{Kind, Mistake};

pub(crate) use case::{Case, Evidence};

/// A known mistake that the resources, the token or the request show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code; [`page`] has more about it.
    pub code: &'static str,
    /// What kind of mistake it is.
    pub title: &'static str,
    /// What is wrong here.
    pub message: String,
    /// The fix on Keycloak's side.
    pub keycloak: Option<String>,
    /// The fix on Istio's side.
    pub istio: Option<String>,
    /// Where it stands in the manifests.
    pub location: Option<Location>,
}

/// Every kind of mistake, in the order of the codes.
const KINDS: &[Kind] = &[
    rules::no_authentication::KIND,
    token::issuer::KIND,
    token::audience::KIND,
    claims::subject::KIND,
    claims::service_account::KIND,
    resources::tcp_port::KIND,
    resources::selector::KIND,
    rules::star::KIND,
    resources::target_refs::KIND,
    rules::satisfied_by_nothing::KIND,
    claims::no_string::KIND,
    claims::nested_roles::KIND,
    token::not_found::KIND,
    token::keys::KIND,
    resources::any_audience::KIND,
    rules::unknown_issuer::KIND,
    request::host_port::KIND,
    request::plain_text::KIND,
    rules::token_removed::KIND,
    token::clock::KIND,
    resources::several_tokens::KIND,
    rules::email::KIND,
];

/// Every code with its title, in order.
pub const CODES: &[(&str, &str)] = &{
    let mut codes = [("", ""); KINDS.len()];
    let mut at = 0;
    while at < codes.len() {
        codes[at] = (KINDS[at].code, KINDS[at].title);
        at += 1;
    }
    codes
};

/// The page about a code, in Markdown: what it means, why it happens, how
/// to fix it.
pub fn page(code: &str) -> Option<&'static str> {
    let kind = KINDS.iter().find(|kind| kind.code == code)?;
    Some(kind.page)
}

/// The mistakes that a case shows. What is the same word for word is said once.
pub(crate) fn find(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    walk::subjects(case, &mut |subject| {
        for kind in KINDS {
            let finding = (kind.find)(case, subject).map(|mistake| Finding::new(kind, mistake));
            found.extend(finding.filter(|finding| !found.contains(finding)));
        }
    });
    found
}

impl Finding {
    fn new(kind: &Kind, mistake: Mistake) -> Self {
        Self {
            code: kind.code,
            title: kind.title,
            message: mistake.message,
            keycloak: mistake.keycloak,
            istio: mistake.istio,
            location: mistake.location,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::support::{Ask, ISSUER, allow, codes, user};

    #[test]
    fn codes_are_numbered_without_a_gap() {
        for (index, (code, _)) in CODES.iter().enumerate() {
            assert_eq!(*code, format!("MO{:04}", index + 1));
        }
    }

    #[test]
    fn every_code_has_a_page_with_its_title() {
        for (code, title) in CODES {
            let page = page(code).expect("a page");
            assert!(page.starts_with(&format!("# {code}: {title}\n")), "{code}");
            assert!(page.contains("## Why") && page.contains("## Fix"), "{code}");
        }
        assert_eq!(page("MO9999"), None);
    }

    #[test]
    fn what_the_token_shows_comes_first_then_the_nearest_rule_the_policies_the_resources() {
        let rules = "[{from: [{source: {namespaces: [demo]}}],
            to: [{operation: {hosts: [\"a*b*\"]}}],
            when: [{key: \"request.auth.claims[roles]\", values: [reader]},
                   {key: \"request.auth.claims[iss]\", values: [other]}]}]";
        let ask = Ask::new(&allow(rules))
            .claims(&user(&json!({"realm_access": {"roles": ["reader"]}})))
            .request(|request| request.peer = crate::Peer::Plaintext);
        assert_eq!(
            codes(&ask.explain()),
            ["MO0012", "MO0018", "MO0016", "MO0008", "MO0015"]
        );
        let foreign = ask.claims(&user(&json!({"iss": format!("{ISSUER}/")})));
        assert_eq!(
            codes(&foreign.explain()),
            ["MO0002", "MO0016", "MO0008", "MO0015"]
        );
    }
}
