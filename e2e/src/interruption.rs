//! Signals that end a program at a terminal.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::process;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use futures::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The run was ended by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted\n  fix: run it again")]
pub struct Interrupted;

/// A defect of `mesh` itself.
#[derive(Debug, thiserror::Error)]
#[error("`mesh` broke off where it should not; the lines above say where")]
pub struct Panicked;

/// Runs until done, or until Ctrl-C, Ctrl-\\, SIGTERM or the end of the terminal:
/// then the work is dropped, with every program it started, and the caller can
/// clear up, as it can after a panic. From the first call on these signals have no
/// other effect, except that a second one ends the process at once.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupted = interrupted()?.clone();
    tokio::select! {
        biased;
        _ = interrupted.wait_for(|interrupted| *interrupted) => bail!(Interrupted),
        done = AssertUnwindSafe(work).catch_unwind() => done.unwrap_or_else(|_| bail!(Panicked)),
    }
}

/// Whether there was such a signal. It is listened for by a task of its own, so
/// that none is lost between two calls.
fn interrupted() -> Result<&'static watch::Receiver<bool>> {
    static INTERRUPTED: OnceLock<watch::Receiver<bool>> = OnceLock::new();
    if let Some(interrupted) = INTERRUPTED.get() {
        return Ok(interrupted);
    }
    let mut signals = Signals::listen()?;
    Ok(INTERRUPTED.get_or_init(|| {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            sender.send_replace(true);
            let code = 128 + signals.next().await;
            process::exit(code);
        });
        receiver
    }))
}

struct Signals {
    hang_up: Option<Signal>,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        // What `nohup` started is to outlive its terminal.
        let hang_up = (!hang_up_is_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            hang_up: hang_up.transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The number of the next.
    async fn next(&mut self) -> i32 {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        let kind = tokio::select! {
            _ = hang_up => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        kind.as_raw_value()
    }
}

/// By what Linux tells; elsewhere nothing is known of it.
fn hang_up_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, SignalKind::hangup())
}

fn ignores(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal.as_raw_value() - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use tokio::signal::unix::SignalKind;

    use super::{Panicked, ignores, interruptible};

    #[tokio::test]
    async fn panic_is_an_error_after_which_one_can_clear_up() {
        let outcome = interruptible::<()>(async { panic!("a defect") }).await;
        assert!(outcome.unwrap_err().is::<Panicked>());
    }

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tmesh\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(ignores(status, SignalKind::hangup()));
        assert!(!ignores(status, SignalKind::interrupt()));
        assert!(!ignores("Name:\tmesh\n", SignalKind::hangup()));
    }
}
