//! `mesh verify`: a mesh that stands is asked every case of the table.

use std::process::ExitCode;

use anyhow::Result;
use harness::case::Profile;
use harness::report::phases::Phases;
use harness::run::load_cases;

use crate::arguments::{Ask, exit};
use crate::interruption::interruptible;
use crate::place::Place;

/// Runs the command.
pub async fn run(place: &Place, ask: &Ask, profile: Profile) -> Result<ExitCode> {
    let phases = Phases::default();
    interruptible(async {
        load_cases()?;
        let stage = place.open().await?;
        let run = ask.verify(&stage, profile, &phases).await?;
        Ok(exit(&[run]))
    })
    .await
}
