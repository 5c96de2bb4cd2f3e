//! From start to stop.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::dispatcher::SetGlobalDefaultError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FromEnvError, LevelFilter};

use crate::{Drain, serve, shutdown_on_signal, subscriber};

/// Why a service cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `RUST_LOG` makes no sense.
    #[error("RUST_LOG is not a filter such as `info` or `info,token_client=debug`")]
    Filter(#[from] FromEnvError),
    /// Somebody in this process logs already.
    #[error("the log is taken")]
    Log(#[from] SetGlobalDefaultError),
    /// No handler for SIGTERM or SIGINT.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// The address is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server broke off.
    #[error("cannot go on serving")]
    Serve(#[source] io::Error),
}

/// Logs JSON lines to stderr at the level of `RUST_LOG` (default: info) and
/// serves on `address` until SIGTERM or SIGINT. `app` makes the routes; its
/// argument is cancelled when the stop begins.
pub async fn run(
    address: SocketAddr,
    drain: Drain,
    app: impl FnOnce(CancellationToken) -> Router,
) -> Result<(), StartError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()?;
    tracing::subscriber::set_global_default(subscriber(filter, io::stderr))?;
    let shutdown = shutdown_on_signal().map_err(StartError::Signals)?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })?;
    serve(listener, app(shutdown.clone()), shutdown, drain)
        .await
        .map_err(StartError::Serve)
}
