//! What a newcomer compiles.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every crate with its features, as cargo resolves them for these packages.
fn features(packages: &[&str]) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{f}"])
        .args(packages)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let crates = text.lines().filter_map(|line| line.split_once('\t'));
    crates
        .map(|(name, features)| (name.to_owned(), features.to_owned()))
        .collect()
}

#[test]
fn mesh_and_the_services_compile_what_they_share_once() {
    let mesh = features(&["--package", "e2e"]);
    let all = features(&["--workspace"]);
    assert!(mesh.len() > 100, "{} crates", mesh.len());
    let twice: BTreeSet<_> = mesh
        .iter()
        .filter(|(name, features)| all.get(*name) != Some(features))
        .collect();
    assert!(twice.is_empty(), "{twice:#?}");
}
