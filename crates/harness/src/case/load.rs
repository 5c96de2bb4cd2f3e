//! Reading cases, and refusing a table that could not fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::{Case, Cases, Expected, ExpectedAnswer, ExpectedBody, OneOrMany, Request, StageName};
use crate::evidence::DecidedBy;
use crate::suite::yaml::{LoadError, Problem, read_yaml, yaml_files};
use crate::suite::{Suite, UsualRequest};
use crate::token::{Object, Recipe};

impl Cases {
    /// Reads every `*.yaml` of a folder, in the order of their names, and
    /// checks the table as a whole. All problems are reported, not the first.
    pub fn load(dir: &Path, suite: &Suite) -> Result<Self, LoadError> {
        let mut located = vec![];
        let mut problems = vec![];
        let mut whole = true;
        for path in yaml_files(dir)? {
            match read_yaml::<FamilyYaml>(&path) {
                Ok(family) if family.cases.is_empty() => {
                    problems.push(Problem::new(&path, 0, "no cases here"));
                }
                Ok(family) => located.extend(family.into_cases(&path, suite, &mut problems)),
                Err(error) => {
                    error.add_to(&mut problems)?;
                    whole = false;
                }
            }
        }
        // Without one file, the controls in it would be missed everywhere.
        if whole {
            check(&located, suite, &mut problems);
        }
        if located.is_empty() && problems.is_empty() {
            problems.push(Problem::new(dir, 0, "no cases here"));
        }
        LoadError::none_of(problems)?;
        Ok(Self {
            cases: located.into_iter().map(|located| located.case).collect(),
        })
    }
}

// === The files as they are written ===

/// One file of cases. What stands at the top holds for all its cases.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cases")]
pub(crate) struct FamilyYaml {
    /// What its cases have in common, in a word or two.
    family: String,
    /// The `control` of every refusal in the file that names none itself.
    control: Option<String>,
    /// The verdict of every case in the file that has none of its own.
    expect: Option<Expected>,
    /// The verdicts in profiles where they differ, for every case without an
    /// `expect` of its own.
    #[serde(default)]
    profiles: BTreeMap<String, Expected>,
    /// The cases, in the order in which they are asked.
    #[schemars(with = "Vec<CaseYaml>")]
    cases: Vec<Spanned<CaseYaml>>,
}

/// A token, a request, and the verdict the two must get.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Case")]
struct CaseYaml {
    /// A sentence, unique in the table.
    name: String,
    /// Why the verdict is what it is, where that is not plain.
    why: Option<String>,
    /// The caller of `suite.yaml` that the request leaves from; by default the
    /// first.
    caller: Option<String>,
    /// How the token comes about, `{token}` in the request.
    token: Recipe,
    /// How a second token comes about, `{other_token}` in the request.
    other_token: Option<Recipe>,
    /// What is asked.
    #[serde(default)]
    request: RequestYaml,
    /// The verdict; by default that at the top of the file.
    expect: Option<Expected>,
    /// The verdicts in profiles where they differ.
    #[serde(default)]
    profiles: BTreeMap<String, Expected>,
    /// The name of the case that must pass beside this refusal; by default that
    /// at the top of the file.
    control: Option<String>,
    /// The same as in `expect`, for who takes that from the top of the file.
    because: Option<String>,
    /// Stages that cannot run this case, each with the reason.
    #[serde(default)]
    skip: BTreeMap<StageName, String>,
    /// Longest time from minting to the answer in which the verdict means
    /// something: `40s`. After a later answer the case is asked again.
    #[schemars(with = "Option<String>")]
    answer_within: Option<SignedDuration>,
}

/// What is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Request")]
struct RequestYaml {
    /// The HTTP method, by default `GET`.
    method: Option<String>,
    /// The host, with a port if it is not 80; by default that of `suite.yaml`.
    host: Option<String>,
    /// Path and query, sent as written but for `{token}` and `{other_token}`; by
    /// default the path of `suite.yaml`.
    path: Option<String>,
    /// Further headers, with the same two filled in.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body, if any.
    body: Option<String>,
    /// The values of the `authorization` headers, with the same two filled in;
    /// by default `Bearer {token}`, and no header without a token.
    authorization: Option<OneOrMany>,
}

impl RequestYaml {
    fn or(self, usual: &UsualRequest) -> Request {
        Request {
            method: self.method.unwrap_or_else(|| "GET".to_owned()),
            host: self.host.unwrap_or_else(|| usual.host.clone()),
            path: self.path.unwrap_or_else(|| usual.path.clone()),
            headers: self.headers,
            body: self.body,
            authorization: self.authorization,
        }
    }
}

/// The verdict that a case must get: either `status` or `connection`, and who
/// decided.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Verdict")]
pub(super) struct ExpectedYaml {
    /// The exact status of the answer.
    status: Option<u16>,
    /// That there is no answer, since the proxy closes the connection.
    connection: Option<RefusedYaml>,
    /// The exact body. Of `body`, `body_contains` and `json` one at most.
    body: Option<String>,
    /// Text somewhere in the body.
    body_contains: Option<String>,
    /// Members of the JSON object in the body, which may have more. `{token.sub}`
    /// stands for that claim of the token; `null` also matches absence.
    json: Option<Object>,
    /// Headers of the answer, with their exact values.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Who decided, by the proxy's own access log.
    decided_by: DecidedBy,
    /// The log's `response_code_details`; with `*` at the end, their beginning.
    details: Option<String>,
    /// What the rules want and the request has not, as `mesh explain` must name
    /// it: `paths`, `request.auth.claims[email]`. For refusals by `authz` only.
    because: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Connection")]
enum RefusedYaml {
    /// The proxy closes it.
    Refused,
}

impl TryFrom<ExpectedYaml> for Expected {
    type Error = &'static str;

    fn try_from(yaml: ExpectedYaml) -> Result<Self, Self::Error> {
        if yaml.body_contains.as_ref().is_some_and(String::is_empty) {
            return Err("every body has an empty `body_contains`: say more, or nothing of it");
        }
        if yaml.json.as_ref().is_some_and(Object::is_empty) {
            return Err("every object has no members: say which `json` must have");
        }
        if yaml.details.as_deref() == Some("*") {
            return Err("everything matches the details `*`: say more, or nothing of them");
        }
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
            because: yaml.because,
        })
    }
}

impl FamilyYaml {
    fn into_cases(self, path: &Path, suite: &Suite, problems: &mut Vec<Problem>) -> Vec<Located> {
        let mut cases = vec![];
        for Spanned {
            value: yaml,
            referenced,
            ..
        } in self.cases
        {
            let line = referenced.line();
            // Who writes `expect` takes nothing from the top of the file.
            let mut in_profile = if yaml.expect.is_some() {
                BTreeMap::new()
            } else {
                self.profiles.clone()
            };
            in_profile.extend(yaml.profiles);
            let Some(mut expect) = yaml.expect.or_else(|| self.expect.clone()) else {
                problems.push(Problem::new(path, line, "no `expect`, here or at the top"));
                continue;
            };
            expect.because = yaml.because.or(expect.because);
            let control = if suite.control.admits(&expect) {
                None
            } else {
                self.control.clone()
            };
            let case = Case {
                name: yaml.name,
                family: self.family.clone(),
                why: yaml.why,
                caller: yaml
                    .caller
                    .unwrap_or_else(|| suite.usual_caller().name.clone()),
                token: yaml.token,
                other_token: yaml.other_token,
                request: yaml.request.or(&suite.request),
                control: yaml.control.or(control),
                skip: yaml.skip,
                answer_within: yaml.answer_within,
                expect,
                in_profile,
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
    /// What is expected of members of a JSON body, under whatever profile.
    fn members(&self) -> impl Iterator<Item = (&String, &Value)> {
        let verdicts = self.in_profile.values().chain([&self.expect]);
        verdicts
            .filter_map(|expected| match &expected.answer {
                ExpectedAnswer::Http {
                    body: Some(ExpectedBody::Json(members)),
                    ..
                } => Some(members),
                _ => None,
            })
            .flatten()
    }

    /// What is wrong with this case, seen by itself.
    fn problems(&self, suite: &Suite) -> Vec<String> {
        let mut problems = vec![];
        if let Err(unknown) = suite.caller(&self.caller) {
            problems.push(unknown.to_string());
        }
        let profiles = self.in_profile.keys();
        problems.extend(profiles.filter_map(|name| Some(suite.profile(name).err()?.to_string())));
        let recipes = || std::iter::once(&self.token).chain(&self.other_token);
        for grant in recipes().filter_map(Recipe::grant) {
            if !suite.grants.contains_key(grant) {
                problems.push(format!("the suite has no grant `{grant}`"));
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
        let mut verdicts = self.in_profile.values().chain([&self.expect]);
        if verdicts.any(|it| it.because.is_some() && it.decided_by != DecidedBy::Authz) {
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
fn check(located: &[Located], suite: &Suite, problems: &mut Vec<Problem>) {
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
        this.case.problems(suite).into_iter().for_each(complain);
    }
    let present: BTreeSet<_> = located
        .iter()
        .flat_map(|this| this.case.members())
        .filter_map(|(name, value)| (!value.is_null()).then_some(name))
        .collect();
    for this in located {
        let absent = this.case.members().filter(|(_, value)| value.is_null());
        for (name, _) in absent.filter(|(name, _)| !present.contains(name)) {
            let text = format!(
                "`{name}: null` holds of every body if it is misspelled: some case must expect a \
                 value of `{name}`"
            );
            problems.push(Problem::new(&this.path, this.line, text));
        }
    }
    for this in located {
        let control = this
            .case
            .control
            .as_deref()
            .map(|name| (name, by_name.get(name)));
        if let Some(text) = control_problem(suite, &this.case, control) {
            problems.push(Problem::new(&this.path, this.line, text));
        }
    }
}

fn control_problem(
    suite: &Suite,
    case: &Case,
    control: Option<(&str, Option<&&Located>)>,
) -> Option<String> {
    let positive = |case: &Case| {
        let mut profiles = suite.profiles.iter();
        profiles.all(|profile| suite.control.admits(case.expected(&profile.name)))
    };
    match control {
        None if positive(case) => None,
        None => Some("a negative case needs a `control`: a case that succeeds".into()),
        Some((name, None)) => Some(format!("there is no case `{name}` to be the control")),
        Some((name, Some(_))) if name == case.name => {
            Some("a case cannot be its own control".into())
        }
        Some((name, Some(control))) if !positive(&control.case) => Some(format!(
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
