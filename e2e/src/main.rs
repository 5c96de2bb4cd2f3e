//! `mesh`: see `mesh --help`.

use std::process::ExitCode;

use clap::Parser;
use e2e::cli::Cli;
use harness::output::{Stderr, say};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(|| Stderr)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .init();
    match Box::pin(Cli::parse().run()).await {
        Ok(code) => code,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}
