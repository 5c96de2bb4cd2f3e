//! One command at a time makes or removes a mesh of one name, whichever checkout
//! it comes from.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use harness::poll::{Poll, Step};
use harness::private;
use harness::trouble::Trouble;

/// A name that nobody else can take while this value lives, not even if this
/// process is killed in between: the system lets go of the lock with it.
#[derive(Debug)]
pub struct NameLock {
    _lock: FileLock,
}

/// Who has a lock, as its file tells.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    command: String,
    since: Timestamp,
}

impl NameLock {
    /// Takes the name of a mesh, such as (`local stage`, `mesh-oidc`), for a
    /// command, such as `mesh demo`. Fails at once, with the holder, if it is taken.
    pub fn take(kind: &str, name: &str, command: &str) -> Result<Self> {
        let folder = harness::workspace::state_dir()?.join("locks");
        private::ensure_folder(&folder)?;
        let path = folder.join(file_name(kind, name));
        let Some(mut lock) = FileLock::try_take(&path)? else {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            bail!(taken(kind, name, serde_json::from_str(&holder).ok()));
        };
        // On a full disk the lock holds as well, only nobody can read whose it is.
        let _ = lock.describe(&Holder {
            pid: std::process::id(),
            command: command.to_owned(),
            since: Timestamp::now(),
        });
        Ok(Self { _lock: lock })
    }
}

/// How long others have their turn. Signing in takes a moment.
const TURNS: Duration = Duration::from_secs(30);

/// Waits until nobody else on this machine signs people in at this place.
pub async fn turn_to_sign_in(place: &str) -> Result<FileLock> {
    let folder = harness::workspace::state_dir()?.join("locks");
    private::ensure_folder(&folder)?;
    let path = folder.join(file_name("sign-in", place));
    Poll::new("a turn to sign in", TURNS)
        .every(Duration::from_millis(20))
        .until(async || {
            Ok(match FileLock::try_take(&path)? {
                Some(lock) => Step::Done(lock),
                None => Step::NotYet("another run is at it".to_owned()),
            })
        })
        .await
}

fn taken(kind: &str, name: &str, holder: Option<Holder>) -> Trouble {
    let (who, end) = match holder {
        Some(Holder {
            pid,
            command,
            since,
        }) => (
            format!("`{command}` (process {pid}, since {since:.0})"),
            format!("end it (kill {pid})"),
        ),
        None => ("another `mesh`".to_owned(), "end it".to_owned()),
    };
    Trouble::new(
        format!("{kind} `{name}` is in the hands of {who}"),
        format!("wait until that is done, {end}, or choose another --name"),
    )
}

/// Any name as one of a file: a context of a kubeconfig may have a `/` in it.
fn file_name(kind: &str, name: &str) -> String {
    let escaped = |byte: u8| {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02x}")
        }
    };
    let name: String = name.bytes().map(escaped).collect();
    format!("{}-{name}.lock", kind.replace(' ', "-"))
}

/// A locked file, which is there only as long as the lock.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Takes the lock, or nothing if somebody has it.
    pub fn try_take(path: &Path) -> Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        loop {
            let file = options
                .open(path)
                .with_context(|| path.display().to_string())?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| path.display().to_string());
                }
            }
            // Its last holder may have removed it between the two steps.
            let there = fs::metadata(path).map(|it| it.ino()).ok();
            if there == Some(file.metadata()?.ino()) {
                let path = path.to_owned();
                return Ok(Some(Self { file, path }));
            }
        }
    }

    fn describe(&mut self, holder: &Holder) -> Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        Ok(self.file.write_all(&serde_json::to_vec(holder)?)?)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{FileLock, Holder, file_name, taken};

    #[test]
    fn only_one_has_a_lock_and_its_file_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = FileLock::try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(FileLock::try_take(&path).unwrap().is_none());
        drop(first);
        assert!(!path.exists());
        assert!(FileLock::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn race_for_a_lock_has_never_two_winners() {
        let folder = tempfile::tempdir().unwrap();
        let (path, inside) = (folder.path().join("lock"), folder.path().join("inside"));
        let race = || {
            for _ in 0..500 {
                if let Some(_lock) = FileLock::try_take(&path).unwrap() {
                    std::fs::create_dir(&inside).expect("somebody else is inside");
                    std::fs::remove_dir(&inside).unwrap();
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(race);
            }
        });
    }

    #[test]
    fn loser_is_told_who_has_it() {
        let holder = r#"{"pid": 42, "command": "mesh demo", "since": "2026-12-01T03:04:05.6Z"}"#;
        let holder: Holder = serde_json::from_str(holder).unwrap();
        let trouble = taken("local stage", "x", Some(holder));
        assert_eq!(
            trouble.what(),
            "local stage `x` is in the hands of `mesh demo` (process 42, since 2026-12-01T03:04:05Z)"
        );
    }

    #[test]
    fn names_stay_different_and_below_the_folder() {
        let names = ["a/b", "a%2fb", "a.b", "..", "a b", "A"];
        let files: std::collections::BTreeSet<_> = names
            .iter()
            .map(|name| file_name("context", name))
            .collect();
        assert_eq!(files.len(), names.len());
        assert!(files.iter().all(|file| !file.contains('/')), "{files:?}");
    }
}
