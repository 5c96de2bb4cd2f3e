//! Manifests as Kubernetes objects, from the folders that `kubectl apply -k` takes.

use std::path::Path;

use harness::workspace::manifest::{ManifestError, documents, kustomization_files};
use kube::core::DynamicObject;

/// All objects of a kustomization folder, in the order of its `resources`.
pub fn load_kustomization(dir: &Path) -> Result<Vec<DynamicObject>, ManifestError> {
    let mut objects = Vec::new();
    for file in kustomization_files(dir)? {
        objects.extend(load_file(&file)?);
    }
    Ok(objects)
}

/// The objects of one file of YAML documents.
pub fn load_file(path: &Path) -> Result<Vec<DynamicObject>, ManifestError> {
    documents(path)
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

    use super::{load_file, load_kustomization};
    use harness::workspace;

    #[test]
    fn every_kustomization_of_the_project_loads() {
        for folder in ["keycloak", "apps", "callers", "policy", "policy/stock"] {
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
        let mut folders = vec![workspace::path("manifests")];
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

    #[test]
    fn a_broken_manifest_is_reported_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.yaml");
        fs::write(&path, "apiVersion: v1\nkind: [\n").unwrap();
        let error = load_file(&path).unwrap_err().to_string();
        assert!(
            error.contains("broken.yaml") && error.contains("line"),
            "{error}"
        );
    }

    #[test]
    fn a_kustomization_that_would_change_objects_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let text = "resources: []\nnamePrefix: x-\n";
        fs::write(dir.path().join("kustomization.yaml"), text).unwrap();
        let error = load_kustomization(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("namePrefix") && error.contains("line 2"),
            "{error}"
        );
    }
}
