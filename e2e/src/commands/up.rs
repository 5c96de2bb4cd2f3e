//! `mesh up`: a mesh that stands.

use std::process::ExitCode;

use anyhow::Result;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::suite::Suite;

use crate::interruption::interruptible;
use crate::place::{Place, clear_up};

/// Runs the command.
pub async fn run(suite: &Suite, place: &Place, keep: bool) -> Result<ExitCode> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    place.check().await?;
    let outcome = interruptible(async {
        let up = place.up(suite, &phases, &timeouts).await?;
        Ok(up.in_force)
    });
    let outcome = Box::pin(outcome).await;
    clear_up(place, suite, outcome.is_ok() || keep).await;
    if outcome? {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("`mesh verify` says which rows differ");
    Ok(ExitCode::from(1))
}
