//! The schemas that are kept for editors, the page about the files, and our own
//! files held against both.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, Schemas};
use strum::VariantArray as _;

use super::*;
use crate::workspace;

fn kept(file: File) -> PathBuf {
    workspace::path(format!("docs/schema/{file}.json"))
}

/// What is wrong with a YAML text by the schema of such a file.
fn wrong(file: File, text: &str) -> Option<String> {
    let instance: Value = serde_saphyr::from_str(text).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource("schema.json", file.schema()).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    let found = schemas.validate(&instance, schema).err()?;
    Some(format!("{found:#}"))
}

/// Every file of a kind in the suites of this project.
fn ours(file: File) -> Vec<PathBuf> {
    let yaml_files = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let suites = ["e2e", "suites/two-backends"].map(workspace::path);
    let files = suites.iter().flat_map(|suite| match file {
        File::Suite => vec![suite.join("suite.yaml")],
        File::Cases => yaml_files(suite.join("cases")),
        File::Attacks => yaml_files(suite.join("attacks")),
    });
    files.collect()
}

/// The names of members that a schema has anywhere.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                found.extend(properties.keys().cloned());
            }
            members.values().for_each(|value| keys(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn kept_schemas_are_those_of_the_types() {
    for file in File::VARIANTS {
        let text = fs::read_to_string(kept(*file)).unwrap_or_default();
        let schema: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(
            schema,
            file.schema(),
            "`just schema` writes docs/schema/{file}.json"
        );
    }
}

#[test]
fn own_files_are_valid_and_name_their_schema() {
    for file in File::VARIANTS {
        let paths = ours(*file);
        assert!(!paths.is_empty(), "{file}");
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(wrong(*file, &text), None, "{}", path.display());
            let told = text
                .lines()
                .find_map(|line| line.strip_prefix("# yaml-language-server: $schema="));
            let told = path.parent().unwrap().join(told.unwrap_or("none"));
            assert_eq!(
                told.canonicalize().ok(),
                kept(*file).canonicalize().ok(),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn mistakes_are_told_by_the_schema_too() {
    for (file, yaml) in [
        (
            File::Cases,
            "{family: f, cases: [{name: a, token: none, expectation: 1}]}",
        ),
        (
            File::Cases,
            "{family: f, cases: [{name: a, token: nothing}]}",
        ),
        (
            File::Cases,
            "{family: f, cases: [{name: a, token: none, expect: {status: 200}}]}",
        ),
        (
            File::Attacks,
            "{class: c, attacks: [{expect: {refused: [401]}}]}",
        ),
        (File::Attacks, "{class: c, attacks: [{name: a, pathh: /}]}"),
        (File::Attacks, "{class: c, pathh: /, attacks: [{name: a}]}"),
        (
            File::Attacks,
            "{class: c, attacks: [{name: a, counted: perhaps}]}",
        ),
        (File::Suite, "{}"),
    ] {
        assert!(wrong(file, yaml).is_some(), "{yaml}");
    }
    let templated =
        "{class: c, attacks: [{name: '{v}', for: {v: [1]}, counted: '{v}', expect: '{v.x}'}]}";
    assert_eq!(wrong(File::Attacks, templated), None);
}

/// The keys that stand in the first cells of the page's tables.
fn explained(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once("` |")?.0.to_owned()))
        .collect()
}

#[test]
fn page_explains_every_key_and_no_other() {
    let mut all = BTreeSet::new();
    for file in File::VARIANTS {
        keys(&file.schema(), &mut all);
    }
    assert_eq!(explained(&workspace::path("docs/cases.md")), all);
}
