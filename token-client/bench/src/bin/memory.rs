//! How much heap a cache with one token takes, the token's text aside.

use token_client_bench::{Aliri, Azure, Ours, Peer, PlainMutex, text};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CACHES: usize = 1000;

async fn measure<P: Peer>(name: &str, mut cold: impl AsyncFnMut() -> P) {
    let before = dhat::HeapStats::get().curr_bytes;
    let mut caches = Vec::with_capacity(CACHES);
    for _ in 0..CACHES {
        let mut cache = cold().await;
        cache.read().await;
        caches.push(cache);
    }
    tokio::task::yield_now().await;
    let each = (dhat::HeapStats::get().curr_bytes - before) / CACHES;
    println!("{name:<14} {:>5} bytes", each - text().len());
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    measure("token-client", async || Ours::cold()).await;
    measure("aliri_tokens", Aliri::warm).await;
    measure("azure_identity", async || Azure::cold()).await;
    measure("mutex", async || PlainMutex::default()).await;
}
