//! When to refresh and how to retry.

use std::time::Duration;

/// When a [`TokenCache`](crate::TokenCache) refreshes and how it retries. The
/// defaults suit a service with tokens of a minute to some hours.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long before its end a token is refreshed, at most. It is never more
    /// than half the token's lifetime, and less by a share drawn once per token
    /// ([`jitter`](Self::jitter)).
    pub max_window: Duration,
    /// Up to which share of the window the refresh is put off, so that
    /// replicas started together drift apart. From 0 to 1.
    pub jitter: f64,
    /// Least time from one request to the token endpoint to the next.
    pub floor: Duration,
    /// After the n-th failure in a row, the next attempt comes after a random
    /// time of up to `floor` · 2ⁿ, but no more than this (full jitter).
    pub max_backoff: Duration,
    /// The most that a `Retry-After` of the endpoint can ask for.
    pub max_retry_after: Duration,
    /// Longest time for one attempt.
    pub fetch_timeout: Duration,
    /// The lifetime assumed where `expires_in` is missing (RFC 6749 §5.1 only
    /// recommends it).
    pub assumed_lifetime: Duration,
    /// What a longer `expires_in` is cut down to.
    pub max_lifetime: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_window: Duration::from_mins(5),
            jitter: 0.25,
            floor: Duration::from_secs(1),
            max_backoff: Duration::from_secs(15),
            max_retry_after: Duration::from_mins(5),
            fetch_timeout: Duration::from_secs(10),
            assumed_lifetime: Duration::from_mins(1),
            max_lifetime: Duration::from_hours(24),
        }
    }
}

impl Policy {
    /// What to take for a token's lifetime.
    pub(crate) fn lifetime(&self, expires_in: Option<Duration>) -> Duration {
        expires_in
            .unwrap_or(self.assumed_lifetime)
            .min(self.max_lifetime)
    }

    /// For how long from its request on a token is fresh; drawn anew per token.
    pub(crate) fn fresh_for(&self, lifetime: Duration) -> Duration {
        let window = self.max_window.min(lifetime / 2);
        let share = 1.0 - self.jitter.clamp(0.0, 1.0) * fastrand::f64();
        lifetime.saturating_sub(window.mul_f64(share))
    }

    /// How long to wait after the `failures`-th failure in a row.
    pub(crate) fn backoff(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let ceiling = self
            .floor
            .saturating_mul(1 << failures.min(16))
            .min(self.max_backoff);
        let asked = retry_after.unwrap_or_default().min(self.max_retry_after);
        ceiling.mul_f64(fastrand::f64()).max(asked).max(self.floor)
    }
}
