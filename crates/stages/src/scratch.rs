//! A folder for what a run needs only while it lasts, such as image archives.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use uuid::Uuid;

use crate::lock::FileLock;
use harness::private;
use harness::workspace;

/// Such a folder. It goes with this value; that of a run which was killed goes
/// with the next [`sweep`](Self::sweep).
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    _lock: FileLock,
}

impl Scratch {
    /// A new one, private to the user.
    pub fn new() -> Result<Self> {
        Self::new_in(&root()?)
    }

    fn new_in(root: &Path) -> Result<Self> {
        private::ensure_folder(root)?;
        loop {
            let folder = root.join(Uuid::new_v4().simple().to_string());
            // A sweep may have taken it between the two steps.
            if let Some(lock) = FileLock::try_take(&folder.with_extension("lock"))? {
                let scratch = Self {
                    folder,
                    _lock: lock,
                };
                private::create_folder(scratch.path())
                    .with_context(|| scratch.path().display().to_string())?;
                return Ok(scratch);
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Removes those whose run is over.
    pub fn sweep() -> Result<()> {
        sweep(&root()?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn root() -> Result<PathBuf> {
    let cache = workspace::cache_dir()?;
    Ok(cache.join("scratch"))
}

fn sweep(root: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(root) else {
        return Ok(());
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let locks = paths.filter(|path| path.extension().is_some_and(|it| it == "lock"));
    for path in locks {
        if let Some(lock) = FileLock::try_take(&path)? {
            // Removed in this order, or a folder might stay without its lock.
            let _ = fs::remove_dir_all(path.with_extension(""));
            drop(lock);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Scratch, sweep};

    #[test]
    fn folder_goes_with_its_value() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::new_in(root.path()).unwrap();
        fs::write(scratch.path().join("archive.tar"), "much").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let in_use = Scratch::new_in(root.path()).unwrap();
        let left = root.path().join("0a");
        fs::create_dir(&left).unwrap();
        fs::write(left.with_extension("lock"), "").unwrap();
        sweep(root.path()).unwrap();
        assert!(!left.exists() && !left.with_extension("lock").exists());
        assert!(in_use.path().exists());
    }
}
