//! A task's own view of a cache.

use std::{fmt, ops::Deref, sync::Arc};

use arc_swap::{ArcSwapOption, Cache};

use crate::{Token, TokenCache, TokenError, token::Issued};

/// A view of a [`TokenCache`] for one task that reads it over and over.
///
/// Gives the same tokens at the same moments as [`TokenCache::get`]. It keeps
/// the last one, so that a fresh read writes to no memory at all, and lends it,
/// which a clone or a guard could not do for so little. A token that another
/// has replaced stays in memory until the next read.
pub struct TokenReader {
    cache: TokenCache,
    current: Cache<Slot, Option<Arc<Issued>>>,
    token: Option<Token>,
}

struct Slot(TokenCache);

impl Deref for Slot {
    type Target = ArcSwapOption<Issued>;

    fn deref(&self) -> &Self::Target {
        self.0.slot()
    }
}

impl TokenReader {
    pub(crate) fn new(cache: TokenCache) -> Self {
        Self {
            current: Cache::new(Slot(cache.clone())),
            cache,
            token: None,
        }
    }

    /// A token that is alive now; see [`TokenCache::get`].
    pub async fn get(&mut self) -> Result<&Token, TokenError> {
        if !self.keeps_a_fresh_token() {
            self.token = Some(self.cache.get().await?.kept());
        }
        Ok(self
            .token
            .as_ref()
            .expect("must be there: if not before, then now"))
    }

    #[inline]
    fn keeps_a_fresh_token(&mut self) -> bool {
        let Some(token) = &self.token else {
            return false;
        };
        let current = self.current.load().as_ref();
        current.is_some_and(|current| Arc::ptr_eq(current, token.issued()))
            && token.issued().is_fresh(self.cache.clock())
    }
}

impl fmt::Debug for TokenReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenReader").field(&self.cache).finish()
    }
}
