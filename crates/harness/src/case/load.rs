//! Reading cases, and refusing a table that could not fail.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use super::{
    Caller, Case, Cases, Expected, ExpectedAnswer, ExpectedBody, Profile, Request, StageName,
};
use crate::evidence::DecidedBy;
use crate::token::grant::Grants;
use crate::token::{Object, Recipe};

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
        let mut whole = true;
        for path in paths {
            match read_yaml::<FamilyYaml>(&path) {
                Ok(family) => located.extend(family.into_cases(&path, &mut problems)),
                Err(LoadError::Invalid(found)) => {
                    problems.extend(found.0);
                    whole = false;
                }
                Err(error) => return Err(error),
            }
        }
        // Without one file, the controls in it would be missed everywhere.
        if whole {
            check(&located, grants, &mut problems);
        }
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
}

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
    because: Option<String>,
    #[serde(default)]
    skip: BTreeMap<StageName, String>,
    answer_within: Option<SignedDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedYaml {
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
                because: yaml.because,
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

impl Case {
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
        if self.because.is_some() && self.expect.decided_by != DecidedBy::Authz {
            problems.push("`because` is for refusals by authz; other filters say why".into());
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
