//! `mesh up`: a mesh that stands.

use std::process::ExitCode;

use anyhow::Result;
use harness::report::phases::Phases;

use crate::interruption::interruptible;
use crate::place::{Place, clear_up};

/// Runs the command.
pub async fn run(place: &Place, keep: bool) -> Result<ExitCode> {
    let phases = Phases::default();
    place.check().await?;
    let outcome = interruptible(async { Ok(place.up(&phases).await?.1) }).await;
    clear_up(place, outcome.is_ok() || keep).await;
    if outcome? {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("`mesh verify` says which rows differ");
    Ok(ExitCode::from(1))
}
