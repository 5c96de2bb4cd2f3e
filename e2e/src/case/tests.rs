//! The loader's complaints, the selection, and the project's own table.

use std::path::PathBuf;

use super::*;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn grants() -> Grants {
    Grants::load(&project("grants.yaml")).unwrap()
}

/// Loads one file of this text.
fn load(yaml: &str) -> Result<Cases, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("10-some.yaml"), yaml).unwrap();
    Cases::load(dir.path(), &grants()).map_err(|error| {
        error
            .to_string()
            .replace(&format!("{}/", dir.path().display()), "")
    })
}

#[test]
fn the_projects_own_table_loads() {
    let cases = Cases::load(&project("cases"), &grants()).unwrap_or_else(|error| panic!("{error}"));
    assert!(cases.all().len() >= 40, "{} cases", cases.all().len());
}
