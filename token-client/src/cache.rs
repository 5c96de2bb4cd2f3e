//! One token, kept for as long as it is good.
//!
//! The token lies behind an atomic pointer; a fresh read loads that and a clock.
//! Everything else (is a flight under way, may the next one start) is
//! decided under one short mutex that is never held across an await. A
//! *flight*, one attempt to obtain a token, is a task of its own that belongs
//! to the cache: callers come and go, it goes on.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    Clock, Counters, Policy, SourceError, SystemClock, Token, TokenError, TokenReader,
    TokenResponse, TokenSource,
    counters::{Tally, count},
    source::DynSource,
    token::{Both, Issued, State},
};

/// How long past its timeout a flight is still waited for, before it is taken
/// for lost: its runtime may be gone or stuck.
const GRACE: Duration = Duration::from_secs(1);

/// Keeps one token and refreshes it in time. Clones share it.
///
/// A cached token is *fresh* (returned at once), *stale* (its refresh window
/// has begun: returned at once, and one refresh is started) or *expired* (all
/// callers wait for one attempt). Failures leave a stale token in use until it
/// ends, are shared by all who waited, and are retried after a growing, random
/// pause; no failure is final.
///
/// Nothing runs while nobody calls. When the last clone goes, so does an
/// attempt under way.
#[derive(Clone)]
pub struct TokenCache {
    owner: Arc<Owner>,
}

/// Ends the flight with the last handle; flights themselves hold the core.
struct Owner {
    core: Arc<Core>,
}

struct Core {
    source: Box<dyn DynSource>,
    policy: Policy,
    clock: Box<dyn Clock>,
    current: ArcSwapOption<Issued>,
    control: Mutex<Control>,
    tally: Tally,
}

#[derive(Default)]
struct Control {
    flight: Option<Flight>,
    /// How many flights there were: the next one's number.
    flights: u64,
    /// Failures since the last success.
    failures: u32,
    /// The last of them.
    failure: Option<TokenError>,
    /// No flight may start earlier.
    not_before: Option<Instant>,
}

struct Flight {
    number: u64,
    lost_at: Instant,
    ending: Ending,
    task: AbortHandle,
}

type Ending = watch::Receiver<Option<Result<(), TokenError>>>;

impl Flight {
    /// The channel closes without an ending if the task is dropped before its
    /// first step, as in a runtime that shuts down.
    fn is_under_way(&self, now: Instant) -> bool {
        now < self.lost_at && self.ending.has_changed().is_ok()
    }
}

/// What a caller without a fresh token is to do.
enum Plan {
    Use(Token),
    Fail(TokenError),
    Wait { ending: Ending, lost_at: Instant },
}

impl TokenCache {
    /// An empty cache: the first [`get`](Self::get) fetches. Needs no runtime
    /// yet.
    pub fn new(source: impl TokenSource, policy: Policy) -> Self {
        Self::with_clock(source, policy, SystemClock::new())
    }

    /// As [`new`](Self::new), on clocks of one's own.
    pub fn with_clock(source: impl TokenSource, policy: Policy, clock: impl Clock) -> Self {
        let core = Arc::new(Core {
            source: Box::new(source),
            policy,
            clock: Box::new(clock),
            current: ArcSwapOption::empty(),
            control: Mutex::default(),
            tally: Tally::default(),
        });
        Self {
            owner: Arc::new(Owner { core }),
        }
    }

    /// A token that is alive now.
    ///
    /// Waits only if there is none, and then no longer than an attempt may
    /// take ([`Policy::fetch_timeout`]); callers with less patience wrap this
    /// in a timeout of their own, which harms no other caller.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, if it has to fetch.
    pub async fn get(&self) -> Result<Token, TokenError> {
        let core = &self.owner.core;
        if let Some(token) = core.fresh() {
            return Ok(token);
        }
        let mut waited = false;
        loop {
            match core.plan(&mut waited) {
                Plan::Use(token) => return Ok(token),
                Plan::Fail(error) => return Err(error),
                Plan::Wait {
                    mut ending,
                    lost_at,
                } => {
                    let ended = ending.wait_for(Option::is_some);
                    // A flight that was lost, or came to nothing, leaves it to
                    // the next plan; so does a success.
                    if let Ok(Ok(ending)) = timeout_at(lost_at, ended).await
                        && let Some(Err(error)) = &*ending
                    {
                        return Err(error.clone());
                    }
                }
            }
        }
    }

    /// A view of this cache for one task that reads it over and over.
    pub fn reader(&self) -> TokenReader {
        TokenReader::new(self.clone())
    }

    /// Where the current token is.
    pub(crate) fn slot(&self) -> &ArcSwapOption<Issued> {
        &self.owner.core.current
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.owner.core.clock
    }

    /// Drops `token` if it is the very one in the cache, as after a 401. A late
    /// complaint about an older token changes nothing.
    pub fn invalidate(&self, token: &Token) {
        let core = &self.owner.core;
        let old = core.current.compare_and_swap(token.issued(), None);
        if old
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, token.issued()))
        {
            count(&core.tally.invalidated);
        }
    }

    /// The token in the cache if it is alive; never fetches.
    pub fn peek(&self) -> Option<Token> {
        let core = &self.owner.core;
        let token = Token::new(core.current.load())?;
        let alive = !matches!(token.issued().state(core.now()), State::Expired);
        alive.then_some(token)
    }

    /// What this cache has done so far.
    pub fn counters(&self) -> Counters {
        self.owner.core.tally.read()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let flight = self.core.control().flight.take();
        if let Some(flight) = flight {
            flight.task.abort();
        }
    }
}

impl Core {
    fn now(&self) -> Both {
        Both::now(&*self.clock)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn fresh(&self) -> Option<Token> {
        let token = Token::new(self.current.load())?;
        token.issued().is_fresh(&*self.clock).then_some(token)
    }

    fn plan(self: &Arc<Self>, waited: &mut bool) -> Plan {
        let mut control = self.control();
        let now = self.now();
        let under_way = control
            .flight
            .as_ref()
            .is_some_and(|flight| flight.is_under_way(now.mono));
        let early = control.not_before.is_some_and(|moment| now.mono < moment);
        if let Some(token) = Token::new(self.current.load()) {
            match token.issued().state(now) {
                State::Fresh => return Plan::Use(token),
                State::Stale => {
                    if !under_way && !early {
                        self.start(&mut control, now.mono);
                    }
                    count(&self.tally.served_stale);
                    return Plan::Use(token);
                }
                State::Expired => {}
            }
        }
        if !under_way
            && let Some(failure) = &control.failure
            && now.mono < failure.retry_at()
        {
            count(&self.tally.refused_early);
            return Plan::Fail(failure.clone());
        }
        if !std::mem::replace(waited, true) {
            count(&self.tally.waited);
        }
        if !under_way {
            self.start(&mut control, now.mono);
        }
        let flight = control.flight.as_ref();
        let flight = flight.expect("must be there: if not before, then now");
        Plan::Wait {
            ending: flight.ending.clone(),
            lost_at: flight.lost_at,
        }
    }

    /// Starts a flight, or schedules it where the floor is not yet reached. A
    /// flight that was lost is replaced.
    fn start(self: &Arc<Self>, control: &mut Control, now: Instant) {
        if let Some(lost) = control.flight.take() {
            lost.task.abort();
        }
        control.flights += 1;
        let number = control.flights;
        let start_at = control.not_before.map_or(now, |moment| moment.max(now));
        control.not_before = Some(start_at + self.policy.floor);
        let (end, ending) = watch::channel(None);
        let task = tokio::spawn(self.clone().fly(number, start_at, end)).abort_handle();
        let lost_at = start_at + self.policy.fetch_timeout + GRACE;
        control.flight = Some(Flight {
            number,
            lost_at,
            ending,
            task,
        });
    }

    async fn fly(
        self: Arc<Self>,
        number: u64,
        start_at: Instant,
        end: watch::Sender<Option<Result<(), TokenError>>>,
    ) {
        let _guard = BrokenOff {
            core: &self,
            number,
        };
        // Even a sleep that is over takes until the timer's next millisecond.
        if self.clock.now() < start_at {
            sleep_until(start_at).await;
        }
        let Some(requested) = self.depart(number) else {
            return;
        };
        let answer = match timeout(self.policy.fetch_timeout, self.source.fetch()).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(SourceError::unavailable(format!(
                "the token endpoint did not answer within {:?}",
                self.policy.fetch_timeout
            ))),
        };
        let ending = self.land(number, requested, answer);
        // Nobody may be waiting any more.
        let _ = end.send(ending);
    }

    /// Flight `number` begins. Floor and timeout count from here, as its task may
    /// have been late; `None` if so late that another has taken its place.
    fn depart(&self, number: u64) -> Option<Both> {
        let mut control = self.control();
        let now = self.now();
        let flight = control
            .flight
            .as_mut()
            .filter(|flight| flight.number == number)?;
        flight.lost_at = now.mono + self.policy.fetch_timeout + GRACE;
        control.not_before = Some(now.mono + self.policy.floor);
        count(&self.tally.fetches);
        Some(now)
    }

    /// Takes in what flight `number` brought, unless a later flight has taken
    /// its place: then it may be older than what is here.
    fn land(
        &self,
        number: u64,
        requested: Both,
        answer: Result<TokenResponse, SourceError>,
    ) -> Option<Result<(), TokenError>> {
        let mut control = self.control();
        control.flight.take_if(|flight| flight.number == number)?;
        let now = self.now();
        Some(
            match answer.and_then(|answer| self.accept(answer, requested, now)) {
                Ok(issued) => {
                    control.failures = 0;
                    control.failure = None;
                    self.current.store(Some(Arc::new(issued)));
                    Ok(())
                }
                Err(error) => {
                    let retry_after = match &error {
                        SourceError::Rejected { .. } => None,
                        SourceError::Unavailable { retry_after, .. } => *retry_after,
                    };
                    control.failures = control.failures.saturating_add(1);
                    let retry_at = now.mono + self.policy.backoff(control.failures, retry_after);
                    control.not_before = Some(retry_at);
                    let error = self.failure(error, retry_at);
                    control.failure = Some(error.clone());
                    Err(error)
                }
            },
        )
    }

    fn accept(
        &self,
        answer: TokenResponse,
        requested: Both,
        now: Both,
    ) -> Result<Issued, SourceError> {
        answer.check().map_err(SourceError::unavailable)?;
        let issued = Issued::new(answer, requested, &self.policy);
        match issued.state(now) {
            State::Expired => Err(SourceError::unavailable(
                "the token endpoint gave a token that has ended",
            )),
            State::Fresh | State::Stale => Ok(issued),
        }
    }

    fn failure(&self, error: SourceError, retry_at: Instant) -> TokenError {
        tracing::warn!(%error, "no token obtained");
        match error {
            SourceError::Rejected { error, description } => {
                count(&self.tally.rejected);
                TokenError::Rejected {
                    error,
                    description,
                    retry_at,
                }
            }
            SourceError::Unavailable { source, .. } => {
                count(&self.tally.unavailable);
                TokenError::Unavailable { source, retry_at }
            }
        }
    }
}

/// Counts a flight that is broken off (its source panicked, its runtime is
/// gone) as a failure, so that the next one keeps its distance. Does nothing
/// once the flight has landed.
struct BrokenOff<'a> {
    core: &'a Core,
    number: u64,
}

impl Drop for BrokenOff<'_> {
    fn drop(&mut self) {
        let error = SourceError::unavailable("the attempt was broken off");
        self.core.land(self.number, self.core.now(), Err(error));
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.owner.core;
        f.debug_struct("TokenCache")
            .field("token", &Token::new(core.current.load()))
            .field("counters", &core.tally.read())
            .finish_non_exhaustive()
    }
}
