//! Reading the corpus, and refusing one that could not fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::{Attack, Expect, Identity, Origin, Sender, Spec, Target, template};
use crate::case::matches;
use crate::suite::yaml::{LoadError, Problem, read_yaml, yaml_files};
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

/// No attack matches a filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "no attack matches `{0}`; `--filter` takes a part of a name or class, or a pattern with `*`"
)]
pub struct NothingSelected(String);

/// Hostile requests of one class. What stands at the top holds for all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(
    rename = "Attacks",
    extend("required" = ["class", "attacks"], "additionalProperties" = false)
)]
pub(crate) struct ClassYaml {
    /// What its attacks have in common, in a word or two. Those of the class
    /// `controls` are requests that must succeed; they come along with every
    /// filter.
    class: String,
    /// The attacks. They are read apart, with the lines that a flattened map loses.
    #[schemars(with = "Vec<AttackYaml>")]
    attacks: IgnoredAny,
    #[serde(flatten)]
    #[schemars(with = "Spec")]
    common: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct AttacksYaml {
    attacks: Vec<Spanned<AttackYaml>>,
}

/// One hostile request, or as many as there are combinations of values.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Attack", extend("required" = ["name"], "additionalProperties" = false))]
struct AttackYaml {
    /// A sentence, unique once expanded. `{variable}` stands for the value's label,
    /// or for the value itself where it has none.
    name: String,
    /// Why the outcome is what it is, where that is not plain.
    why: Option<String>,
    /// Variables, each with a list of values or a map of labels to values; every
    /// combination is an attack. `{variable}` and `{variable.member}` stand for
    /// the value anywhere below.
    #[serde(rename = "for", default)]
    matrix: Map<String, Value>,
    #[serde(flatten)]
    #[schemars(with = "Spec")]
    spec: Map<String, Value>,
}

impl Corpus {
    /// Reads every `*.yaml` of a folder, in the order of their names, expands it
    /// and checks it as a whole. All problems are reported, not the first.
    pub fn load(dir: &Path, suite: &Suite) -> Result<Self, LoadError> {
        let mut problems = Vec::new();
        let mut attacks = Vec::new();
        for path in yaml_files(dir)? {
            if let Err(error) = read_class(&path, suite, &mut attacks, &mut problems) {
                error.add_to(&mut problems)?;
            }
        }
        let mut names = BTreeSet::new();
        for Located { path, line, attack } in &attacks {
            if !names.insert(&attack.name) {
                let text = format!("`{}` is not the only one of this name", attack.name);
                problems.push(Problem::new(path, *line, text));
            }
        }
        if !attacks.iter().any(|located| located.attack.is_control()) {
            let text = format!(
                "no attacks of class `{CONTROLS}`: nothing would show that the mesh lets anybody in"
            );
            problems.push(Problem::new(dir, 0, text));
        }
        LoadError::none_of(problems)?;
        Ok(Self {
            attacks: attacks.into_iter().map(|located| located.attack).collect(),
        })
    }

    /// Every attack.
    pub fn all(&self) -> &[Attack] {
        &self.attacks
    }

    /// The attacks that any filter means by name or class, and the controls; all
    /// without a filter. The short form has the first of each group only.
    pub fn select(&self, filters: &[String], short: bool) -> Result<Vec<&Attack>, NothingSelected> {
        let matched = |filter: &String, attack: &Attack| {
            *filter == attack.name
                || matches(filter, &attack.name)
                || matches(filter, &attack.class)
        };
        for filter in filters {
            if !self.attacks.iter().any(|attack| matched(filter, attack)) {
                return Err(NothingSelected(filter.clone()));
            }
        }
        let meant = |attack: &Attack| {
            filters.is_empty() || filters.iter().any(|filter| matched(filter, attack))
        };
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

/// An attack and where it is written.
struct Located {
    path: PathBuf,
    line: u64,
    attack: Attack,
}

fn read_class(
    path: &Path,
    suite: &Suite,
    attacks: &mut Vec<Located>,
    problems: &mut Vec<Problem>,
) -> Result<(), LoadError> {
    let ClassYaml {
        class,
        attacks: IgnoredAny,
        common,
    } = read_yaml(path)?;
    let file: AttacksYaml = read_yaml(path)?;
    for Spanned {
        value, referenced, ..
    } in file.attacks
    {
        let line = referenced.line();
        let mut complain = |text: String| problems.push(Problem::new(path, line, text));
        let expanded = match expand(&class, &common, value) {
            Ok(expanded) => expanded,
            Err(text) => {
                complain(text);
                continue;
            }
        };
        for mut attack in expanded {
            let found = match attack.spec.resolve(suite) {
                Ok(()) => attack.problems(suite),
                Err(unknown) => vec![unknown.to_string()],
            };
            for text in found {
                complain(format!("`{}`: {text}", attack.name));
            }
            let path = path.to_owned();
            attacks.push(Located { path, line, attack });
        }
    }
    Ok(())
}

/// One entry of a file, with every combination of its matrix.
fn expand(
    class: &str,
    common: &Map<String, Value>,
    entry: AttackYaml,
) -> Result<Vec<Attack>, String> {
    let AttackYaml {
        name: group,
        why,
        matrix,
        spec,
    } = entry;
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
    let spec = Value::Object(over(common, spec));
    template::combinations(&matrix)?
        .iter()
        .map(|choices| {
            let name = template::label(&group, choices);
            let spec: Spec = serde_json::from_value(template::fill(&spec, choices))
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

#[cfg(test)]
mod tests;
