//! What a cache has done so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a [`TokenCache`](crate::TokenCache) has done since it was made. Each
/// number only grows; a service exposes them as Prometheus counters.
///
/// Fresh reads are not counted: that would be the one write on their path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Attempts to obtain a token.
    pub fetches: u64,
    /// Attempts that the endpoint refused.
    pub rejected: u64,
    /// Attempts that brought no usable answer.
    pub unavailable: u64,
    /// Calls that got a token from its refresh window.
    pub served_stale: u64,
    /// Calls that had to wait for an attempt.
    pub waited: u64,
    /// Calls that got a failure at once, as it was not yet time to try again.
    pub refused_early: u64,
    /// Tokens dropped by `invalidate`.
    pub invalidated: u64,
}

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) fetches: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) served_stale: AtomicU64,
    pub(crate) waited: AtomicU64,
    pub(crate) refused_early: AtomicU64,
    pub(crate) invalidated: AtomicU64,
}

impl Tally {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            fetches: self.fetches.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            served_stale: self.served_stale.load(Relaxed),
            waited: self.waited.load(Relaxed),
            refused_early: self.refused_early.load(Relaxed),
            invalidated: self.invalidated.load(Relaxed),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
