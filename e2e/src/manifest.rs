//! Manifests: Kubernetes objects from the folders that `kubectl apply -k` takes.

use std::path::{Path, PathBuf};

use kube::core::DynamicObject;
use serde::Deserialize;
use thiserror::Error;

/// A manifest that cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not the YAML it must be. The message has line and column.
    #[error("{path}: {message}", path = path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the place.
        message: String,
    },
}

/// The part of a kustomization that this project uses: a list of files and
/// folders. Everything in it that would change objects is refused, because
/// then `kubectl apply -k` and the harness would apply different things.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kustomization {
    resources: Vec<PathBuf>,
}

/// All objects of a kustomization folder, in the order of its `resources`.
pub fn load_kustomization(dir: &Path) -> Result<Vec<DynamicObject>, ManifestError> {
    let mut objects = Vec::new();
    for file in kustomization_files(dir)? {
        objects.extend(load_file(&file)?);
    }
    Ok(objects)
}

/// All files of a kustomization folder, in the order of its `resources`.
pub fn kustomization_files(dir: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let path = dir.join("kustomization.yaml");
    let kustomization: Kustomization =
        serde_saphyr::from_str(&read(&path)?).map_err(|e| yaml_error(&path, &e))?;
    let mut files = Vec::new();
    for resource in kustomization.resources {
        let resource = dir.join(resource);
        if resource.is_dir() {
            files.extend(kustomization_files(&resource)?);
        } else {
            files.push(resource);
        }
    }
    Ok(files)
}

/// The objects of one file of YAML documents.
pub fn load_file(path: &Path) -> Result<Vec<DynamicObject>, ManifestError> {
    serde_saphyr::from_multiple(&read(path)?).map_err(|e| yaml_error(path, &e))
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

fn read(path: &Path) -> Result<String, ManifestError> {
    std::fs::read_to_string(path).map_err(|source| ManifestError::Read {
        path: path.to_owned(),
        source,
    })
}

fn yaml_error(path: &Path, error: &serde_saphyr::Error) -> ManifestError {
    ManifestError::Yaml {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{load_file, load_kustomization};
    use crate::workspace;

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
