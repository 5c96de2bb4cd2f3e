//! Whatever happens in whatever order, the cache keeps its promises.

mod fake;

use std::time::Duration;

use fake::{Fake, Step, TestClock};
use proptest::prelude::*;
use token_client::{Policy, Token, TokenCache};
use tokio::time::{Instant, advance, timeout};

/// One thing that happens to a cache.
#[derive(Clone, Debug)]
enum Event {
    Advance(Duration),
    WallClockStepsForward(Duration),
    WallClockStepsBack(Duration),
    SourceWill(Step),
    Call,
    /// Calls that end early.
    Cancel(Duration),
    /// Calls at the same moment.
    Burst(usize),
    /// A 401 for the last token seen, or for the first.
    Invalidate {
        last: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let millis = |most: u64| (0..most).prop_map(Duration::from_millis);
    let step = prop_oneof![
        4 => (0_u64..400).prop_map(Step::Grant),
        1 => Just(Step::GrantWithoutEnd),
        1 => Just(Step::Grant(u64::MAX)),
        1 => Just(Step::Reject),
        2 => Just(Step::Fail),
        1 => (0_u64..1000).prop_map(Step::Busy),
        1 => Just(Step::Hang),
    ];
    prop_oneof![
        4 => millis(3_000).prop_map(Event::Advance),
        2 => millis(400_000).prop_map(Event::Advance),
        1 => millis(100_000_000).prop_map(Event::WallClockStepsForward),
        1 => millis(100_000_000).prop_map(Event::WallClockStepsBack),
        3 => step.prop_map(Event::SourceWill),
        6 => Just(Event::Call),
        2 => millis(30).prop_map(Event::Cancel),
        2 => (1_usize..20).prop_map(Event::Burst),
        2 => any::<bool>().prop_map(|last| Event::Invalidate { last }),
    ]
}

struct World {
    source: Fake,
    clock: TestClock,
    cache: TokenCache,
    seen: Vec<Token>,
}

impl World {
    async fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Advance(by) => advance(by).await,
            Event::WallClockStepsForward(by) => self.clock.step_forward(by),
            Event::WallClockStepsBack(by) => self.clock.step_back(by),
            Event::SourceWill(step) => self.source.turn(step),
            Event::Call => {
                let got = self.cache.get().await;
                if let Err(error) = &got {
                    prop_assert!(error.retry_at() > Instant::now(), "retry in the past");
                }
                self.check(got.ok())?;
            }
            Event::Cancel(after) => {
                let got = timeout(after, self.cache.get()).await;
                self.check(got.ok().and_then(Result::ok))?;
            }
            Event::Burst(n) => {
                let calls = (0..n).map(|_| self.cache.get());
                for got in futures::future::join_all(calls).await {
                    self.check(got.ok())?;
                }
            }
            Event::Invalidate { last } => {
                let token = if last {
                    self.seen.last()
                } else {
                    self.seen.first()
                };
                if let Some(token) = token {
                    self.cache.invalidate(token);
                }
            }
        }
        Ok(())
    }

    /// Against the source's own records, not against what the cache says.
    fn check(&mut self, got: Option<Token>) -> Result<(), TestCaseError> {
        if let Some(token) = got {
            let ends = self.source.end_of(token.expose());
            prop_assert!(
                ends.is_none_or(|end| Instant::now() < end),
                "an expired token"
            );
            self.seen.push(token);
        }
        Ok(())
    }
}

/// Lets the events happen to a new cache, then asks `question` of it.
fn after<F: Future<Output = Result<(), TestCaseError>>>(
    events: Vec<Event>,
    question: impl FnOnce(World) -> F,
) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let source = Fake::always(Step::Grant(60));
        let clock = TestClock::new();
        let cache = TokenCache::with_clock(source.clone(), Policy::default(), clock.clone());
        let mut world = World {
            source,
            clock,
            cache,
            seen: Vec::new(),
        };
        for event in events {
            world.happens(event).await?;
        }
        question(world).await
    })
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_whatever_happens(events in history()) {
        after(events, async |world| {
            prop_assert!(world.source.most_in_flight() <= 1, "two flights at once");
            for pair in world.source.fetched_at().windows(2) {
                let apart = pair[1] - pair[0];
                prop_assert!(apart >= Policy::default().floor, "two attempts within {apart:?}");
            }
            Ok(())
        })?;
    }

    /// Whatever went before, a source that works again is used again.
    #[test]
    fn no_history_is_terminal(events in history()) {
        after(events, async |world| {
            world.source.turn(Step::Grant(60));
            advance(Policy::default().max_retry_after).await;
            // A flight that began before may yet fail.
            if let Err(error) = world.cache.get().await {
                tokio::time::sleep_until(error.retry_at()).await;
            }
            prop_assert!(world.cache.get().await.is_ok());
            Ok(())
        })?;
    }
}
