//! `mesh verify`: a mesh that stands is asked every case of the table.

use std::process::ExitCode;

use anyhow::Result;
use harness::asking::Asker;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::rules::Rules;
use harness::suite::{Profile, Suite};

use crate::arguments::{Ask, exit};
use crate::interruption::interruptible;
use crate::place::Place;

/// Runs the command.
pub async fn run(suite: &Suite, place: &Place, ask: &Ask, profile: &Profile) -> Result<ExitCode> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    let verified = interruptible(async {
        let rules = Rules::read(suite, profile)?;
        let stage = place.open(suite, &timeouts).await?;
        let rules = rules.with_keys(suite, &*stage).await?;
        let asker = Asker::new(suite, &*stage, &timeouts).await?;
        let run = ask.verify(&asker, &rules, &phases).await?;
        Ok(exit(&[run]))
    });
    Box::pin(verified).await
}
