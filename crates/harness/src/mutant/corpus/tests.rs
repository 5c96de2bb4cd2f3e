use std::fs;

use super::*;
use crate::suite::tests::project;

const TARGET: &str = "target: {kind: AuthorizationPolicy, name: backend-people}\n";

/// Reads one file of mutants beside the project's own suite.
fn read(text: &str) -> Result<Vec<Mutant>, String> {
    let suite = project();
    let rules = Rules::read(suite, suite.usual_profile()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.yaml");
    fs::write(&path, text).unwrap();
    let (mut mutants, mut problems) = (Vec::new(), Vec::new());
    let read = read_operator(&path, suite, &rules, &mut mutants, &mut problems)
        .and_then(|()| LoadError::none_of(problems));
    let folder = format!("{}/", dir.path().display());
    match read {
        Ok(()) => Ok(mutants.into_iter().map(|it| it.mutant).collect()),
        Err(error) => Err(error.to_string().replace(&folder, "")),
    }
}

fn complaint(mutant: &str) -> String {
    read(&format!("{TARGET}mutants:\n  - {mutant}\n")).unwrap_err()
}

#[test]
fn a_patch_edits_the_rules_and_what_is_judged_by_them() {
    let mutants = read(&format!(
        "{TARGET}mutants:\n  - {{name: a, patch: [{{op: remove, path: /spec/rules/0/when}}]}}\n"
    ))
    .unwrap();
    let [mutant] = mutants.as_slice() else {
        panic!("{mutants:?}")
    };
    assert_eq!(mutant.operator, "some");
    let policies = &mutant.rules.manifests.authorization_policies;
    let people = policies.iter().find(|it| it.meta.name == "backend-people");
    assert!(people.unwrap().spec.rules[0].when.is_empty());
}

#[test]
fn a_document_comes_beside_the_others_and_a_target_can_go() {
    let document = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
        metadata: {name: open, namespace: demo}, spec: {rules: [{}]}}";
    let mutants = read(&format!(
        "{TARGET}mutants:\n  - {{name: a, document: {document}}}\n  - {{name: b, without: true}}\n"
    ))
    .unwrap();
    let count = |mutant: &Mutant| mutant.rules.manifests.authorization_policies.len();
    assert_eq!(count(&mutants[0]), count(&mutants[1]) + 2);
}

#[test]
fn an_edit_that_does_not_apply_is_refused_with_its_line() {
    let remove = |path: &str| format!("{{name: a, patch: [{{op: remove, path: {path}}}]}}");
    let text = complaint(&remove("/spec/rules/7"));
    assert!(text.starts_with("some.yaml:3: `a`: "), "{text}");
    let text = complaint("{name: a, patch: []}");
    assert_eq!(text, "some.yaml:3: `a`: changes nothing");
    let text = complaint("{name: a}");
    assert!(text.contains("`document`"), "{text}");
    let text = complaint("{name: a, without: true, target: {kind: X, name: y}}");
    assert_eq!(text, "some.yaml:3: `a`: the rules have no X `y`");
    let text = complaint("{name: a, patsch: []}");
    assert!(text.starts_with("some.yaml:3: "), "{text}");
}

#[test]
fn an_edit_that_the_api_server_would_refuse_is_refused() {
    let text = complaint(
        "{name: a, patch: [{op: replace, path: /spec/rules/0/when/0/key, value: nonsense}]}",
    );
    assert!(text.contains("nonsense"), "{text}");
}

#[test]
fn the_projects_own_mutants_are_well_formed_and_many() {
    let suite = project();
    let rules = Rules::read(suite, suite.usual_profile()).unwrap();
    let all = load(suite, &rules, &[], false).unwrap();
    assert!(all.len() >= 100, "{} mutants", all.len());
    let short = load(suite, &rules, &[], true).unwrap();
    assert!(short.len() < 12, "{} mutants", short.len());
    let error = load(suite, &rules, &["nosuch".to_owned()], false).unwrap_err();
    assert!(
        error.to_string().contains("no mutant matches `nosuch`"),
        "{error}"
    );
}
