//! A fresh token, read by 1, 2 and 8 tasks at once.
//!
//! The time is that of one read on one core: wall time, times the cores in
//! use, by the number of reads. A cache without contention shows the same for
//! any number of tasks.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures::future::join_all;
use token_client_bench::{Aliri, Azure, Google, Ours, OursLent, Peer, PlainMutex};
use tokio::{runtime::Runtime, time::Instant};

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

async fn reads<P: Peer>(peer: P, tasks: usize, each: u64) -> Duration {
    let started = Instant::now();
    join_all((0..tasks).map(|_| {
        let mut peer = peer.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                black_box(peer.read().await);
            }
        })
    }))
    .await;
    started
        .elapsed()
        .mul_f64(cores().min(tasks) as f64 / tasks as f64)
}

fn measure<P: Peer>(criterion: &mut Criterion, runtime: &Runtime, name: &str, mut peer: P) {
    runtime.block_on(peer.read());
    let mut group = criterion.benchmark_group("fresh_read");
    for tasks in [1, 2, 8] {
        group.bench_function(BenchmarkId::new(name, tasks), |bencher| {
            bencher
                .to_async(runtime)
                .iter_custom(|each| reads(peer.clone(), tasks, each));
        });
    }
}

fn fresh_read(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime must start");
    measure(criterion, &runtime, "token-client", Ours::cold());
    measure(criterion, &runtime, "token-client-reader", OursLent::cold());
    measure(
        criterion,
        &runtime,
        "aliri_tokens",
        runtime.block_on(Aliri::warm()),
    );
    measure(
        criterion,
        &runtime,
        "google-cloud-auth",
        runtime.block_on(Google::cold()),
    );
    measure(criterion, &runtime, "azure_identity", Azure::cold());
    measure(criterion, &runtime, "mutex", PlainMutex::default());
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(3));
    targets = fresh_read
}
criterion_main!(benches);
