//! Serving, and stopping without dropping anybody's request.

use std::io;
use std::num::ParseIntError;
use std::time::Duration;

use axum::Router;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How a stop proceeds.
#[derive(Args, Clone, Copy, Debug)]
pub struct Drain {
    /// Seconds to keep accepting after SIGTERM, no longer ready
    ///
    /// Callers who have not yet heard of the stop still get an answer.
    #[arg(long = "drain-delay", env = "DRAIN_DELAY", default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    pub delay: Duration,

    /// Seconds that requests in flight may take after that
    #[arg(long = "drain-grace", env = "DRAIN_GRACE", default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    pub grace: Duration,
}

/// Reads an argument in whole seconds.
pub fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

/// A token that SIGTERM or SIGINT cancels. The handlers are in place when this
/// returns: as process 1 of a container, a signal without one would be lost.
pub fn shutdown_on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM received"),
            _ = interrupt.recv() => info!("SIGINT received"),
        }
        token.cancel();
    });
    Ok(shutdown)
}

/// Serves `app` until `shutdown` is cancelled and the requests in flight are
/// answered, or the grace for them is over.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: CancellationToken,
    drain: Drain,
) -> io::Result<()> {
    info!(address = %listener.local_addr()?, "listening");
    let closing = CancellationToken::new();
    let close = {
        let closing = closing.clone();
        async move {
            shutdown.cancelled().await;
            sleep(drain.delay).await;
            closing.cancel();
        }
    };
    let overdue = async {
        closing.cancelled().await;
        sleep(drain.grace).await;
    };
    tokio::select! {
        result = axum::serve(listener, app).with_graceful_shutdown(close) => {
            info!("stopped");
            result
        }
        () = overdue => {
            warn!("stopped with requests in flight: the grace is over");
            Ok(())
        }
    }
}
