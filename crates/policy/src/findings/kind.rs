//! What makes a kind of mistake.

use super::case::Case;
use super::subject::Subject;
use crate::parse::Location;

/// A kind of mistake.
pub(crate) struct Kind {
    /// Stable code.
    pub(crate) code: &'static str,
    /// What it is, in a few words.
    pub(crate) title: &'static str,
    /// The page about it, in Markdown.
    pub(crate) page: &'static str,
    /// Looks for it in one thing; most things are none of its business.
    pub(crate) find: fn(&Case<'_>, Subject<'_>) -> Option<Mistake>,
}

/// What is wrong in one place, and what mends it.
pub(crate) struct Mistake {
    pub(crate) message: String,
    pub(crate) keycloak: Option<String>,
    pub(crate) istio: Option<String>,
    pub(crate) location: Option<Location>,
}

impl Mistake {
    /// A mistake that stands nowhere in the manifests, and has no fix yet.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            keycloak: None,
            istio: None,
            location: None,
        }
    }

    /// Adds the fix on Keycloak's side.
    pub(crate) fn keycloak(self, fix: impl Into<String>) -> Self {
        Self {
            keycloak: Some(fix.into()),
            ..self
        }
    }

    /// Adds the fix on Istio's side.
    pub(crate) fn istio(self, fix: impl Into<String>) -> Self {
        Self {
            istio: Some(fix.into()),
            ..self
        }
    }

    /// Says where it stands in the manifests.
    pub(crate) fn at(self, location: Location) -> Self {
        Self {
            location: Some(location),
            ..self
        }
    }
}
