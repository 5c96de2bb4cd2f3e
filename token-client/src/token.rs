//! One access token.

use std::{
    fmt,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::Guard;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use tokio::time::Instant;

use crate::{Clock, Policy, TokenResponse};

/// An access token that was alive when the cache gave it out.
///
/// `Debug` shows when it ends and never the token itself; its memory is wiped
/// when the last copy goes.
// A guard rather than an `Arc`: taking one out of the cache writes to no memory
// that other threads write to, so readers do not slow each other down.
pub struct Token(Guard<Option<Arc<Issued>>>);

/// A token as the cache keeps it. All moments are on the cache's two clocks and
/// count from when the token was *asked for*, so that they err to the early
/// side and no foreign clock matters.
pub(crate) struct Issued {
    access_token: SecretString,
    scope: Option<String>,
    lifetime: Duration,
    fresh_until: Both,
    usable_until: Both,
    /// The last tick at which it was found to be fresh, or 0.
    fresh_at: AtomicU64,
}

/// The same moment on the monotonic and on the wall clock.
#[derive(Clone, Copy)]
pub(crate) struct Both {
    pub(crate) mono: Instant,
    pub(crate) wall: SystemTime,
}

/// What a token is good for.
pub(crate) enum State {
    /// To be used.
    Fresh,
    /// To be used, and replaced.
    Stale,
    /// Nothing.
    Expired,
}

impl Issued {
    pub(crate) fn new(response: TokenResponse, requested: Both, policy: &Policy) -> Self {
        let lifetime = policy.lifetime(response.expires_in);
        Self {
            access_token: response.access_token,
            scope: response.scope,
            lifetime,
            fresh_until: requested + policy.fresh_for(lifetime),
            usable_until: requested + lifetime,
            fresh_at: AtomicU64::new(0),
        }
    }

    /// Whether it is fresh now. Looks closely once a tick: until the next one,
    /// no clock moves.
    #[inline]
    pub(crate) fn is_fresh(&self, clock: &dyn Clock) -> bool {
        let tick = clock.tick().map_or(0, NonZeroU64::get);
        if tick != 0 && tick == self.fresh_at.load(Relaxed) {
            return true;
        }
        let fresh = matches!(self.state(Both::now(clock)), State::Fresh);
        if fresh {
            self.fresh_at.store(tick, Relaxed);
        }
        fresh
    }

    pub(crate) fn state(&self, now: Both) -> State {
        if now.is_before(self.fresh_until) {
            State::Fresh
        } else if now.is_before(self.usable_until) {
            State::Stale
        } else {
            State::Expired
        }
    }
}

impl Both {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            mono: clock.now(),
            wall: clock.wall(),
        }
    }

    /// By both clocks: a token ends when either says so.
    fn is_before(self, end: Self) -> bool {
        self.mono < end.mono && self.wall < end.wall
    }
}

impl std::ops::Add<Duration> for Both {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self {
            mono: self.mono + duration,
            wall: self.wall + duration,
        }
    }
}

impl Token {
    /// `None` if there is none behind the guard.
    #[inline]
    pub(crate) fn new(guard: Guard<Option<Arc<Issued>>>) -> Option<Self> {
        guard.is_some().then_some(Self(guard))
    }

    /// The same without a guard: to be kept.
    pub(crate) fn kept(self) -> Self {
        Self(Guard::from_inner(Guard::into_inner(self.0)))
    }

    #[inline]
    pub(crate) fn issued(&self) -> &Arc<Issued> {
        self.0.as_ref().expect("must be there: `new` saw to it")
    }

    /// The token itself, to put it on a request.
    #[inline]
    pub fn expose(&self) -> &str {
        self.issued().access_token.expose_secret()
    }

    /// The value of an `Authorization` header (RFC 6750 §2.1), marked sensitive.
    #[expect(
        clippy::missing_panics_doc,
        reason = "the cache takes in no token unfit for a header"
    )]
    pub fn authorization(&self) -> HeaderValue {
        let text = Zeroizing::new(format!("Bearer {}", self.expose()));
        let mut value = HeaderValue::from_str(&text)
            .expect("must be visible ASCII: the cache takes in no other");
        value.set_sensitive(true);
        value
    }

    /// The scope granted, as far as the endpoint said (RFC 6749 §5.1).
    pub fn scope(&self) -> Option<&str> {
        self.issued().scope.as_deref()
    }

    /// How long the token lives, counted from the moment it was asked for.
    pub fn lifetime(&self) -> Duration {
        self.issued().lifetime
    }

    /// When the token ends, on the monotonic clock.
    pub fn expires_at(&self) -> Instant {
        self.issued().usable_until.mono
    }

    /// Whether both are the very same issue of a token.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.issued(), other.issued())
    }
}

impl Clone for Token {
    fn clone(&self) -> Self {
        Self(Guard::from_inner(Some(self.issued().clone())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("access_token", &"[redacted]")
            .field("scope", &self.scope())
            .field("lifetime", &self.lifetime())
            .finish_non_exhaustive()
    }
}
