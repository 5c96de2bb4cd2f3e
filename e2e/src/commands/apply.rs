//! `mesh apply`: edited rules in force, once or with every edit.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::say;
use harness::poll::Timeouts;
use harness::rules::Rules;
use harness::stage::Stage;
use harness::suite::{Profile, Suite};

use crate::interruption::{Interrupted, interruptible};
use crate::place::Place;
use crate::watch;

/// Runs the command.
pub async fn run(suite: &Suite, place: &Place, profile: &Profile, watch: bool) -> Result<ExitCode> {
    let timeouts = Timeouts::default();
    let done = interruptible(async {
        let stage = place.open(suite, &timeouts).await?;
        apply(suite, &*stage, profile).await?;
        if watch {
            follow_edits(suite, &*stage, profile).await?;
        }
        Ok(())
    });
    match done.await {
        Err(error) if watch && error.is::<Interrupted>() => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// Puts the rules in force as they are in the files now.
async fn apply(suite: &Suite, stage: &dyn Stage, profile: &Profile) -> Result<()> {
    let rules = Rules::read(suite, profile)?.with_keys(suite, stage).await?;
    stage.apply(&rules).await?;
    say(format!("rules of profile {} applied", profile.name));
    Ok(())
}

/// Puts rules in force each time that they were edited. Broken ones change
/// nothing, and it is said why.
pub async fn follow_edits(suite: &Suite, stage: &dyn Stage, profile: &Profile) -> Result<()> {
    watch::each_change(&suite.path(&profile.rules), async || {
        if let Err(error) = apply(suite, stage, profile).await {
            say(format!(
                "error: the rules in force stay as they are: {error:#}"
            ));
        }
    })
    .await
}
