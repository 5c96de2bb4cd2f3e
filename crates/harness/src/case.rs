//! Cases: a token, a request, and the verdict the two must get.
//!
//! Cases are data, one YAML file per family (`cases/*.yaml` of a suite). They are
//! checked as a whole when loaded, so that a run never starts with a table
//! that could not fail.

pub(crate) mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use token_client::batch;
use wildmatch::WildMatch;

use crate::evidence::DecidedBy;
use crate::token::{Mint, MintError, Object, Recipe, Token};

/// Where the mesh runs.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum StageName {
    /// A kind cluster of our own, in Docker.
    Kind,
    /// Keycloak and Envoy as processes, without Docker.
    Local,
    /// An existing cluster that the user names.
    Cluster,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// A sentence, unique in the table.
    pub name: String,
    /// What the rows of its file have in common.
    pub family: String,
    /// Why the verdict is what it is, where that is not plain.
    pub why: Option<String>,
    /// Where the request leaves from.
    pub caller: String,
    /// The token, `{token}` in the request.
    pub token: Recipe,
    /// A second token, `{other_token}` in the request.
    pub other_token: Option<Recipe>,
    /// What is asked.
    pub request: Request,
    /// The name of the positive control: a negative row counts only beside it.
    pub control: Option<String>,
    /// Stages that cannot run this row, with the reason.
    pub skip: BTreeMap<StageName, String>,
    /// Longest time from minting to the answer in which the row means
    /// something. A later answer is no verdict: the row must be asked again.
    pub answer_within: Option<SignedDuration>,
    expect: Expected,
    /// Verdicts in profiles where they differ.
    in_profile: BTreeMap<String, Expected>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// The host, with a port if it is not 80.
    pub host: String,
    /// Path and query, sent as written but for `{token}` and `{other_token}`.
    pub path: String,
    /// Further headers, with the same two filled in.
    pub headers: BTreeMap<String, String>,
    /// The body, if any.
    pub body: Option<String>,
    /// How the token is presented: the values of the `authorization` headers,
    /// with `{token}` and `{other_token}` filled in. By default
    /// `Bearer {token}`, and no header without a token.
    pub authorization: Option<OneOrMany>,
}

/// One header value, or a list of them for as many headers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One header.
    One(String),
    /// As many headers as there are values, perhaps none.
    Many(Vec<String>),
}

/// The verdict that a case must get.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "load::ExpectedYaml")]
#[schemars(with = "load::ExpectedYaml")]
pub struct Expected {
    /// What comes back.
    pub answer: ExpectedAnswer,
    /// Who decided, by the proxy's own access log.
    pub decided_by: DecidedBy,
    /// The log's `response_code_details`; with `*` at the end, their beginning.
    pub details: Option<String>,
    /// What the authorization rules want and the request has not: `paths`,
    /// `request.auth.claims[email]`. The explanation must name it.
    pub because: Option<String>,
}

/// What must come back.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedAnswer {
    /// An HTTP answer.
    Http {
        /// The exact status.
        status: u16,
        /// What the body must be, if anything.
        body: Option<ExpectedBody>,
        /// Headers that must be there, with their exact values.
        headers: BTreeMap<String, String>,
    },
    /// No HTTP answer: the proxy closes the connection.
    ConnectionRefused,
}

/// What must be in a body.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedBody {
    /// Exactly this.
    Exact(String),
    /// This somewhere.
    Contains(String),
    /// A JSON object with at least these members. `{token.sub}` stands for the
    /// claim of that name in the case's token; `null` also matches absence.
    Json(Object),
}

impl Expected {
    /// Fills the claims of `token` into what the body must be.
    fn with_claims(mut self, token: &Token) -> Self {
        if let ExpectedAnswer::Http {
            body: Some(ExpectedBody::Json(members)),
            ..
        } = &mut self.answer
        {
            for value in members.values_mut() {
                // A claim that the token has not stays a placeholder, which no body
                // has: where `null` stood instead, a misspelled one would pass.
                let claim = claim_placeholder(value).and_then(|it| token.claims.get(it));
                if let Some(claim) = claim.cloned() {
                    *value = claim;
                }
            }
        }
        self
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            ExpectedAnswer::Http { status, .. } => write!(f, "{status}"),
            ExpectedAnswer::ConnectionRefused => write!(f, "refused"),
        }?;
        write!(f, " {}", self.decided_by)
    }
}

fn claim_placeholder(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix("{token.")?.strip_suffix('}')
}

/// A case made ready to be asked.
#[derive(Debug)]
pub struct Prepared {
    /// The request, for `token-client call --batch`; its id is also sent as
    /// `x-request-id`.
    pub request: batch::Request,
    /// When the tokens were minted.
    pub minted_at: Timestamp,
    /// The verdict it must get, nothing left to be filled in.
    pub expected: Expected,
}

impl Case {
    /// The verdict this case must get under `profile`.
    pub fn expected(&self, profile: &str) -> &Expected {
        self.in_profile.get(profile).unwrap_or(&self.expect)
    }

    /// Whether profiles differ in the verdict.
    pub fn tells_profiles(&self) -> bool {
        self.in_profile
            .values()
            .any(|expected| *expected != self.expect)
    }

    /// Makes the tokens and the request. `now` is the time of minting.
    pub fn prepare(
        &self,
        profile: &str,
        mint: &Mint<'_>,
        now: Timestamp,
    ) -> Result<Prepared, MintError> {
        let token = mint.make(&self.token, now)?;
        let other = match &self.other_token {
            Some(recipe) => mint.make(recipe, now)?.text,
            None => "".into(),
        };
        let fill = |text: &str| {
            text.replace("{token}", token.text.expose_secret())
                .replace("{other_token}", other.expose_secret())
        };
        // Without dashes: in a dashed id Envoy notes whether it traces the
        // request, and the access log would have another id than the answer.
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut headers = vec![("x-request-id".to_owned(), id.clone())];
        let presented = self.authorization().into_iter();
        headers.extend(presented.map(|value| ("authorization".to_owned(), fill(&value))));
        let further = self.request.headers.iter();
        headers.extend(further.map(|(name, value)| (name.clone(), fill(value))));
        let url = format!("http://{}{}", self.request.host, fill(&self.request.path));
        let request = batch::Request {
            method: self.request.method.clone(),
            headers,
            body: self.request.body.clone(),
            ..batch::Request::get(id, url)
        };
        let expected = self.expected(profile).clone().with_claims(&token);
        Ok(Prepared {
            request,
            minted_at: now,
            expected,
        })
    }

    fn authorization(&self) -> Vec<String> {
        match (&self.request.authorization, &self.token) {
            (Some(OneOrMany::One(value)), _) => vec![value.clone()],
            (Some(OneOrMany::Many(values)), _) => values.clone(),
            (None, Recipe::None) => vec![],
            (None, _) => vec!["Bearer {token}".to_owned()],
        }
    }
}

/// The whole table.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    cases: Vec<Case>,
}

impl Cases {
    /// The cases that a filter means. One that is the name of a case means that
    /// case. Any other means the cases whose name or family has it as a part or,
    /// with `*` or `?`, matches it as a whole; upper and lower case are the same.
    pub fn meant_by(&self, filter: &str) -> Vec<&Case> {
        let cases = self.cases.iter();
        if let Some(exactly) = cases.clone().find(|case| case.name == filter) {
            return vec![exactly];
        }
        cases
            .filter(|case| matches(filter, &case.name) || matches(filter, &case.family))
            .collect()
    }

    /// These cases and the controls they need, in the table's order.
    pub fn with_controls(&self, chosen: &[&Case]) -> Vec<&Case> {
        let needed: BTreeSet<_> = chosen
            .iter()
            .flat_map(|case| std::iter::once(&case.name).chain(&case.control))
            .collect();
        let cases = self.cases.iter();
        cases.filter(|case| needed.contains(&case.name)).collect()
    }

    /// The case of this name, or the only one whose name has it as a part.
    pub fn find(&self, name: &str) -> Result<&Case, NotOneCase> {
        if let Some(exactly) = self.cases.iter().find(|case| case.name == name) {
            return Ok(exactly);
        }
        let meant: Vec<_> = self
            .cases
            .iter()
            .filter(|case| matches(name, &case.name))
            .collect();
        match meant[..] {
            [only] => Ok(only),
            [] => Err(NotOneCase::None(name.to_owned())),
            _ => {
                let names: Vec<_> = meant.iter().map(|case| case.name.as_str()).collect();
                Err(NotOneCase::Several(name.to_owned(), names.join("` or `")))
            }
        }
    }

    /// Every case, in the table's order.
    pub fn all(&self) -> &[Case] {
        &self.cases
    }
}

/// The grants that these cases need tokens of.
pub fn grants_needed<'a>(cases: impl IntoIterator<Item = &'a Case>) -> BTreeSet<&'a str> {
    cases
        .into_iter()
        .flat_map(|case| std::iter::once(&case.token).chain(&case.other_token))
        .filter_map(Recipe::grant)
        .collect()
}

/// Whether a filter that is nobody's whole name means `text`.
pub fn matches(filter: &str, text: &str) -> bool {
    if filter.contains(['*', '?']) {
        WildMatch::new_case_insensitive(filter).matches(text)
    } else {
        text.to_lowercase().contains(&filter.to_lowercase())
    }
}

/// A name that does not say which case is meant.
#[derive(Debug, thiserror::Error)]
pub enum NotOneCase {
    /// No case has it.
    #[error("no case is called `{0}`; `mesh verify` lists them")]
    None(String),
    /// Several have it as a part.
    #[error("`{0}` may mean `{1}`: give more of the case's name")]
    Several(String, String),
}

#[cfg(test)]
mod tests;
