//! Serving, and stopping without dropping anybody's request.

use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How a stop proceeds.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long to go on accepting while `/readyz` says 503, so that callers
    /// who have not yet heard of the stop still get an answer.
    pub delay: Duration,
    /// How long requests in flight may take after that.
    pub grace: Duration,
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
