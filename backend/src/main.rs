//! Starts the backend; everything else is in the libraries.

use std::net::SocketAddr;

use clap::Parser;
use service::Drain;

/// The service behind the mesh: holds data and no auth code.
///
/// Logs are JSON lines on stderr; RUST_LOG sets the level (default: info).
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address to listen on
    #[arg(long, env = "BACKEND_ADDR", default_value = "0.0.0.0:8080")]
    addr: SocketAddr,

    #[command(flatten)]
    drain: Drain,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    service::run(args.addr, args.drain, backend::app).await?;
    Ok(())
}
