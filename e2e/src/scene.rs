//! The resources that `mesh explain` and `mesh translate` are about.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use harness::rules::Rules;
use harness::suite::Suite;
use harness::suite::manifest::kustomization_files;
use harness::trouble::Trouble;
use policy::{KeySets, Manifests, Mesh, Workload};

use crate::arguments::SuiteFolder;

/// The resources that a question is about.
#[derive(Debug, Args)]
pub struct Scene {
    #[command(flatten)]
    suite: SuiteFolder,
    /// Which of the suite's rules [default: the first]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Files or folders of manifests [default: the suite's workloads and rules]
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE",
        conflicts_with = "profile"
    )]
    files: Vec<PathBuf>,
    /// The namespace whose policies apply everywhere [default: the suite's, or
    /// istio-system]
    #[arg(long)]
    root_namespace: Option<String>,
    /// An issuer's key set: without it, no signature of that issuer can be judged
    #[arg(long, value_name = "ISSUER=FILE", value_parser = assignment)]
    jwks: Vec<(String, String)>,
}

impl Scene {
    /// The suite, if there is one: manifests of other origin need none.
    pub fn suite(&self) -> Result<Option<Suite>> {
        if self.files.is_empty() || self.suite.find().is_some() {
            return Ok(Some(self.suite.load()?));
        }
        Ok(None)
    }

    /// Mesh-wide settings.
    pub fn mesh(&self, suite: Option<&Suite>) -> Mesh {
        let mesh = suite.map(|suite| suite.mesh.clone()).unwrap_or_default();
        Mesh {
            root_namespace: self.root_namespace.clone().unwrap_or(mesh.root_namespace),
            ..mesh
        }
    }

    /// The resources.
    pub fn manifests(&self, suite: Option<&Suite>) -> Result<Manifests> {
        if let (true, Some(suite)) = (self.files.is_empty(), suite) {
            let profile = match &self.profile {
                Some(name) => suite.profile(name)?,
                None => suite.usual_profile(),
            };
            return Ok(Rules::read(suite, profile)?.manifests);
        }
        let mut texts = Vec::new();
        for path in &self.files {
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

/// The workload that the user named, by its label `app`, or the one that the
/// suite asks; with its port, as far as that is known.
pub fn workload(
    suite: Option<&Suite>,
    namespace: Option<&String>,
    app: Option<&String>,
) -> Result<(Workload, Option<u16>)> {
    let usual = suite.and_then(|suite| suite.serving(&suite.request.host));
    let of_usual = usual.map(|usual| &usual.namespace);
    match (namespace.or(of_usual), app, usual) {
        (Some(namespace), Some(app), _) => {
            let workloads = suite.into_iter().flat_map(|suite| &suite.workloads);
            let wanted = Workload::app(namespace, app);
            let mut same = workloads
                .filter(|it| it.namespace == *namespace && it.labels.get("app") == Some(app));
            let port = same.next().and_then(|it| it.port);
            Ok((wanted, port))
        }
        (Some(namespace), None, Some(usual)) if *namespace == usual.namespace => {
            Ok((usual.workload(), usual.port))
        }
        _ => bail!(Trouble::new(
            "which workload's sidecar is to decide?",
            "name it: --workload APP --namespace NAMESPACE",
        )),
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
