//! `mesh down`: what `up` made is removed.

use std::process::ExitCode;

use anyhow::Result;
use harness::suite::Suite;

use crate::place::Place;

/// Runs the command.
pub async fn run(suite: &Suite, place: &Place) -> Result<ExitCode> {
    println!("{}", place.down(suite).await?);
    Ok(ExitCode::SUCCESS)
}
