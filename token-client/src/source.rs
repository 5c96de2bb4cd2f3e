//! Where tokens come from.

use std::{future::Future, pin::Pin};

use crate::{SourceError, TokenResponse};

/// Something that can obtain a token: an OAuth token endpoint
/// ([`OAuthSource`](crate::OAuthSource)), or a fake in a test.
///
/// The cache calls it for one token at a time, bounds it with a timeout and
/// decides when to try again; a source makes a single attempt.
pub trait TokenSource: Send + Sync + 'static {
    /// Obtains a new token.
    fn fetch(&self) -> impl Future<Output = Result<TokenResponse, SourceError>> + Send;
}

/// [`TokenSource`] without its generic return type, so that a cache of any
/// source is one type.
pub(crate) trait DynSource: Send + Sync + 'static {
    fn fetch(&self) -> Fetching<'_>;
}

pub(crate) type Fetching<'a> =
    Pin<Box<dyn Future<Output = Result<TokenResponse, SourceError>> + Send + 'a>>;

impl<S: TokenSource> DynSource for S {
    fn fetch(&self) -> Fetching<'_> {
        Box::pin(TokenSource::fetch(self))
    }
}
