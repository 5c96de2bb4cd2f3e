//! Reading the corpus, and refusing one that could not fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::{Attack, Expect, Identity, Origin, Sender, Spec, Target, template};
use crate::case::matches;
use crate::suite::yaml::{LoadError, read_yaml};
use crate::suite::{Suite, Unknown};

/// Names that are filled in when an attack is sent, and so no variables.
const RESERVED: [&str; 7] = [
    "token",
    "other_token",
    "id",
    "host",
    "kid",
    "foreign_jwk",
    "foreign_x5c",
];
/// The class whose attacks are none: they prove that the mesh lets anybody in.
pub const CONTROLS: &str = "controls";

/// All attacks, in the order of their files.
#[derive(Clone, Debug)]
pub struct Corpus {
    attacks: Vec<Attack>,
}

/// Why the corpus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no YAML, or not in this form.
    #[error(transparent)]
    Yaml(#[from] LoadError),
    /// What is wrong with the attacks, all of it, one a line.
    #[error("{0}")]
    Invalid(String),
    /// A filter means no attack.
    #[error(
        "no attack matches `{0}`; `--filter` takes a part of a name or class, or a pattern with `*`"
    )]
    NothingSelected(String),
}

/// One file. What stands at the top holds for all its attacks.
#[derive(Debug, Deserialize)]
struct ClassYaml {
    class: String,
    #[serde(flatten)]
    common: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct AttacksYaml {
    attacks: Vec<Spanned<Map<String, Value>>>,
}

impl Corpus {
    /// Reads every `*.yaml` of a folder, in the order of their names, expands it
    /// and checks it as a whole. All problems are reported, not the first.
    pub fn load(dir: &Path, suite: &Suite) -> Result<Self, CorpusError> {
        let mut problems = Problems::default();
        let mut attacks = Vec::new();
        for path in yaml_files(dir)? {
            let mut found = read_class(&path, &mut problems)?;
            for (line, attack) in &mut found {
                if let Err(unknown) = attack.spec.resolve(suite) {
                    problems.add(&path, *line, format!("`{}`: {unknown}", attack.name));
                    continue;
                }
                for text in attack.problems(suite) {
                    problems.add(&path, *line, format!("`{}`: {text}", attack.name));
                }
            }
            attacks.extend(
                found
                    .into_iter()
                    .map(|(line, attack)| (path.clone(), line, attack)),
            );
        }
        let mut names = BTreeSet::new();
        for (path, line, attack) in &attacks {
            if !names.insert(&attack.name) {
                problems.add(
                    path,
                    *line,
                    format!("`{}` is not the only one of this name", attack.name),
                );
            }
        }
        if !attacks.iter().any(|(_, _, attack)| attack.is_control()) {
            problems.add(dir, 0, format!("no attacks of class `{CONTROLS}`: nothing would show that the mesh lets anybody in"));
        }
        problems.into_result()?;
        Ok(Self {
            attacks: attacks.into_iter().map(|(_, _, attack)| attack).collect(),
        })
    }

    /// Every attack.
    pub fn all(&self) -> &[Attack] {
        &self.attacks
    }

    /// The attacks that any filter means by name or class, and the controls; all
    /// without a filter. The short form has the first of each group only.
    pub fn select(&self, filters: &[String], short: bool) -> Result<Vec<&Attack>, CorpusError> {
        let meant = |attack: &Attack| {
            filters.is_empty()
                || filters.iter().any(|filter| {
                    *filter == attack.name
                        || matches(filter, &attack.name)
                        || matches(filter, &attack.class)
                })
        };
        if !self.attacks.iter().any(meant) {
            return Err(CorpusError::NothingSelected(filters.join("`, `")));
        }
        let mut groups = BTreeSet::new();
        Ok(self
            .attacks
            .iter()
            .filter(|attack| attack.is_control() || meant(attack))
            .filter(|attack| {
                !short || attack.is_control() || groups.insert((&attack.class, &attack.group))
            })
            .collect())
    }

    /// How many attacks there are of each class; controls are none.
    pub fn classes(&self) -> BTreeMap<&str, usize> {
        let mut classes = BTreeMap::new();
        for attack in self.attacks.iter().filter(|attack| !attack.is_control()) {
            *classes.entry(attack.class.as_str()).or_default() += 1;
        }
        classes
    }
}

impl Attack {
    /// Whether it is a request that must succeed, for comparison.
    pub fn is_control(&self) -> bool {
        self.class == CONTROLS
    }

    /// The grants that it needs tokens of.
    pub fn grants(&self) -> Vec<&str> {
        let mut grants = self.spec.token.grant();
        grants.extend(self.spec.other_token.grant());
        if let Expect::ByDesign(design) = &self.spec.expect {
            grants.extend(design.app.iter().filter_map(|sees| match &sees.identity {
                Identity::Granted(grant) => Some(grant.as_str()),
                _ => None,
            }));
        }
        grants
    }

    /// What is wrong with it, seen by itself.
    fn problems(&self, suite: &Suite) -> Vec<String> {
        let mut problems = Vec::new();
        let Spec {
            token,
            other_token,
            request,
            expect,
            ..
        } = &self.spec;
        for grant in self.grants() {
            if !suite.grants.contains_key(grant) {
                problems.push(format!("the suite has no grant `{grant}`"));
            }
        }
        let sent = request.template(&self.spec.to, !token.is_none());
        for (token, place) in [(token, "{token}"), (other_token, "{other_token}")] {
            if sent.contains(place) == token.is_none() {
                problems.push(format!(
                    "a token and `{place}` in the request belong together"
                ));
            }
        }
        // Without it neither proxy nor application could be heard as a witness.
        if !sent.contains("{id}") && !self.spec.is_counted() {
            problems.push("`{id}` is nowhere in the request, so no log could tell it".to_owned());
        }
        match expect {
            Expect::Refused(statuses) if statuses.is_empty() => {
                problems.push("`refused` needs the statuses that are acceptable".to_owned());
            }
            Expect::ByDesign(design) if design.because.trim().is_empty() => {
                problems.push("`by_design` needs its reason".to_owned());
            }
            Expect::Refused(_) if self.is_control() => {
                problems.push("a control has to succeed".to_owned());
            }
            _ => {}
        }
        problems
    }
}

impl Spec {
    /// Fills in what the suite knows of sender and target.
    pub(super) fn resolve(&mut self, suite: &Suite) -> Result<(), Unknown> {
        let usual = suite.attacks.as_ref();
        if self.to.name.is_empty() {
            self.to.name = usual.map(|usual| usual.to.clone()).unwrap_or_default();
        }
        self.to = Target::find(suite, &self.to.name)?;
        if let Origin::Caller(sender) = &mut self.from {
            if sender.name.is_empty() {
                sender.name = usual.map(|usual| usual.from.clone()).unwrap_or_default();
            }
            *sender = Sender::find(suite, &sender.name)?;
        }
        if let Expect::ByDesign(design) = &self.expect {
            for name in design.app.iter().filter_map(|sees| sees.at.as_ref()) {
                suite.workload(name)?;
            }
        }
        Ok(())
    }
}

fn yaml_files(dir: &Path) -> Result<Vec<PathBuf>, CorpusError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = read().map_err(|source| CorpusError::Read {
        path: dir.to_owned(),
        source,
    })?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    paths.sort();
    Ok(paths)
}

fn read_class(path: &Path, problems: &mut Problems) -> Result<Vec<(u64, Attack)>, CorpusError> {
    let ClassYaml { class, mut common } = read_yaml(path)?;
    common.remove("attacks");
    common.remove("about");
    // Read once more for the lines, which a flattened map loses.
    let AttacksYaml { attacks } = read_yaml(path)?;
    let mut expanded = Vec::new();
    for Spanned {
        value, referenced, ..
    } in attacks
    {
        let line = referenced.line();
        match expand(&class, &common, value) {
            Ok(found) => expanded.extend(found.into_iter().map(|attack| (line, attack))),
            Err(text) => problems.add(path, line, text),
        }
    }
    Ok(expanded)
}

/// One entry of a file, with every combination of its matrix.
fn expand(
    class: &str,
    common: &Map<String, Value>,
    mut entry: Map<String, Value>,
) -> Result<Vec<Attack>, String> {
    let Some(Value::String(group)) = entry.remove("name") else {
        return Err("an attack without `name`".to_owned());
    };
    let why = match entry.remove("why") {
        Some(Value::String(text)) => Some(text),
        None => None,
        Some(_) => return Err(format!("`{group}`: `why` is no text")),
    };
    let matrix = match entry.remove("for") {
        Some(Value::Object(matrix)) => matrix,
        None => Map::new(),
        Some(_) => return Err(format!("`{group}`: `for` is no map of variables")),
    };
    for variable in matrix.keys() {
        if RESERVED.contains(&variable.as_str()) {
            return Err(format!(
                "`{group}`: `{variable}` is filled in when sent; call it otherwise"
            ));
        }
        if !group.contains(&format!("{{{variable}}}")) {
            return Err(format!(
                "`{group}`: the name does not tell the values of `{variable}` apart"
            ));
        }
    }
    let entry = Value::Object(over(common, entry));
    template::combinations(&matrix)?
        .iter()
        .map(|choices| {
            let name = template::label(&group, choices);
            let spec: Spec = serde_json::from_value(template::fill(&entry, choices))
                .map_err(|error| format!("`{name}`: {error}"))?;
            Ok(Attack {
                name,
                class: class.to_owned(),
                group: group.clone(),
                why: why.clone(),
                spec,
            })
        })
        .collect()
}

/// The common members, replaced by the attack's own; `request` member by member.
fn over(common: &Map<String, Value>, entry: Map<String, Value>) -> Map<String, Value> {
    let mut merged = common.clone();
    for (name, value) in entry {
        match (merged.get_mut(&name), value) {
            (Some(Value::Object(below)), Value::Object(above)) if name == "request" => {
                below.extend(above);
            }
            (_, value) => {
                merged.insert(name, value);
            }
        }
    }
    merged
}

/// Everything that is wrong, one line each.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, path: &Path, line: u64, text: impl fmt::Display) {
        self.0.push(match line {
            0 => format!("{}: {text}", path.display()),
            line => format!("{}:{line}: {text}", path.display()),
        });
    }

    fn into_result(self) -> Result<(), CorpusError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(CorpusError::Invalid(self.0.join("\n")))
        }
    }
}

#[cfg(test)]
mod tests;
