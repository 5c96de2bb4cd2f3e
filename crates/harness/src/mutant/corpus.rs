//! Reading mutants, and refusing those that could not be noticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use json_patch::Patch;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::Mutant;
use crate::case::matches;
use crate::rules::{Rules, is_same};
use crate::suite::Suite;
use crate::suite::yaml::{LoadError, Problem, read_yaml, yaml_files};

/// Mutants of one operator.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorYaml {
    /// What they edit, unless one of them says otherwise.
    target: Option<Target>,
    mutants: Vec<Spanned<MutantYaml>>,
}

/// An object of the rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MutantYaml {
    /// A sentence, unique among all mutants.
    name: String,
    target: Option<Target>,
    /// What is done to the target (RFC 6902).
    patch: Option<Patch>,
    /// An object that comes beside the others.
    document: Option<Value>,
    /// Takes the target away.
    #[serde(default)]
    without: bool,
    /// Why no request could tell it from the original.
    equivalent: Option<String>,
}

/// The mutants of a suite's folder `mutants` that any filter means by name or
/// operator, all without a filter; with `short` the first of each operator. All
/// problems are reported, not the first.
pub fn load(
    suite: &Suite,
    rules: &Rules,
    filters: &[String],
    short: bool,
) -> Result<Vec<Mutant>, LoadError> {
    let folder = suite.path(Path::new("mutants"));
    let (mut problems, mut mutants) = (Vec::new(), Vec::new());
    for path in yaml_files(&folder)? {
        if let Err(error) = read_operator(&path, suite, rules, &mut mutants, &mut problems) {
            error.add_to(&mut problems)?;
        }
    }
    let mut names = BTreeSet::new();
    for Located { path, line, mutant } in &mutants {
        if !names.insert(&mutant.name) {
            let text = format!("`{}` is not the only one of this name", mutant.name);
            problems.push(Problem::new(path, *line, text));
        }
    }
    for filter in filters {
        if !mutants.iter().any(|it| is_meant(&it.mutant, filter)) {
            let text = format!("no mutant matches `{filter}`");
            problems.push(Problem::new(&folder, 0, text));
        }
    }
    if mutants.is_empty() && problems.is_empty() {
        problems.push(Problem::new(&folder, 0, "there are no mutants here"));
    }
    LoadError::none_of(problems)?;
    let mut operators = BTreeSet::new();
    let meant = |mutant: &Mutant| {
        filters.is_empty() || filters.iter().any(|filter| is_meant(mutant, filter))
    };
    Ok(mutants
        .into_iter()
        .map(|located| located.mutant)
        .filter(|mutant| meant(mutant))
        .filter(|mutant| !short || operators.insert(mutant.operator.clone()))
        .collect())
}

fn is_meant(mutant: &Mutant, filter: &str) -> bool {
    matches(filter, &mutant.name) || matches(filter, &mutant.operator)
}

/// A mutant and where it is written.
struct Located {
    path: PathBuf,
    line: u64,
    mutant: Mutant,
}

fn read_operator(
    path: &Path,
    suite: &Suite,
    rules: &Rules,
    mutants: &mut Vec<Located>,
    problems: &mut Vec<Problem>,
) -> Result<(), LoadError> {
    let file: OperatorYaml = read_yaml(path)?;
    let operator = path.file_stem().unwrap_or_default().to_string_lossy();
    for Spanned {
        value, referenced, ..
    } in file.mutants
    {
        let line = referenced.line();
        let target = value.target.as_ref().or(file.target.as_ref());
        match edited(suite, rules, target, &value) {
            Ok(rules) => mutants.push(Located {
                path: path.to_owned(),
                line,
                mutant: Mutant {
                    name: value.name,
                    operator: operator.clone().into_owned(),
                    equivalent: value.equivalent,
                    rules,
                },
            }),
            Err(text) => {
                let text = format!("`{}`: {text}", value.name);
                problems.push(Problem::new(path, line, text));
            }
        }
    }
    Ok(())
}

/// The rules with a mutant's edit, which has to change something.
fn edited(
    suite: &Suite,
    rules: &Rules,
    target: Option<&Target>,
    mutant: &MutantYaml,
) -> Result<Rules, String> {
    let mut objects = rules.objects.clone();
    match (&mutant.patch, &mutant.document, mutant.without) {
        (Some(patch), None, false) => {
            let place = find(&objects, target)?;
            json_patch::patch(&mut objects[place], patch).map_err(|error| error.to_string())?;
        }
        (None, Some(document), false) => {
            if objects.iter().any(|object| is_same(object, document)) {
                return Err("the rules have such a document already; patch it".to_owned());
            }
            objects.push(document.clone());
        }
        (None, None, true) => {
            objects.remove(find(&objects, target)?);
        }
        _ => return Err("one of `patch`, `document` and `without: true` is needed".to_owned()),
    }
    if objects == rules.objects {
        return Err("changes nothing".to_owned());
    }
    rules
        .with_objects(suite, objects)
        .map_err(|error| format!("{error:#}"))
}

fn find(objects: &[Value], target: Option<&Target>) -> Result<usize, String> {
    let Some(Target { kind, name }) = target else {
        return Err("names no `target`".to_owned());
    };
    let is_meant = |object: &Value| {
        object["kind"] == kind.as_str() && object["metadata"]["name"] == name.as_str()
    };
    let mut found = (0..objects.len()).filter(|place| is_meant(&objects[*place]));
    match (found.next(), found.next()) {
        (Some(place), None) => Ok(place),
        (None, _) => Err(format!("the rules have no {kind} `{name}`")),
        _ => Err(format!("the rules have more than one {kind} `{name}`")),
    }
}

#[cfg(test)]
mod tests;
