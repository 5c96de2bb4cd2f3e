//! Two clocks, because neither tells a token's age alone.

use std::{num::NonZeroU64, time::SystemTime};

use tokio::time::Instant;

/// Tells a [`TokenCache`](crate::TokenCache) the time.
///
/// A token ends when *either* clock says so. The monotonic clock is deaf to
/// steps of the wall clock; the wall clock goes on while a suspended machine's
/// monotonic clock stands still. A wall clock that steps forward costs one
/// early refresh, one that steps back nothing.
pub trait Clock: Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock.
    fn wall(&self) -> SystemTime;
    /// A number that changes whenever one of the two clocks shows another time,
    /// if that is cheaper to tell than the time itself. A cache looks at the
    /// clocks again only when it has changed.
    fn tick(&self) -> Option<NonZeroU64> {
        None
    }
}

/// The machine's clocks.
///
/// On Linux these are the kernel's coarse ones: up to a timer tick (at most
/// 10 ms) late, and several times cheaper to read, which a cache does for every
/// request.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
    #[cfg(target_os = "linux")]
    origin_coarse: std::time::Duration,
}

impl SystemClock {
    /// A reader of the machine's clocks.
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            origin_coarse: coarse(rustix::time::ClockId::MonotonicCoarse),
            origin: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let coarse = coarse(rustix::time::ClockId::MonotonicCoarse);
        self.origin + coarse.saturating_sub(self.origin_coarse)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + coarse(rustix::time::ClockId::RealtimeCoarse)
    }

    /// The kernel moves both coarse clocks at once, by the timer tick; a step of
    /// the wall clock in between shows at the next one.
    fn tick(&self) -> Option<NonZeroU64> {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        let nanoseconds = time.tv_sec.wrapping_mul(1_000_000_000) + time.tv_nsec;
        NonZeroU64::new(nanoseconds.cast_unsigned())
    }
}

/// Zero for a wall clock before 1970.
#[cfg(target_os = "linux")]
fn coarse(clock: rustix::time::ClockId) -> std::time::Duration {
    rustix::time::clock_gettime(clock)
        .try_into()
        .unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        self.origin + self.origin.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}
