//! Files and folders that only their owner can read, from the moment they are
//! there and whatever the umask.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Opens such a file to be written; what was in it is gone.
pub fn create(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new();
    file.write(true).create(true).truncate(true).mode(0o600);
    file.open(path)
}

/// Writes such a file; what was in it is gone.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    create(path)
        .and_then(|mut file| file.write_all(content.as_ref()))
        .with_context(|| path.display().to_string())
}

/// Writes such a file in one step: a reader finds what was there or what is new,
/// also if the writer is ended in between.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = Path::new(&next);
    let replaced = write(next, content)
        .and_then(|()| fs::rename(next, path).with_context(|| path.display().to_string()));
    if replaced.is_err() {
        let _ = fs::remove_file(next);
    }
    replaced
}

/// Makes such a folder; fails where there is one.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes such a folder, with those that it is to lie in; one that is there is
/// made private.
pub fn ensure_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| restrict(path, 0o700))
        .with_context(|| path.display().to_string())
}

/// Takes every right from a file or folder that is not in `mode`.
pub fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    let had = fs::metadata(path)?.permissions().mode();
    if had & 0o777 & !mode == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(had & mode))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{ensure_folder, replace};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_replaced_is_private_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        fs::write(&file, "old").unwrap();
        replace(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folder_that_others_could_read_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("cache");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        ensure_folder(&open).unwrap();
        assert_eq!(mode(&open), 0o700);
        let new = open.join("a/b");
        ensure_folder(&new).unwrap();
        assert_eq!((mode(&new), mode(&open.join("a"))), (0o700, 0o700));
    }
}
