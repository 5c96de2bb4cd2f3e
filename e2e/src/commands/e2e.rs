//! `mesh e2e`: up, the whole table under each profile, down again.

use std::process::ExitCode;

use anyhow::Result;
use harness::asking::Asker;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::rules::Rules;
use harness::suite::Suite;

use crate::arguments::{Ask, exit};
use crate::interruption::interruptible;
use crate::place::Place;

/// Runs the command.
pub async fn run(suite: &Suite, place: &Place, ask: &Ask, keep: bool) -> Result<ExitCode> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    ask.check(suite, place)?;
    let begun = interruptible(place.begin(suite, "mesh e2e")).await?;
    let outcome = interruptible(async {
        let up = begun.up(suite, &phases, &timeouts).await?;
        let asker = Asker::new(suite, &*up.stage, &timeouts).await?;
        let mut runs = vec![ask.verify(&asker, &up.rules, &phases).await?];
        for profile in &suite.profiles[1..] {
            let rules = Rules {
                keys: up.rules.keys.clone(),
                ..Rules::read(suite, profile)?
            };
            asker.put_in_force(&rules, &phases).await?;
            runs.push(ask.verify(&asker, &rules, &phases).await?);
        }
        if keep && runs.len() > 1 {
            asker.put_in_force(&up.rules, &phases).await?;
        }
        Ok(exit(&runs))
    });
    let outcome = Box::pin(outcome).await;
    begun.clear_up(suite, keep).await;
    outcome
}
