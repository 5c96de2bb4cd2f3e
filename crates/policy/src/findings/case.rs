//! What the mistakes are looked for in.

use serde_json::{Map, Value};

use super::alike::alike;
use crate::jwt::Status;
use crate::question::Question;
use crate::rbac::Condition;
use crate::select::Effective;
use crate::types::JwtRule;

/// A question with what came out of it.
pub(crate) struct Case<'a> {
    pub(crate) question: &'a Question<'a>,
    pub(crate) effective: &'a Effective<'a>,
    pub(crate) evidence: &'a Evidence,
    /// What the nearest rule asks for and did not get.
    pub(crate) missed: &'a [Condition],
    /// Whether the request is, or may be, let in.
    pub(crate) lets_in: bool,
}

/// What the filters saw of the token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    pub(crate) status: Option<Status>,
    /// Claims of the last token read, verified or not.
    pub(crate) payload: Option<Map<String, Value>>,
    /// Key id of that token and those of its issuer's key set.
    pub(crate) key_ids: Option<(String, Vec<String>)>,
    /// Whether any token was found where one is looked for.
    pub(crate) token_found: bool,
}

impl Evidence {
    /// A claim of the token.
    pub(crate) fn claim(&self, name: &str) -> Option<&Value> {
        self.payload.as_ref()?.get(name)
    }
}

impl Case<'_> {
    /// The rule whose issuer differs from this one by what people overlook.
    pub(crate) fn rule_alike(&self, issuer: &str) -> Option<&JwtRule> {
        let rules = self.effective.jwt_rules().into_iter();
        rules.into_iter().find(|rule| alike(&rule.issuer, issuer))
    }
}
