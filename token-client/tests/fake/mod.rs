//! A token source that does as it is told, and clocks that can jump.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use token_client::{Clock, Policy, SourceError, TokenCache, TokenResponse, TokenSource};
use tokio::time::Instant;

/// What the source does on one fetch.
#[derive(Clone, Debug)]
pub enum Step {
    /// A token with this lifetime in seconds.
    Grant(u64),
    /// A token without `expires_in`.
    GrantWithoutEnd,
    /// An OAuth error.
    Reject,
    /// No connection.
    Fail,
    /// 503 with `Retry-After` in seconds.
    Busy(u64),
    /// No answer ever.
    Hang,
    /// A bug.
    Panic,
}

#[derive(Clone)]
pub struct Fake(Arc<Mutex<State>>);

struct State {
    script: VecDeque<Step>,
    then: Step,
    delay: Duration,
    fetches: Vec<Instant>,
    ends: HashMap<usize, Option<Instant>>,
    in_flight: u32,
    most_in_flight: u32,
}

/// Takes a fetch off the count even if it is cancelled.
struct InFlight(Arc<Mutex<State>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().unwrap().in_flight -= 1;
    }
}

impl Fake {
    /// Does the same on every fetch, each of which takes 10 ms.
    pub fn always(then: Step) -> Self {
        Self(Arc::new(Mutex::new(State {
            script: VecDeque::new(),
            then,
            delay: Duration::from_millis(10),
            fetches: Vec::new(),
            ends: HashMap::new(),
            in_flight: 0,
            most_in_flight: 0,
        })))
    }

    /// Does these steps first.
    pub fn first(self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.0.lock().unwrap().script.extend(steps);
        self
    }

    /// From now on does this.
    pub fn turn(&self, then: Step) {
        let mut state = self.0.lock().unwrap();
        state.script.clear();
        state.then = then;
    }

    pub fn take(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    pub fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches.len()
    }

    pub fn fetched_at(&self) -> Vec<Instant> {
        self.0.lock().unwrap().fetches.clone()
    }

    /// When a token that this source gave ends, if ever.
    pub fn end_of(&self, token: &str) -> Option<Instant> {
        let number: usize = token.strip_prefix("s3cret-").unwrap().parse().unwrap();
        self.0.lock().unwrap().ends[&number]
    }

    pub fn most_in_flight(&self) -> u32 {
        self.0.lock().unwrap().most_in_flight
    }
}

impl TokenSource for Fake {
    async fn fetch(&self) -> Result<TokenResponse, SourceError> {
        let (step, number, delay, _guard) = {
            let mut state = self.0.lock().unwrap();
            state.fetches.push(Instant::now());
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            let step = state
                .script
                .pop_front()
                .unwrap_or_else(|| state.then.clone());
            (
                step,
                state.fetches.len(),
                state.delay,
                InFlight(self.0.clone()),
            )
        };
        // What a server would do: the lifetime counts from when it answers.
        tokio::time::sleep(delay).await;
        let token = |ttl: Option<u64>| {
            let ttl = ttl.map(Duration::from_secs);
            let end = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
            self.0.lock().unwrap().ends.insert(number, end);
            Ok(TokenResponse::new(format!("s3cret-{number}"), ttl))
        };
        match step {
            Step::Grant(seconds) => token(Some(seconds)),
            Step::GrantWithoutEnd => token(None),
            Step::Reject => Err(SourceError::Rejected {
                error: "invalid_client".to_owned(),
                description: Some("Invalid client or Invalid client credentials".to_owned()),
            }),
            Step::Fail => Err(SourceError::unavailable("connection refused")),
            Step::Busy(seconds) => Err(SourceError::Unavailable {
                source: Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("busy")),
                retry_after: Some(Duration::from_secs(seconds)),
            }),
            Step::Hang => std::future::pending().await,
            Step::Panic => panic!("told to"),
        }
    }
}

/// Tokio's clock, which tests pause and advance, and a wall clock that runs
/// with it until it is made to jump.
#[derive(Clone)]
pub struct TestClock {
    started: Instant,
    wall: Arc<Mutex<SystemTime>>,
}

impl TestClock {
    pub fn new() -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        Self {
            started: Instant::now(),
            wall: Arc::new(Mutex::new(wall)),
        }
    }

    pub fn step_forward(&self, by: Duration) {
        *self.wall.lock().unwrap() += by;
    }

    pub fn step_back(&self, by: Duration) {
        *self.wall.lock().unwrap() -= by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        *self.wall.lock().unwrap() + self.started.elapsed()
    }
}

/// A cache on tokio's clock.
pub fn cache(source: &Fake) -> TokenCache {
    TokenCache::with_clock(source.clone(), Policy::default(), TestClock::new())
}
