//! Reading a suite's YAML, and saying what is wrong with it and where.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why a suite could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is wrong with the data, all of it.
    #[error("{0}")]
    Invalid(Problems),
}

/// Everything that is wrong with a suite; one line each, with file and line.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong, and where it is written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: PathBuf,
    /// 0 if the whole file is meant.
    line: u64,
    text: String,
}

impl Problem {
    pub(crate) fn new(path: &Path, line: u64, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl LoadError {
    /// Fails with all of the problems, if there are any.
    pub(crate) fn none_of(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        Err(Self::Invalid(Problems(problems)))
    }

    /// Adds the problems to others, so that all can be told at once; an error
    /// of another kind is handed back.
    pub(crate) fn add_to(self, problems: &mut Vec<Problem>) -> Result<(), Self> {
        match self {
            Self::Invalid(found) => {
                problems.extend(found.0);
                Ok(())
            }
            unreadable @ Self::Read { .. } => Err(unreadable),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { path, line, text }) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match line {
                0 => write!(f, "{}: {text}", path.display())?,
                line => write!(f, "{}:{line}: {text}", path.display())?,
            }
        }
        Ok(())
    }
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file of one YAML document.
pub(crate) fn read_yaml<T: DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    serde_saphyr::from_str(&read(path)?).map_err(|error| invalid(path, &error))
}

/// Reads a file of several YAML documents.
pub fn read_documents<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, LoadError> {
    serde_saphyr::from_multiple(&read(path)?).map_err(|error| invalid(path, &error))
}

fn invalid(path: &Path, error: &serde_saphyr::Error) -> LoadError {
    let (line, text) = policy::yaml_problem(error);
    LoadError::Invalid(Problems(vec![Problem::new(path, line, text)]))
}

/// The `*.yaml` files of a folder, in the order of their names. What else looks
/// like data is an error: nobody would miss it.
pub fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let unreadable = |source| LoadError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(unreadable)?;
    paths.sort();
    let overlooked = paths.iter().filter_map(|path| overlooked(path));
    LoadError::none_of(overlooked.collect())?;
    paths.retain(|path| extension(path) == "yaml");
    Ok(paths)
}

fn overlooked(path: &Path) -> Option<Problem> {
    let told = match extension(path) {
        "yaml" if path.is_file() => return None,
        _ if path.is_dir() => "a folder in here is not read: move its files up, or it away",
        other if ["yaml", "yml", "json"].contains(&&*other.to_ascii_lowercase()) => {
            "not read: files here end in `.yaml`"
        }
        _ => return None,
    };
    Some(Problem::new(path, 0, told))
}

fn extension(path: &Path) -> &str {
    let extension = path.extension().and_then(|it| it.to_str());
    extension.unwrap_or_default()
}
