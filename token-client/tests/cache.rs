//! How the cache behaves, on a fake source and a paused clock.

mod fake;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use fake::{Fake, Step, TestClock, cache};
use futures::future::join_all;
use token_client::{Policy, SourceError, TokenCache, TokenError, TokenResponse, TokenSource};
use tokio::time::{Instant, advance, timeout};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Calls once a second for `n` seconds.
async fn call_for(cache: &TokenCache, n: u64) {
    for _ in 0..n {
        cache.get().await.unwrap();
        settle().await;
        advance(seconds(1)).await;
    }
}

/// Lets a refresh that was spawned in the background come to its end. The
/// paused clock moves on by itself while everybody sleeps.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

// === Fetching ===

#[tokio::test(start_paused = true)]
async fn fresh_token_is_returned_without_a_fetch() {
    let source = Fake::always(Step::Grant(300));
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    advance(seconds(100)).await;
    assert!(cache.get().await.unwrap().is_same(&first));
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn burst_of_1000_callers_makes_one_request() {
    let source = Fake::always(Step::Grant(60));
    let cache = cache(&source);
    let tokens = join_all((0..1000).map(|_| cache.get())).await;
    let first = tokens[0].as_ref().unwrap();
    assert!(
        tokens
            .iter()
            .all(|token| token.as_ref().unwrap().is_same(first))
    );
    assert_eq!(source.fetches(), 1);
    assert_eq!(cache.counters().waited, 1000);
}

#[tokio::test(start_paused = true)]
async fn burst_on_a_dead_endpoint_makes_one_request_and_shares_the_failure() {
    let source = Fake::always(Step::Fail);
    let cache = cache(&source);
    let errors = join_all((0..1000).map(|_| cache.get())).await;
    let retry_at = errors[0].as_ref().unwrap_err().retry_at();
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(error, TokenError::Unavailable { .. }), "{error}");
        assert_eq!(error.retry_at(), retry_at);
    }
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_leader_does_not_fail_followers() {
    let source = Fake::always(Step::Grant(60));
    source.take(seconds(2));
    let cache = cache(&source);
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get().await }
    });
    tokio::task::yield_now().await;
    let follower = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get().await }
    });
    tokio::time::sleep(seconds(1)).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert!(follower.await.unwrap().is_ok());
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_caller_keeps_its_own_deadline() {
    let source = Fake::always(Step::Grant(60));
    source.take(seconds(2));
    let cache = cache(&source);
    let (hasty, patient) = tokio::join!(
        timeout(seconds(1), cache.get()),
        timeout(seconds(3), cache.get())
    );
    assert!(hasty.is_err());
    assert!(patient.unwrap().is_ok());
    assert_eq!(source.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn last_handle_takes_the_flight_along() {
    let source = Fake::always(Step::Hang);
    let cache = cache(&source);
    assert!(timeout(seconds(1), cache.get()).await.is_err());
    let before = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    drop(cache);
    tokio::task::yield_now().await;
    assert_eq!(
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        before - 1
    );
}

// === Refreshing in time ===

#[tokio::test(start_paused = true)]
async fn stale_token_is_returned_at_once_and_refreshed_behind_it() {
    let source = Fake::always(Step::Grant(60));
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    source.take(seconds(5));
    advance(seconds(40)).await;
    let asked = Instant::now();
    for _ in 0..100 {
        assert!(cache.get().await.unwrap().is_same(&first));
    }
    assert_eq!(asked.elapsed(), Duration::ZERO);
    tokio::time::sleep(seconds(6)).await;
    assert!(!cache.get().await.unwrap().is_same(&first));
    assert_eq!((source.fetches(), cache.counters().served_stale), (2, 100));
}

/// The window of a 60 s token begins 30 to 37.5 s after it was asked for.
#[tokio::test(start_paused = true)]
async fn sixty_second_token_is_fetched_once_per_window() {
    let source = Fake::always(Step::Grant(60));
    let cache = cache(&source);
    call_for(&cache, 600).await;
    let fetched = source.fetched_at();
    assert!(
        (16..=20).contains(&fetched.len()),
        "{} fetches",
        fetched.len()
    );
    for pair in fetched.windows(2) {
        let apart = pair[1] - pair[0];
        assert!((seconds(30)..seconds(40)).contains(&apart), "{apart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_moments_are_spread_and_drawn_once_per_token() {
    let mut moments = Vec::new();
    for _ in 0..50 {
        let source = Fake::always(Step::Grant(300));
        let cache = cache(&source);
        cache.get().await.unwrap();
        let start = source.fetched_at()[0];
        while source.fetches() == 1 {
            advance(seconds(1)).await;
            cache.get().await.unwrap();
            settle().await;
        }
        moments.push((source.fetched_at()[1] - start).as_secs());
    }
    let (first, last) = (moments.iter().min().unwrap(), moments.iter().max().unwrap());
    assert!(*first >= 150 && *last <= 190, "{moments:?}");
    assert!(last - first >= 15, "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn token_without_an_end_is_taken_to_live_a_minute() {
    let source = Fake::always(Step::GrantWithoutEnd);
    let cache = cache(&source);
    assert_eq!(cache.get().await.unwrap().lifetime(), seconds(60));
    call_for(&cache, 600).await;
    assert!(
        (16..=20).contains(&source.fetches()),
        "{} fetches",
        source.fetches()
    );
}

#[tokio::test(start_paused = true)]
async fn absurd_expires_in_is_cut_down() {
    let source = Fake::always(Step::Grant(u64::MAX));
    let cache = cache(&source);
    assert_eq!(
        cache.get().await.unwrap().lifetime(),
        Duration::from_hours(24)
    );
}

#[tokio::test(start_paused = true)]
async fn zero_expires_in_does_not_spin() {
    let source = Fake::always(Step::Grant(0));
    let cache = cache(&source);
    let end = Instant::now() + seconds(60);
    while Instant::now() < end {
        assert!(matches!(
            cache.get().await,
            Err(TokenError::Unavailable { .. })
        ));
        advance(Duration::from_millis(100)).await;
    }
    assert!(
        source.fetches() <= 60,
        "{} fetches in 60 s",
        source.fetches()
    );
}

#[tokio::test(start_paused = true)]
async fn one_second_token_is_fetched_no_more_than_once_a_second() {
    let source = Fake::always(Step::Grant(1));
    let cache = cache(&source);
    let end = Instant::now() + seconds(60);
    while Instant::now() < end {
        let token = cache.get().await.unwrap();
        assert!(token.expires_at() > Instant::now());
        advance(Duration::from_millis(100)).await;
    }
    assert!(
        (55..=60).contains(&source.fetches()),
        "{} fetches in 60 s",
        source.fetches()
    );
}

// === Trouble ===

#[tokio::test(start_paused = true)]
async fn hung_idp_does_not_block_fresh_readers() {
    let source = Fake::always(Step::Hang).first([Step::Grant(60)]);
    let cache = cache(&source);
    cache.get().await.unwrap();
    advance(seconds(40)).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(source.fetches(), 2, "the refresh must hang by now");
    for _ in 0..5 {
        advance(seconds(1)).await;
        let asked = Instant::now();
        assert!(cache.get().await.is_ok());
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    assert_eq!(source.fetches(), 2, "one attempt at a time");
}

#[tokio::test(start_paused = true)]
async fn refresh_failure_keeps_serving_until_the_end() {
    let source = Fake::always(Step::Fail).first([Step::Grant(60)]);
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    while Instant::now() < first.expires_at() {
        assert!(cache.get().await.unwrap().is_same(&first));
        advance(Duration::from_millis(250)).await;
    }
    assert!(source.fetches() > 2, "it must have been tried");
    assert!(matches!(
        cache.get().await,
        Err(TokenError::Unavailable { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn recovery_is_noticed_after_permanent_error() {
    for trouble in [Step::Reject, Step::Fail, Step::Panic, Step::Grant(0)] {
        let source = Fake::always(trouble.clone());
        let cache = cache(&source);
        let end = Instant::now() + Duration::from_hours(1);
        while Instant::now() < end {
            assert!(cache.get().await.is_err());
            advance(seconds(1)).await;
        }
        source.turn(Step::Grant(60));
        let mended = Instant::now();
        while cache.get().await.is_err() {
            advance(Duration::from_millis(100)).await;
        }
        assert!(
            mended.elapsed() <= seconds(16),
            "{trouble:?}: {:?}",
            mended.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_carries_the_oauth_error() {
    let error = cache(&Fake::always(Step::Reject)).get().await.unwrap_err();
    let TokenError::Rejected {
        error,
        description,
        retry_at,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(error, "invalid_client");
    assert_eq!(
        description.unwrap(),
        "Invalid client or Invalid client credentials"
    );
    assert!(retry_at >= Instant::now() + seconds(1));
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_after_random_pauses_that_never_undercut_the_floor() {
    let source = Fake::always(Step::Fail);
    let cache = cache(&source);
    let end = Instant::now() + Duration::from_mins(20);
    while Instant::now() < end {
        assert!(cache.get().await.is_err());
        advance(Duration::from_millis(50)).await;
    }
    let fetched = source.fetched_at();
    let pauses: Vec<_> = fetched.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses
            .iter()
            .all(|pause| *pause >= seconds(1) && *pause < seconds(16)),
        "{pauses:?}"
    );
    assert!(
        pauses.iter().skip(5).any(|pause| *pause < seconds(5)),
        "not jittered: {pauses:?}"
    );
    assert!(
        pauses.iter().any(|pause| *pause > seconds(10)),
        "{pauses:?}"
    );
    assert!(cache.counters().refused_early > 1000);
}

#[tokio::test(start_paused = true)]
async fn success_forgets_earlier_failures() {
    let source = Fake::always(Step::Fail);
    let cache = cache(&source);
    for _ in 0..10 {
        let error = cache.get().await.unwrap_err();
        tokio::time::sleep_until(error.retry_at()).await;
    }
    source.turn(Step::Grant(5));
    cache.get().await.unwrap();
    source.turn(Step::Fail);
    for _ in 0..20 {
        advance(seconds(5)).await;
        assert!(cache.get().await.unwrap_err().retry_after() <= seconds(2));
        advance(seconds(2)).await;
        source.turn(Step::Grant(5));
        cache.get().await.unwrap();
        source.turn(Step::Fail);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_up_to_a_limit() {
    for (asked, waited) in [(40, 40), (1_000_000, 300)] {
        let source = Fake::always(Step::Busy(asked));
        let error = cache(&source).get().await.unwrap_err();
        assert_eq!(error.retry_after(), seconds(waited));
    }
}

#[tokio::test(start_paused = true)]
async fn token_that_ends_during_a_pause_leaves_a_failure_at_once() {
    let source = Fake::always(Step::Busy(200)).first([Step::Grant(60)]);
    let cache = cache(&source);
    cache.get().await.unwrap();
    for by in [25, 25, 5] {
        advance(seconds(by)).await;
        cache.get().await.unwrap();
        settle().await;
    }
    advance(seconds(10)).await;
    let asked = Instant::now();
    assert!(cache.get().await.is_err());
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!((source.fetches(), cache.counters().refused_early), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn attempt_that_takes_too_long_is_a_failure() {
    let cache = cache(&Fake::always(Step::Hang));
    let asked = Instant::now();
    let error = cache.get().await.unwrap_err();
    assert_eq!(asked.elapsed(), seconds(10));
    assert!(
        error.to_string().contains("did not answer within 10s"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn panicking_source_is_a_failure_like_any_other() {
    let source = Fake::always(Step::Panic);
    let error = cache(&source).get().await.unwrap_err();
    assert!(error.to_string().contains("broken off"), "{error}");
    assert!(error.retry_after() >= seconds(1));
}

/// A flight may be stuck in a runtime that does not move. Its callers elsewhere
/// replace it, and its late answer is not taken in.
#[test]
fn late_refresh_never_replaces_newer_token() {
    /// Its first fetch blocks its thread, so that not even an abort ends it.
    struct Stuck {
        fetches: AtomicUsize,
        release: Mutex<Option<mpsc::Receiver<()>>>,
    }

    impl TokenSource for Stuck {
        async fn fetch(&self) -> Result<TokenResponse, SourceError> {
            let number = self.fetches.fetch_add(1, Ordering::Relaxed) + 1;
            let release = self.release.lock().unwrap().take();
            if let Some(release) = release {
                release.recv().unwrap();
            }
            Ok(TokenResponse::new(
                format!("token-{number}"),
                Some(seconds(60)),
            ))
        }
    }

    let (let_go, release) = mpsc::channel();
    let source = Stuck {
        fetches: AtomicUsize::new(0),
        release: Mutex::new(Some(release)),
    };
    let policy = Policy {
        fetch_timeout: Duration::from_millis(50),
        ..Policy::default()
    };
    let cache = TokenCache::new(source, policy);
    let stuck = std::thread::spawn({
        let cache = cache.clone();
        move || runtime().block_on(cache.get())
    });
    while cache.counters().fetches == 0 {
        std::thread::yield_now();
    }
    let newer = runtime().block_on(cache.get()).unwrap();
    assert_eq!(newer.expose(), "token-2");
    let_go.send(()).unwrap();
    assert!(stuck.join().unwrap().unwrap().is_same(&newer));
    assert!(cache.peek().unwrap().is_same(&newer));
}

#[test]
fn cache_outlives_the_runtime_that_filled_it() {
    let source = Fake::always(Step::Hang);
    let cache = cache(&source);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    runtime().block_on(async {
        assert!(
            timeout(Duration::from_millis(20), cache.get())
                .await
                .is_err()
        );
    });
    source.turn(Step::Grant(60));
    runtime().block_on(async {
        while let Err(error) = cache.get().await {
            assert!(error.to_string().contains("broken off"), "{error}");
            tokio::time::sleep_until(error.retry_at()).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn flight_that_begins_late_is_not_taken_for_lost() {
    let source = Fake::always(Step::Grant(60));
    let cache = cache(&source);
    assert!(futures::poll!(std::pin::pin!(cache.get())).is_pending());
    advance(seconds(300)).await;
    cache.get().await.unwrap();
    assert_eq!(source.fetches(), 1);
}

#[test]
fn flight_that_never_began_is_replaced() {
    let source = Fake::always(Step::Grant(60)).first([Step::Fail]);
    let cache = cache(&source);
    runtime().block_on(async {
        let failure = cache.get().await.unwrap_err();
        tokio::time::sleep_until(failure.retry_at()).await;
        assert!(futures::poll!(std::pin::pin!(cache.get())).is_pending());
    });
    assert_eq!(
        source.fetches(),
        1,
        "the runtime must be gone before the task's first step"
    );
    let asked = Instant::now();
    runtime().block_on(cache.get()).unwrap();
    assert!(asked.elapsed() < seconds(5), "{:?}", asked.elapsed());
}

// === Invalidation ===

#[tokio::test(start_paused = true)]
async fn invalidated_token_is_replaced() {
    let source = Fake::always(Step::Grant(300));
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    advance(seconds(10)).await;
    cache.invalidate(&first);
    let second = cache.get().await.unwrap();
    assert!(!second.is_same(&first));
    assert_eq!((source.fetches(), cache.counters().invalidated), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn second_401_with_same_token_does_not_refetch() {
    let source = Fake::always(Step::Grant(300));
    let cache = cache(&source);
    let first = cache.get().await.unwrap();
    cache.invalidate(&first);
    let second = cache.get().await.unwrap();
    cache.invalidate(&first.clone());
    assert!(cache.get().await.unwrap().is_same(&second));
    assert_eq!((source.fetches(), cache.counters().invalidated), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn storm_of_invalidations_keeps_to_the_floor() {
    let source = Fake::always(Step::Grant(300));
    let cache = cache(&source);
    let end = Instant::now() + seconds(30);
    while Instant::now() < end {
        let token = cache.get().await.unwrap();
        cache.invalidate(&token);
    }
    for pair in source.fetched_at().windows(2) {
        assert!(pair[1] - pair[0] >= seconds(1));
    }
}

// === Clocks ===

/// A suspended machine's monotonic clock stands still; its token does not.
#[tokio::test(start_paused = true)]
async fn token_that_ended_during_suspend_is_not_served() {
    let source = Fake::always(Step::Grant(60));
    let clock = TestClock::new();
    let cache = TokenCache::with_clock(source.clone(), Policy::default(), clock.clone());
    let first = cache.get().await.unwrap();
    clock.step_forward(Duration::from_hours(8));
    assert!(cache.peek().is_none());
    assert!(!cache.get().await.unwrap().is_same(&first));
    call_for(&cache, 25).await;
    assert_eq!(source.fetches(), 2, "one jump must cost one fetch");
}

#[tokio::test(start_paused = true)]
async fn wall_clock_step_forward_costs_one_early_fetch() {
    let source = Fake::always(Step::Grant(60));
    let clock = TestClock::new();
    let cache = TokenCache::with_clock(source.clone(), Policy::default(), clock.clone());
    cache.get().await.unwrap();
    // Into the refresh window: the token goes on, its successor comes early.
    clock.step_forward(seconds(40));
    call_for(&cache, 10).await;
    assert_eq!(source.fetches(), 2);
    assert_eq!(
        cache.counters().waited,
        1,
        "only the first call had to wait"
    );
}

#[tokio::test(start_paused = true)]
async fn wall_clock_step_back_prolongs_no_token() {
    let source = Fake::always(Step::Grant(60));
    let clock = TestClock::new();
    let cache = TokenCache::with_clock(source.clone(), Policy::default(), clock.clone());
    let first = cache.get().await.unwrap();
    clock.step_back(Duration::from_hours(8));
    assert!(cache.get().await.unwrap().is_same(&first));
    advance(seconds(61)).await;
    assert!(!cache.get().await.unwrap().is_same(&first));
}

/// The machine's own clocks tell only once a tick whether they have moved.
#[tokio::test]
async fn token_on_the_machines_clocks_turns_stale_and_ends() {
    let source = Fake::always(Step::Grant(1));
    source.take(Duration::ZERO);
    let cache = TokenCache::new(source.clone(), Policy::default());
    let first = cache.get().await.unwrap();
    let started = std::time::Instant::now();
    assert!(cache.get().await.unwrap().is_same(&first));
    let mut stale = None;
    let second = loop {
        let token = cache.get().await.unwrap();
        if !token.is_same(&first) {
            break token;
        }
        if cache.counters().served_stale > 0 {
            stale.get_or_insert_with(|| started.elapsed());
        }
        tokio::task::yield_now().await;
    };
    let tick = Duration::from_millis(20);
    assert!(stale.expect("must turn stale first") + tick >= Duration::from_millis(500));
    assert!(second.expires_at() > first.expires_at());
    assert_eq!(source.fetches(), 2);
}

// === A reader ===

#[tokio::test(start_paused = true)]
async fn reader_gives_what_the_cache_gives() {
    let source = Fake::always(Step::Grant(60));
    let cache = cache(&source);
    let mut reader = cache.reader();
    let first = reader.get().await.unwrap().clone();
    assert!(cache.get().await.unwrap().is_same(&first));
    assert!(reader.get().await.unwrap().is_same(&first));

    cache.invalidate(&first);
    let second = reader.get().await.unwrap().clone();
    assert!(!second.is_same(&first), "an invalidated token is not lent");

    advance(seconds(40)).await;
    assert!(reader.get().await.unwrap().is_same(&second), "stale: lent");
    settle().await;
    assert!(!reader.get().await.unwrap().is_same(&second), "replaced");

    source.turn(Step::Fail);
    advance(seconds(61)).await;
    reader.get().await.unwrap_err();
}

// === Secrecy ===

#[tokio::test(start_paused = true)]
async fn debug_output_never_contains_token() {
    let source = Fake::always(Step::Grant(60));
    let cache = cache(&source);
    let token = cache.get().await.unwrap();
    assert!(token.authorization().is_sensitive());
    let text = format!("{cache:?} {cache:#?} {token:?} {:?}", token.authorization());
    assert!(!text.contains("s3cret"), "{text}");
    assert!(
        token.expose().contains("s3cret"),
        "the control: the token is what it is"
    );
}
