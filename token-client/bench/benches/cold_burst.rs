//! 10,000 tasks that all ask an empty cache, whose endpoint takes a millisecond.
//!
//! `aliri_tokens` is not here: its cache exists only once it has a token.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::future::join_all;
use token_client_bench::{Azure, Ours, Peer, PlainMutex};
use tokio::{runtime::Runtime, time::Instant};

const CALLERS: usize = 10_000;

async fn burst<P: Peer>(cold: P) -> Duration {
    let started = Instant::now();
    join_all((0..CALLERS).map(|_| {
        let mut peer = cold.clone();
        tokio::spawn(async move { peer.read().await })
    }))
    .await;
    started.elapsed()
}

fn measure<P: Peer>(criterion: &mut Criterion, runtime: &Runtime, name: &str, cold: fn() -> P) {
    criterion
        .benchmark_group("cold_burst")
        .bench_function(name, |bencher| {
            bencher.to_async(runtime).iter_custom(async |times| {
                let mut total = Duration::ZERO;
                for _ in 0..times {
                    total += burst(cold()).await;
                }
                total
            });
        });
}

fn cold_burst(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime must start");
    measure(criterion, &runtime, "token-client", Ours::cold);
    measure(criterion, &runtime, "azure_identity", Azure::cold);
    measure(criterion, &runtime, "mutex", PlainMutex::default);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = cold_burst
}
criterion_main!(benches);
