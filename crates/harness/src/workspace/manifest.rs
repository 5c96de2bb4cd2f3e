//! Manifests: the files that `kubectl apply -k` takes, and what is in them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
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

/// The YAML documents of one file.
pub fn documents<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ManifestError> {
    serde_saphyr::from_multiple(&read(path)?).map_err(|e| yaml_error(path, &e))
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
