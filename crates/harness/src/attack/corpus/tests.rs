use std::fs;

use super::*;
use crate::workspace;

fn suite() -> Suite {
    Suite::load(&workspace::path("e2e")).unwrap()
}

fn load(files: &[(&str, &str)]) -> Result<Corpus, LoadError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    Corpus::load(dir.path(), &suite())
}

const CONTROL: (&str, &str) = (
    "00.yaml",
    "class: controls\nattacks:\n  - {name: ok, expect: {by_design: {because: it must}}}\n",
);

fn problem(attack: &str) -> String {
    let file = format!("class: c\nattacks:\n  - {attack}\n");
    load(&[CONTROL, ("10.yaml", &file)])
        .unwrap_err()
        .to_string()
}

// === The project's own ===

#[test]
fn the_corpus_is_well_formed_large_and_of_every_class() {
    let corpus = Corpus::load(&workspace::path("e2e/attacks"), &suite()).unwrap();
    let classes = corpus.classes();
    let attacks: usize = classes.values().sum();
    assert!(attacks >= 400, "{attacks} attacks");
    for class in [
        "jwt form",
        "jwt algorithm",
        "jwt key",
        "json",
        "claims",
        "several tokens",
        "header spoofing",
        "paths",
        "smuggling",
        "http2",
        "methods",
        "identities",
        "frontend",
    ] {
        assert!(
            classes.get(class).is_some_and(|count| *count >= 20),
            "{class}: {classes:?}"
        );
    }
    assert_eq!(classes.len(), 13, "{classes:?}");
}

#[test]
fn the_short_form_has_every_class_and_every_control() {
    let corpus = Corpus::load(&workspace::path("e2e/attacks"), &suite()).unwrap();
    let short = corpus.select(&[], true).unwrap();
    let classes: BTreeSet<_> = short.iter().map(|attack| &attack.class).collect();
    assert_eq!(classes.len(), corpus.classes().len() + 1);
    assert!(short.len() < corpus.all().len() / 4, "{}", short.len());
    let controls =
        |attacks: &[&Attack]| attacks.iter().filter(|attack| attack.is_control()).count();
    let all: Vec<_> = corpus.all().iter().collect();
    assert_eq!(controls(&short), controls(&all));
}

// === Expansion ===

#[test]
fn an_attack_that_names_no_path_takes_the_suites() {
    let corpus = load(&[CONTROL]).unwrap();
    assert_eq!(corpus.all()[0].spec.to.path, suite().request.path);
}

#[test]
fn a_matrix_becomes_attacks_and_the_top_of_the_file_holds_for_all() {
    let file = "class: c\nfrom: frontend\nrequest: {path: /x, headers: ['a: b']}\n\
        attacks:\n  - name: '{m} of {who}'\n    for: {m: [GET, PUT], who: {them: {granted: user}}}\n    \
        token: '{who}'\n    request: {method: '{m}'}\n    expect: {refused: [403]}\n";
    let corpus = load(&[CONTROL, ("10.yaml", file)]).unwrap();
    let names: Vec<_> = corpus.all()[1..]
        .iter()
        .map(|attack| attack.name.as_str())
        .collect();
    assert_eq!(names, ["GET of them", "PUT of them"]);
    let put = &corpus.all()[2];
    assert_eq!(put.group, "{m} of {who}");
    assert_eq!(put.spec.request.method, "PUT");
    assert_eq!(put.spec.request.path.as_deref(), Some("/x"));
    assert_eq!(put.spec.request.headers, ["a: b"]);
    assert_eq!(put.spec.from.to_string(), "frontend");
    assert_eq!(put.spec.token.grant(), ["user"]);
}

#[test]
fn a_filter_brings_the_controls_along() {
    let file = "class: c\nattacks:\n  - {name: one, expect: {refused: [401]}}\n  - {name: two, expect: {refused: [401]}}\n";
    let corpus = load(&[CONTROL, ("10.yaml", file)]).unwrap();
    let names = |filter: &str| -> Vec<String> {
        let chosen = corpus.select(&[filter.to_owned()], false).unwrap();
        chosen.iter().map(|attack| attack.name.clone()).collect()
    };
    assert_eq!(names("tw"), ["ok", "two"]);
    assert_eq!(names("c"), ["ok", "one", "two"], "a class");
    let filters = ["tw".to_owned(), "nothing like it".to_owned()];
    let error = corpus.select(&filters, false).unwrap_err().to_string();
    assert!(
        error.starts_with("no attack matches `nothing like it`;"),
        "{error}"
    );
}

// === What could not fail, or means nothing ===

#[test]
fn every_mistake_is_told_with_file_and_line() {
    for (attack, told) in [
        ("{name: a, expect: {refused: []}}", "needs the statuses"),
        (
            "{name: a, expect: {by_design: {because: ' '}}}",
            "needs its reason",
        ),
        ("{name: a, expect: {by_design: {}}}", "because"),
        ("{name: a}", "expect"),
        ("{expect: {refused: [401]}}", "missing field `name`"),
        (
            "{name: a, token: {granted: nobody}, expect: {refused: [401]}}",
            "no grant `nobody`",
        ),
        (
            "{name: a, token: {granted: user}, request: {authorization: []}, expect: {refused: [401]}}",
            "belong together",
        ),
        (
            "{name: a, request: {authorization: 'Bearer {token}'}, expect: {refused: [401]}}",
            "belong together",
        ),
        (
            "{name: a, request: {request_id: ''}, expect: {refused: [401]}}",
            "`{id}` is nowhere",
        ),
        (
            "{name: a, request: {lines: ['GET / HTTP/1.1']}, expect: {refused: [401]}}",
            "`{id}` is nowhere",
        ),
        ("{name: a, pathh: /, expect: {refused: [401]}}", "pathh"),
        (
            "{name: a, for: {v: [1, 2]}, expect: {refused: [401]}}",
            "does not tell the values of `v` apart",
        ),
        (
            "{name: 'a {token}', for: {token: [1]}, expect: {refused: [401]}}",
            "call it otherwise",
        ),
        (
            "{name: 'a {v}', for: {v: []}, expect: {refused: [401]}}",
            "is empty",
        ),
        (
            "{name: ok, expect: {refused: [401]}}",
            "not the only one of this name",
        ),
        (
            "{name: 'a {v}', for: {v: [1, 1]}, expect: {refused: [401]}}",
            "not the only one of this name",
        ),
        (
            "{name: a, token: {jws: {like: user, sign: x}}, expect: {refused: [401]}}",
            "sign",
        ),
    ] {
        let problem = problem(attack);
        assert!(problem.contains(told), "{attack}: {problem}");
        assert!(problem.contains("10.yaml:3: "), "{attack}: {problem}");
    }
}

#[test]
fn a_corpus_without_controls_is_refused() {
    let file = "class: c\nattacks:\n  - {name: a, expect: {refused: [401]}}\n";
    let error = load(&[("10.yaml", file)]).unwrap_err().to_string();
    assert!(error.contains("no attacks of class `controls`"), "{error}");
    let refused = CONTROL
        .1
        .replace("by_design: {because: it must}", "refused: [401]");
    let error = load(&[("00.yaml", &refused)]).unwrap_err().to_string();
    assert!(error.contains("a control has to succeed"), "{error}");
}
