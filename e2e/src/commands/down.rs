//! `mesh down`: what `up` made is removed.

use std::process::ExitCode;

use anyhow::Result;

use crate::place::Place;

/// Runs the command.
pub async fn run(place: &Place) -> Result<ExitCode> {
    println!("{}", place.down().await?);
    Ok(ExitCode::SUCCESS)
}
