//! Ctrl-C and SIGTERM.

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C or SIGTERM.
#[derive(Debug, thiserror::Error)]
#[error("interrupted\n  fix: run it again")]
pub struct Interrupted;

/// Runs until done, or until Ctrl-C or SIGTERM: then the work is dropped,
/// with every program it started, and the caller can clear up.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!(Interrupted),
        _ = terminate.recv() => bail!(Interrupted),
    }
}
