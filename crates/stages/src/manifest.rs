//! Manifests as Kubernetes objects, from the folders that `kubectl apply -k` takes.

use std::path::Path;

use anyhow::{Context, Result};
use harness::suite::manifest;
use kube::core::DynamicObject;
use serde_json::Value;

/// All objects of a kustomization folder, in the order of its `resources`.
pub fn load_kustomization(dir: &Path) -> Result<Vec<DynamicObject>> {
    dynamic(manifest::objects(dir)?)
}

/// Objects as they are sent to an API server.
pub fn dynamic(objects: impl IntoIterator<Item = Value>) -> Result<Vec<DynamicObject>> {
    let typed = objects.into_iter().map(|object| {
        let (namespace, name) = manifest::namespace_and_name(&object);
        let what = format!("{} {namespace}/{name}", manifest::kind(&object));
        serde_json::from_value(object).with_context(|| format!("{what} is no Kubernetes object"))
    });
    typed.collect()
}

/// Objects as a stream of YAML documents, for `kubectl apply -f -`.
///
/// # Panics
/// Never: objects have string keys only.
pub fn to_yaml(objects: &[DynamicObject]) -> String {
    objects
        .iter()
        .map(|object| serde_saphyr::to_string(object).expect("an object must be serializable"))
        .collect::<Vec<_>>()
        .join("---\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use harness::workspace;

    use super::load_kustomization;

    #[test]
    fn every_kustomization_of_the_project_loads() {
        for folder in ["keycloak", "apps", "callers", "policy", "policy/tls"] {
            let objects = load_kustomization(&workspace::path("manifests").join(folder)).unwrap();
            assert!(!objects.is_empty(), "{folder} must hold objects");
            for object in objects {
                assert!(
                    object.types.is_some(),
                    "{folder}: every object must have a kind"
                );
            }
        }
    }

    #[test]
    fn every_manifest_begins_with_a_comment_that_says_what_it_is_for() {
        let mut folders = vec![workspace::path("manifests"), workspace::path("suites")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = fs::read_to_string(&path).unwrap();
                    assert!(text.starts_with("# "), "{} has no comment", path.display());
                }
            }
        }
    }
}
