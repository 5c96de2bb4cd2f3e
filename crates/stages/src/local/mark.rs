//! What tells a local stage from any other folder: a mark in it, and a record of
//! the same in the user's state folder. Each stands in where the other is lost.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::MeshName;
use harness::private;
use harness::trouble::Trouble;

const FILE: &str = "mark.json";

/// A folder that `up` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Tells this stage's processes from all others.
    pub id: String,
    /// What the stage is called.
    pub name: MeshName,
    /// Where it lies.
    pub folder: PathBuf,
}

impl Mark {
    /// Makes the folder of a stage, marked as such; fails where there is one. It
    /// is recorded first: whatever happens in between, it will be known as ours.
    pub fn make(name: &MeshName, folder: &Path) -> Result<Self> {
        let parent = folder.parent().context("the path has no parent")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        let mark = Self {
            id: Uuid::new_v4().simple().to_string(),
            name: name.clone(),
            folder: parent.canonicalize()?.join(name.as_str()),
        };
        let text = serde_json::to_string_pretty(&mark)?;
        private::ensure_folder(&records()?)?;
        private::replace(&mark.record()?, &text)?;
        private::create_folder(&mark.folder)
            .inspect_err(|_| mark.forget())
            .with_context(|| mark.folder.display().to_string())?;
        private::replace(&mark.folder.join(FILE), &text).inspect_err(|_| drop(mark.remove()))?;
        Ok(mark)
    }

    /// The mark of a stage at this place; nothing where no stage and no folder
    /// is. Fails if the folder was not made by `up` under this very name and place.
    pub fn find(name: &MeshName, folder: &Path) -> Result<Option<Self>> {
        let parent = folder.parent().and_then(|it| it.canonicalize().ok());
        let here = match parent {
            Some(parent) => parent.join(name.as_str()),
            None => std::path::absolute(folder)?,
        };
        let inside = read(&here.join(FILE));
        let mut known = inside.into_iter().chain(Self::all()?);
        match known.find(|mark| mark.name == *name && mark.folder == here) {
            None if here.exists() => bail!(Trouble::new(
                format!(
                    "{} is there, and nothing of ours says that it is local stage `{name}`",
                    here.display()
                ),
                "look what it is and move it away, or choose another --name",
            )),
            found => Ok(found),
        }
    }

    /// All that are recorded for this user.
    pub fn all() -> Result<Vec<Self>> {
        let records = records()?;
        let entries = match fs::read_dir(&records) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| records.display().to_string())?,
        };
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths.filter_map(|path| read(&path)).collect())
    }

    /// Removes the folder, if it is still this one, and then what is known of it.
    pub fn remove(&self) -> Result<()> {
        let is_this = |mark: Option<Self>| mark.as_ref() == Some(self);
        if self.folder.exists() && Self::find(&self.name, &self.folder).is_ok_and(is_this) {
            fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        }
        self.forget();
        Ok(())
    }

    fn forget(&self) {
        if let Ok(record) = self.record() {
            let _ = fs::remove_file(record);
        }
    }

    fn record(&self) -> Result<PathBuf> {
        Ok(records()?.join(format!("{}.json", self.id)))
    }
}

fn records() -> Result<PathBuf> {
    Ok(harness::workspace::state_dir()?.join("local"))
}

fn read(path: &Path) -> Option<Mark> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}
