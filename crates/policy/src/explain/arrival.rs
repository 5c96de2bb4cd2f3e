//! What the workload is sent of a request that is let through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::authn::looks_like_token;
use crate::request::Request;
use crate::select::Effective;

/// What the workload is sent of a request that is let through, besides what
/// proxies add on their own account (`x-request-id`, `x-forwarded-client-cert`…).
///
/// Headers can hold tokens, so neither `Debug` nor JSON shows any but those that
/// are made of claims.
#[derive(Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The path with its query, in its normal form and without tokens that were
    /// taken out; `None` if it was not given.
    pub path: Option<String>,
    /// All headers in order, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The headers that the caller sent and the workload does not get.
    pub removed: BTreeSet<String>,
    /// The names of the headers that are made of claims, whether this token has
    /// the claims or not.
    pub made_of_claims: BTreeSet<String>,
}

impl Arrival {
    pub(super) fn new(effective: &Effective<'_>, sent: &Request, request: &Request) -> Self {
        let rules = effective.jwt_rules();
        let outputs = rules.iter().flat_map(|rule| &rule.output_claim_to_headers);
        let gone = |name: &String| request.header(name).next().is_none();
        let sent = sent
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase());
        Self {
            path: request.path.clone(),
            headers: request
                .headers
                .iter()
                // Blanks around a value are not part of it (RFC 9110 §5.5).
                .map(|(name, value)| (name.clone(), value.trim_matches([' ', '\t']).to_owned()))
                .collect(),
            removed: sent.filter(gone).collect(),
            made_of_claims: outputs
                .map(|output| output.header.to_ascii_lowercase())
                .collect(),
        }
    }

    /// The headers that are made of claims and are there, with their values.
    pub fn identity(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut identity = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in &self.headers {
            if self.made_of_claims.contains(name) {
                identity
                    .entry(name.as_str())
                    .or_default()
                    .push(value.as_str());
            }
        }
        identity
    }

    /// The path without its query, in which tokens may be.
    pub fn bare_path(&self) -> Option<&str> {
        self.path.as_ref()?.split('?').next()
    }

    /// The value as it may be shown.
    pub(super) fn shown(value: &str) -> &str {
        if looks_like_token(value) {
            "<token>"
        } else {
            value
        }
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Arrival")
            .field("path", &self.bare_path())
            .field("headers", &names)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}

impl Serialize for Arrival {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut identity = self.identity();
        for value in identity.values_mut().flatten() {
            *value = Self::shown(value);
        }
        json!({
            "path": self.bare_path(),
            "identity": identity,
            "removed": self.removed,
        })
        .serialize(serializer)
    }
}
