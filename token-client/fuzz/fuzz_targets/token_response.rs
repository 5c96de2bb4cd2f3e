//! Whatever a token endpoint answers is a token or a failure, and a token taken
//! in can stand in a header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use token_client::{Policy, SourceError, TokenCache, TokenResponse, TokenSource};

struct Answer(TokenResponse);

impl TokenSource for Answer {
    async fn fetch(&self) -> Result<TokenResponse, SourceError> {
        Ok(self.0.clone())
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
}

fuzz_target!(|body: &[u8]| {
    let Ok(response) = TokenResponse::parse(body) else { return };
    let cache = TokenCache::new(Answer(response), Policy::default());
    if let Ok(token) = RUNTIME.with(|runtime| runtime.block_on(cache.get())) {
        assert!(token.authorization().is_sensitive());
        assert!(token.lifetime() <= Policy::default().max_lifetime);
    }
});
