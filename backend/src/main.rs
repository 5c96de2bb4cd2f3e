//! Starts the backend; everything else is in the library.

use std::io;
use std::net::SocketAddr;
use std::num::ParseIntError;
use std::time::Duration;

use anyhow::Context;
use backend::{Drain, app, serve, shutdown_on_signal, subscriber};
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The service behind the mesh: holds data and no auth code.
///
/// Logs are JSON lines on stderr; RUST_LOG sets the level (default: info).
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on
    #[arg(long, env = "BACKEND_ADDR", default_value = "0.0.0.0:8080")]
    addr: SocketAddr,

    /// Seconds to keep accepting after SIGTERM, no longer ready
    #[arg(long, env, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    drain_delay: Duration,

    /// Seconds that requests in flight may take after that
    #[arg(long, env, default_value = "10", value_name = "SECONDS", value_parser = seconds)]
    drain_grace: Duration,
}

fn seconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG is not a filter such as `info` or `info,backend=debug`")?;
    tracing::subscriber::set_global_default(subscriber(filter, io::stderr))?;

    let shutdown = shutdown_on_signal().context("cannot handle signals")?;
    let listener = TcpListener::bind(args.addr)
        .await
        .with_context(|| format!("cannot listen on {}", args.addr))?;
    let drain = Drain {
        delay: args.drain_delay,
        grace: args.drain_grace,
    };
    serve(listener, app(shutdown.clone()), shutdown, drain).await?;
    Ok(())
}
