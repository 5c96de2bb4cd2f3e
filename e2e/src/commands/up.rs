//! `mesh up`: a mesh that stands.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::say;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::suite::Suite;

use crate::interruption::interruptible;
use crate::place::Place;

/// Runs the command.
pub async fn run(suite: &Suite, place: &Place, keep: bool) -> Result<ExitCode> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    let begun = interruptible(place.begin(suite, "mesh up")).await?;
    let outcome = interruptible(async {
        let up = begun.up(suite, &phases, &timeouts).await?;
        Ok((up.in_force, up.stage.place()))
    });
    let outcome = Box::pin(outcome).await;
    begun.clear_up(suite, outcome.is_ok() || keep).await;
    let (in_force, place) = outcome?;
    if in_force {
        return Ok(ExitCode::SUCCESS);
    }
    say(format!("`mesh verify {place}` says which rows differ"));
    Ok(ExitCode::from(1))
}
