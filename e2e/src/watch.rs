//! Rules that take effect as they are edited.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Editors write a file in several steps; this long after the last it is whole.
const QUIET: Duration = Duration::from_millis(100);

/// Calls `changed` each time that something below `folder` was changed. Ends
/// only with an error of the watch itself.
pub async fn each_change(folder: &Path, mut changed: impl AsyncFnMut()) -> Result<()> {
    let (events, mut seen) = mpsc::unbounded_channel();
    let watching = || format!("cannot watch {}", folder.display());
    let mut watcher = notify::recommended_watcher(move |event| {
        // Nobody listens once the watch is over.
        let _ = events.send(event);
    })
    .with_context(watching)?;
    watcher
        .watch(folder, RecursiveMode::Recursive)
        .with_context(watching)?;
    while let Some(event) = seen.recv().await {
        if matches!(event.with_context(watching)?.kind, EventKind::Access(_)) {
            continue;
        }
        while let Ok(Some(_)) = timeout(QUIET, seen.recv()).await {}
        changed().await;
        // What the call itself has read is no change.
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::each_change;

    #[tokio::test]
    async fn an_edit_is_seen_and_reading_is_not() {
        const SOON: Duration = Duration::from_secs(20);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        fs::write(&file, "old").unwrap();
        let (calls, mut called) = mpsc::unbounded_channel();
        let watched = folder.path().to_owned();
        let watch = each_change(&watched, async || {
            let _ = calls.send(fs::read_to_string(&file).unwrap());
        });
        // The watch is in place at some time: edit until it sees it.
        let edited = folder.path().join("policy.yaml");
        let seen = timeout(SOON, async {
            loop {
                fs::write(&edited, "new").unwrap();
                if let Ok(Some(text)) = timeout(Duration::from_secs(1), called.recv()).await {
                    break text;
                }
            }
        });
        tokio::select! {
            seen = seen => assert_eq!(seen.unwrap(), "new"),
            ended = watch => panic!("the watch ended: {ended:?}"),
        }
    }
}
