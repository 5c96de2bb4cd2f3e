//! `mesh e2e`: up, the whole table under both profiles, down again.

use std::process::ExitCode;

use anyhow::Result;
use harness::case::Profile;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::run;

use crate::arguments::{Ask, exit};
use crate::interruption::interruptible;
use crate::place::{Place, clear_up};

/// Runs the command.
pub async fn run(place: &Place, ask: &Ask, keep: bool) -> Result<ExitCode> {
    let phases = Phases::default();
    place.check().await?;
    let outcome = interruptible(async {
        let (stage, _) = place.up(&phases).await?;
        let full = ask.verify(&stage, Profile::Full, &phases).await?;
        run::put_in_force(&stage, Profile::Stock, &phases, &Timeouts::default()).await?;
        let stock = ask.verify(&stage, Profile::Stock, &phases).await?;
        if keep {
            run::put_in_force(&stage, Profile::Full, &phases, &Timeouts::default()).await?;
        }
        Ok(exit(&[full, stock]))
    })
    .await;
    clear_up(place, keep).await;
    outcome
}
