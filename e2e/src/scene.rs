//! The resources that `mesh explain` and `mesh translate` are about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use policy::{KeySets, Manifests, Mesh};

use harness::workspace;
use harness::workspace::manifest::kustomization_files;

/// The resources that a question is about.
#[derive(Debug, Args)]
pub struct Scene {
    /// Files or folders of manifests [default: the project's apps and policy]
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace whose policies apply everywhere
    #[arg(long, default_value = "istio-system")]
    root_namespace: String,
    /// An issuer's key set: without it, no signature of that issuer can be judged
    #[arg(long, value_name = "ISSUER=FILE", value_parser = assignment)]
    jwks: Vec<(String, String)>,
}

impl Scene {
    /// Mesh-wide settings.
    pub fn mesh(&self) -> Mesh {
        Mesh {
            root_namespace: self.root_namespace.clone(),
            ..Mesh::default()
        }
    }

    /// The resources in the files.
    pub fn manifests(&self) -> Result<Manifests> {
        let defaults = [
            workspace::path("manifests/apps"),
            workspace::path("manifests/policy"),
        ];
        let given = if self.files.is_empty() {
            &defaults[..]
        } else {
            &self.files
        };
        let mut texts = Vec::new();
        for path in given {
            read_yaml_files(path, &mut texts)?;
        }
        let texts = texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(Manifests::parse_all(texts)?)
    }

    /// The key sets that were given, by issuer.
    pub fn keys(&self) -> Result<KeySets> {
        let read = |(issuer, file): &(String, String)| Ok((issuer.clone(), read(Path::new(file))?));
        self.jwks.iter().map(read).collect()
    }
}

/// Reads a YAML file, what a kustomization lists, or every one below a folder.
fn read_yaml_files(path: &Path, texts: &mut Vec<(String, String)>) -> Result<()> {
    if path.join("kustomization.yaml").exists() {
        for file in kustomization_files(path)? {
            texts.push((file.display().to_string(), read(&file)?));
        }
        return Ok(());
    }
    if !path.is_dir() {
        texts.push((path.display().to_string(), read(path)?));
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| path.display().to_string())?;
    entries.sort();
    for entry in entries {
        let is_yaml = entry
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml");
        if entry.is_dir() || is_yaml {
            read_yaml_files(&entry, texts)?;
        }
    }
    Ok(())
}

/// A file's text.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// `NAME=VALUE` on the command line.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` has no `=`"))
}
