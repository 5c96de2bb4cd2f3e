//! The one way to wait: ask until it is so, or say what was last seen.
//!
//! Not for hiding a wrong answer: a check that can tell "never" from "not yet"
//! fails at once instead of asking again.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, timeout_at};

/// How long the harness waits for what, at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Keycloak's Deployment available: it imports two realms at its start.
    pub keycloak_ready: Duration,
    /// OIDC discovery answered. On the local stage Keycloak starts meanwhile.
    pub discovery: Duration,
    /// Apps and callers available, sidecars included.
    pub apps_ready: Duration,
    /// The proxies decide by the policy just applied. istiod asks for the
    /// realm's keys once and, where that failed, again only after a minute.
    pub policy_in_force: Duration,
    /// All answers of one batch from one caller; each request has 5 s itself.
    pub batch: Duration,
    /// The access-log record of an answered request. Envoy writes its log out
    /// every second unless the buffer fills earlier.
    pub access_log: Duration,
    /// A namespace gone after its deletion.
    pub namespace_gone: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            keycloak_ready: Duration::from_mins(5),
            discovery: Duration::from_mins(3),
            apps_ready: Duration::from_mins(3),
            policy_in_force: Duration::from_mins(2),
            batch: Duration::from_mins(1),
            access_log: Duration::from_secs(15),
            namespace_gone: Duration::from_mins(2),
        }
    }
}

/// What one look at the awaited thing showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// It is so.
    Done(T),
    /// It may still come; the text says how things stand.
    NotYet(String),
}

/// It did not come in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:.1?} for {awaited}; last seen: {last}")]
pub struct TimedOut {
    /// What was waited for.
    pub awaited: String,
    /// How long.
    pub waited: Duration,
    /// How things stood at the last look.
    pub last: String,
}

/// A wait for one thing.
#[derive(Clone, Debug)]
pub struct Poll {
    awaited: String,
    deadline: Duration,
    interval: Duration,
    consecutive: u32,
}

impl Poll {
    /// Waits for `awaited`, a noun phrase, no longer than `deadline`. Looks
    /// five times a second and is content with one success.
    pub fn new(awaited: impl Into<String>, deadline: Duration) -> Self {
        Self {
            awaited: awaited.into(),
            deadline,
            interval: Duration::from_millis(200),
            consecutive: 1,
        }
    }

    /// The pause between two looks.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Wants this many successes in a row: where several proxies or
    /// connections answer, one success proves little.
    #[must_use]
    pub fn consecutive(mut self, successes: u32) -> Self {
        self.consecutive = successes;
        self
    }

    /// Looks until it is so. An error of `look` ends the wait at once; the
    /// deadline ends it with [`TimedOut`], also in the middle of a look.
    pub async fn until<T>(
        &self,
        mut look: impl AsyncFnMut() -> anyhow::Result<Step<T>>,
    ) -> anyhow::Result<T> {
        let start = Instant::now();
        let deadline = start + self.deadline;
        let mut last = "nothing yet".to_owned();
        let mut successes = 0;
        while let Ok(step) = timeout_at(deadline, look()).await {
            match step.with_context(|| format!("while waiting for {}", self.awaited))? {
                Step::Done(value) => {
                    successes += 1;
                    if successes >= self.consecutive {
                        return Ok(value);
                    }
                    last = format!("{successes} of {} successes in a row", self.consecutive);
                }
                Step::NotYet(status) => {
                    successes = 0;
                    last = status;
                }
            }
            if Instant::now() + self.interval >= deadline {
                break;
            }
            sleep(self.interval).await;
        }
        Err(TimedOut {
            awaited: self.awaited.clone(),
            waited: start.elapsed(),
            last,
        }
        .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Gives out the steps one by one, then repeats the last.
    fn script(steps: Vec<Step<u8>>) -> impl AsyncFnMut() -> anyhow::Result<Step<u8>> {
        let mut next = 0;
        async move || {
            let step = steps[next.min(steps.len() - 1)].clone();
            next += 1;
            Ok(step)
        }
    }

    fn not_yet(status: &str) -> Step<u8> {
        Step::NotYet(status.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn first_success_ends_the_wait() {
        let start = Instant::now();
        let value = Poll::new("a thing", MINUTE)
            .until(script(vec![
                not_yet("cold"),
                not_yet("warm"),
                Step::Done(7),
            ]))
            .await
            .unwrap();
        assert_eq!(value, 7);
        assert_eq!(start.elapsed(), Duration::from_millis(400));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_in_between_resets_the_count_of_successes() {
        let start = Instant::now();
        Poll::new("a thing", MINUTE)
            .every(Duration::from_secs(1))
            .consecutive(2)
            .until(script(vec![
                Step::Done(1),
                not_yet("flapping"),
                Step::Done(1),
                Step::Done(1),
            ]))
            .await
            .unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn time_out_says_what_how_long_and_what_was_last_seen() {
        let error = Poll::new("namespace demo gone", Duration::from_secs(3))
            .until(script(vec![not_yet("terminating")]))
            .await
            .unwrap_err();
        let error = error.downcast_ref::<TimedOut>().unwrap();
        assert_eq!(error.last, "terminating");
        assert!(error.waited <= Duration::from_secs(3));
        assert!(
            error
                .to_string()
                .starts_with("waited 2.8s for namespace demo gone; last seen: "),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn look_that_hangs_is_cut_off_at_the_deadline() {
        let start = Instant::now();
        let error = Poll::new("a thing", MINUTE)
            .until(async || std::future::pending::<anyhow::Result<Step<u8>>>().await)
            .await
            .unwrap_err();
        assert!(error.is::<TimedOut>());
        assert_eq!(start.elapsed(), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn error_ends_the_wait_at_once() {
        let start = Instant::now();
        let error = Poll::new("the image", MINUTE)
            .until(async || -> anyhow::Result<Step<u8>> { anyhow::bail!("no such image") })
            .await
            .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "while waiting for the image: no such image"
        );
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
