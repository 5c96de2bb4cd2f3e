//! Known mistakes, each with a stable code, a fix and a page.

mod identity;
mod search;

use serde::Serialize;

use crate::source::Location;

pub(crate) use search::find;

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

macro_rules! catalogue {
    ($($name:ident $code:literal $title:literal),+ $(,)?) => {
        $(const $name: (&str, &str) = ($code, $title);)+

        /// Every code with its title, in order.
        pub const CODES: &[(&str, &str)] = &[$(($code, $title)),+];

        /// The page about a code, in Markdown: what it means, why it happens, how
        /// to fix it.
        pub fn page(code: &str) -> Option<&'static str> {
            match code {
                $($code => Some(include_str!(concat!("../findings/", $code, ".md"))),)+
                _ => None,
            }
        }
    };
}

catalogue! {
    NO_AUTHENTICATION "MO0001" "claims are asked for, but no token is verified",
    ISSUER_DIFFERS "MO0002" "two spellings of one issuer",
    AUDIENCE "MO0003" "the token is for another audience",
    NO_SUBJECT "MO0004" "the token has no subject",
    SERVICE_ACCOUNT_EMAIL "MO0005" "an email is asked of a service account",
    TCP_PORT "MO0006" "HTTP rules on a TCP port",
    SELECTS_NOTHING "MO0007" "a selector that matches no workload",
    STAR "MO0008" "a star that does not mean what it seems to",
    TARGET_REFS "MO0009" "targetRefs on a sidecar",
    SATISFIED_BY_NOTHING "MO0010" "a missing token satisfies it",
    NOT_A_STRING "MO0011" "the claim is no string",
    NESTED_ROLES "MO0012" "Keycloak nests its roles",
    TOKEN_NOT_FOUND "MO0013" "a token, but not where it is looked for",
    KEYS "MO0014" "the keys do not fit the token",
    ANY_AUDIENCE "MO0015" "tokens for any audience are accepted",
    ISSUER_UNKNOWN "MO0016" "an issuer that nobody verifies",
    HOST_PORT "MO0017" "the Host header has a port",
    NO_IDENTITY "MO0018" "an identity is asked for on a plain-text connection",
    TOKEN_REMOVED "MO0019" "the token is gone when the rule looks at it",
    CLOCK "MO0020" "the token's time is over, or not yet come",
    SEVERAL_TOKENS "MO0021" "headers are made of claims, and a request may bring several tokens",
    EMAIL "MO0022" "an email that nobody verified lets in",
}
