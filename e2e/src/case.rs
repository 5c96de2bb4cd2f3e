//! Cases: a token, a request, and the verdict the two must get.
//!
//! Cases are data, one YAML file per family (`e2e/cases/*.yaml`). They are
//! checked as a whole when loaded, so that a run never starts with a table
//! that could not fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_saphyr::Spanned;
use token_client::batch;
use wildmatch::WildMatch;

use crate::evidence::DecidedBy;
use crate::grant::Grants;
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
    clap::ValueEnum,
    strum::Display,
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

/// Which rules are in force.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    clap::ValueEnum,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Profile {
    /// All of `manifests/policy`: a missing token is answered 401.
    #[default]
    Full,
    /// `manifests/policy/stock`, Istio's own rules alone: it is answered 403.
    Stock,
}

/// The workload that a request leaves from, and so its mTLS identity.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Caller {
    /// The frontend's identity.
    Frontend,
    /// A user's tool, with an identity that no rule names.
    #[default]
    TokenClient,
    /// A neighbour in the same namespace, up to no good.
    Intruder,
    /// A pod without a sidecar: plain text and no identity.
    Outsider,
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
    pub caller: Caller,
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
    stock: Option<Expected>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// The host, without a port.
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

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            host: "backend.demo.svc.cluster.local".into(),
            path: "/data".into(),
            headers: BTreeMap::new(),
            body: None,
            authorization: None,
        }
    }
}

/// One header value, or a list of them for as many headers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One header.
    One(String),
    /// As many headers as there are values, perhaps none.
    Many(Vec<String>),
}

/// The verdict that a case must get.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "ExpectedYaml")]
pub struct Expected {
    /// What comes back.
    pub answer: ExpectedAnswer,
    /// Who decided, by the proxy's own access log.
    pub decided_by: DecidedBy,
    /// The log's `response_code_details`; with `*` at the end, their beginning.
    pub details: Option<String>,
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
    /// Whether this is a success, so that the case can serve as a control.
    pub fn is_positive(&self) -> bool {
        matches!(
            self.answer,
            ExpectedAnswer::Http {
                status: 200..=299,
                ..
            }
        )
    }

    /// Fills the claims of `token` into what the body must be.
    fn with_claims(mut self, token: &Token) -> Self {
        if let ExpectedAnswer::Http {
            body: Some(ExpectedBody::Json(members)),
            ..
        } = &mut self.answer
        {
            for value in members.values_mut() {
                if let Some(claim) = claim_placeholder(value) {
                    *value = token.claims.get(claim).cloned().unwrap_or_default();
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
    pub fn expected(&self, profile: Profile) -> &Expected {
        match profile {
            Profile::Full => &self.expect,
            Profile::Stock => self.stock.as_ref().unwrap_or(&self.expect),
        }
    }

    /// Makes the tokens and the request. `now` is the time of minting.
    pub fn prepare(
        &self,
        profile: Profile,
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

    /// What is wrong with this case, seen by itself.
    fn problems(&self, grants: &Grants) -> Vec<String> {
        let mut problems = vec![];
        let recipes = || std::iter::once(&self.token).chain(&self.other_token);
        for grant in recipes().filter_map(Recipe::grant) {
            if !grants.grants.contains_key(grant) {
                problems.push(format!("there is no grant `{grant}` in grants.yaml"));
            }
        }
        let mut sent = self.authorization();
        sent.push(self.request.path.clone());
        sent.extend(self.request.headers.values().cloned());
        let uses = |placeholder| sent.iter().any(|text| text.contains(placeholder));
        if uses("{token}") != (self.token != Recipe::None) {
            problems.push("`token` and `{token}` in the request belong together".into());
        }
        if uses("{other_token}") != self.other_token.is_some() {
            problems
                .push("`other_token` and `{other_token}` in the request belong together".into());
        }
        if !self.request.path.starts_with('/') {
            problems.push(format!(
                "the path `{}` does not begin with `/`",
                self.request.path
            ));
        }
        problems
    }
}

/// The whole table.
#[derive(Clone, Debug)]
pub struct Cases {
    cases: Vec<Case>,
}

impl Cases {
    /// Reads every `*.yaml` of a folder, in the order of their names, and
    /// checks the table as a whole. All problems are reported, not the first.
    pub fn load(dir: &Path, grants: &Grants) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::Read {
            path: dir.to_owned(),
            source,
        };
        let mut paths = fs::read_dir(dir)
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.path()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(unreadable)?;
        paths.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        });
        paths.sort();
        let mut located = vec![];
        let mut problems = vec![];
        for path in paths {
            match read_yaml::<FamilyYaml>(&path) {
                Ok(family) => located.extend(family.into_cases(&path, &mut problems)),
                Err(LoadError::Invalid(found)) => problems.extend(found.0),
                Err(error) => return Err(error),
            }
        }
        check(&located, grants, &mut problems);
        if located.is_empty() && problems.is_empty() {
            problems.push(Problem::new(dir, 0, "no cases here"));
        }
        if !problems.is_empty() {
            problems.sort();
            return Err(LoadError::Invalid(Problems(problems)));
        }
        Ok(Self {
            cases: located.into_iter().map(|located| located.case).collect(),
        })
    }

    /// The cases that any of the filters means, and the controls they need, in
    /// the table's order; all of them without a filter. A filter that is the
    /// name of a case means that case. Any other means the cases whose name or
    /// family has it as a part or, with `*` or `?`, matches it as a whole;
    /// upper and lower case are the same.
    pub fn select(&self, filters: &[String]) -> Result<Vec<&Case>, NothingSelected> {
        let meant = |filter: &String, case: &Case| {
            if self.cases.iter().any(|case| case.name == *filter) {
                return case.name == *filter;
            }
            matches(filter, &case.name) || matches(filter, &case.family)
        };
        let wanted =
            |case: &&Case| filters.is_empty() || filters.iter().any(|filter| meant(filter, case));
        let chosen: Vec<_> = self.cases.iter().filter(wanted).collect();
        if chosen.is_empty() {
            return Err(NothingSelected(filters.join("`, `")));
        }
        let needed: BTreeSet<_> = chosen
            .iter()
            .flat_map(|case| std::iter::once(&case.name).chain(&case.control))
            .collect();
        Ok(self
            .cases
            .iter()
            .filter(|case| needed.contains(&case.name))
            .collect())
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

fn matches(filter: &str, text: &str) -> bool {
    if filter.contains(['*', '?']) {
        WildMatch::new_case_insensitive(filter).matches(text)
    } else {
        text.to_lowercase().contains(&filter.to_lowercase())
    }
}

/// No case matches any filter.
#[derive(Debug, thiserror::Error)]
#[error("no case matches `{0}`; `--filter` takes a part of a case's name, or a pattern with `*`")]
pub struct NothingSelected(String);

/// Why the cases or grants could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is wrong with the data, all of it.
    #[error("{0}")]
    Invalid(Problems),
}

/// Everything that is wrong with the data; one line each.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    path: PathBuf,
    line: u64,
    text: String,
}

impl Problem {
    fn new(path: &Path, line: u64, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { path, line, text }) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match line {
                0 => write!(f, "{}: {text}", path.display())?,
                line => write!(f, "{}:{line}: {text}", path.display())?,
            }
        }
        Ok(())
    }
}

/// Reads one YAML file.
pub(crate) fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_saphyr::from_str(&text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        // The line is told before the text, as compilers do.
        let text = error.without_snippet().to_string();
        let text = text.split(" at line ").next().unwrap_or(&text);
        LoadError::Invalid(Problems(vec![Problem::new(path, line, text)]))
    })
}

// === The files as they are written ===

/// One file of cases. What stands at the top holds for all its cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyYaml {
    family: String,
    control: Option<String>,
    expect: Option<Expected>,
    stock: Option<Expected>,
    cases: Vec<Spanned<CaseYaml>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseYaml {
    name: String,
    why: Option<String>,
    #[serde(default)]
    caller: Caller,
    token: Recipe,
    other_token: Option<Recipe>,
    #[serde(default)]
    request: Request,
    expect: Option<Expected>,
    stock: Option<Expected>,
    control: Option<String>,
    #[serde(default)]
    skip: BTreeMap<StageName, String>,
    answer_within: Option<SignedDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedYaml {
    status: Option<u16>,
    connection: Option<RefusedYaml>,
    body: Option<String>,
    body_contains: Option<String>,
    json: Option<Object>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    decided_by: DecidedBy,
    details: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RefusedYaml {
    Refused,
}

impl TryFrom<ExpectedYaml> for Expected {
    type Error = &'static str;

    fn try_from(yaml: ExpectedYaml) -> Result<Self, Self::Error> {
        let body = match (yaml.body, yaml.body_contains, yaml.json) {
            (None, None, None) => None,
            (Some(text), None, None) => Some(ExpectedBody::Exact(text)),
            (None, Some(part), None) => Some(ExpectedBody::Contains(part)),
            (None, None, Some(members)) => Some(ExpectedBody::Json(members)),
            _ => return Err("give one of `body`, `body_contains` and `json`"),
        };
        let answer = match (yaml.status, yaml.connection) {
            (Some(status), None) => ExpectedAnswer::Http {
                status,
                body,
                headers: yaml.headers,
            },
            (None, Some(RefusedYaml::Refused)) if body.is_none() && yaml.headers.is_empty() => {
                ExpectedAnswer::ConnectionRefused
            }
            (None, Some(_)) => return Err("a refused connection has neither headers nor a body"),
            _ => return Err("give either `status` or `connection: refused`"),
        };
        Ok(Self {
            answer,
            decided_by: yaml.decided_by,
            details: yaml.details,
        })
    }
}

impl FamilyYaml {
    fn into_cases(self, path: &Path, problems: &mut Vec<Problem>) -> Vec<Located> {
        let mut cases = vec![];
        for Spanned {
            value: yaml,
            referenced,
            ..
        } in self.cases
        {
            let line = referenced.line();
            // Who writes `expect` takes nothing from the top of the file.
            let stock = if yaml.expect.is_some() {
                None
            } else {
                self.stock.clone()
            };
            let Some(expect) = yaml.expect.or_else(|| self.expect.clone()) else {
                problems.push(Problem::new(path, line, "no `expect`, here or at the top"));
                continue;
            };
            let control = if expect.is_positive() {
                None
            } else {
                self.control.clone()
            };
            let case = Case {
                name: yaml.name,
                family: self.family.clone(),
                why: yaml.why,
                caller: yaml.caller,
                token: yaml.token,
                other_token: yaml.other_token,
                request: yaml.request,
                control: yaml.control.or(control),
                skip: yaml.skip,
                answer_within: yaml.answer_within,
                expect,
                stock: yaml.stock.or(stock),
            };
            cases.push(Located {
                path: path.to_owned(),
                line,
                case,
            });
        }
        cases
    }
}

/// A case and where it is written.
struct Located {
    path: PathBuf,
    line: u64,
    case: Case,
}

/// What is wrong with the table as a whole.
fn check(located: &[Located], grants: &Grants, problems: &mut Vec<Problem>) {
    let mut by_name: HashMap<&str, &Located> = HashMap::new();
    for this in located {
        let mut complain = |text| problems.push(Problem::new(&this.path, this.line, text));
        let other = by_name.entry(&this.case.name).or_insert(this);
        if !std::ptr::eq(*other, this) {
            complain(format!(
                "`{}` is also the name of a case in {}:{}",
                this.case.name,
                other.path.display(),
                other.line
            ));
        }
        this.case.problems(grants).into_iter().for_each(complain);
    }
    for this in located {
        let control = this
            .case
            .control
            .as_deref()
            .map(|name| (name, by_name.get(name)));
        if let Some(text) = control_problem(&this.case, control) {
            problems.push(Problem::new(&this.path, this.line, text));
        }
    }
}

fn control_problem(case: &Case, control: Option<(&str, Option<&&Located>)>) -> Option<String> {
    let positive = |case: &Case| {
        [Profile::Full, Profile::Stock].map(|profile| case.expected(profile).is_positive())
    };
    match control {
        None if positive(case) == [true, true] => None,
        None => Some("a negative case needs a `control`: a case that succeeds".into()),
        Some((name, None)) => Some(format!("there is no case `{name}` to be the control")),
        Some((name, Some(_))) if name == case.name => {
            Some("a case cannot be its own control".into())
        }
        Some((name, Some(control))) if positive(&control.case) != [true, true] => Some(format!(
            "`{name}` cannot be a control: it does not expect a success"
        )),
        Some((name, Some(control))) => {
            let skipped = |stage: &&StageName| !case.skip.contains_key(stage);
            let stage = control.case.skip.keys().find(skipped)?;
            Some(format!(
                "the control `{name}` is skipped on `{stage}`, where this case is not"
            ))
        }
    }
}

#[cfg(test)]
mod tests;
