//! `mesh demo`: up without Docker, the whole table, and then it stays.

use std::process::ExitCode;

use anyhow::Result;
use harness::asking::Asker;
use harness::output::say;
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::stage::Stage;
use harness::suite::{Profile, Suite};
use stages::name::MeshName;

use super::apply::follow_edits;
use crate::arguments::{Ask, exit};
use crate::interruption::{Interrupted, interruptible};
use crate::place::Place;

/// Runs the command.
pub async fn run(suite: &Suite, name: MeshName, ask: &Ask) -> Result<ExitCode> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    let place = Place::local(name);
    ask.check(suite, &place)?;
    let begun = interruptible(place.begin(suite, "mesh demo")).await?;
    let outcome = interruptible(async {
        let up = begun.up(suite, &phases, &timeouts).await?;
        let asker = Asker::new(suite, &*up.stage, &timeouts).await?;
        let run = ask.verify(&asker, &up.rules, &phases).await?;
        say(format!(
            "{:>7.1} s  all of it",
            phases.total().as_secs_f64()
        ));
        Ok((up.stage, run))
    });
    let outcome = match Box::pin(outcome).await {
        Ok((stage, run)) => {
            let stood = stand(suite, &*stage).await;
            stood.map(|()| exit(&[run]))
        }
        Err(error) => Err(error),
    };
    begun.clear_up(suite, false).await;
    outcome
}

/// Follows edits of the rules until Ctrl-C, which is how a demo ends.
async fn stand(suite: &Suite, stage: &dyn Stage) -> Result<()> {
    let profile: &Profile = suite.usual_profile();
    say(format!("\n{}", stage.introduction().trim_end()));
    say("edits of the rules take effect at once; Ctrl-C ends it all");
    let stood = interruptible(async {
        tokio::select! {
            watched = follow_edits(suite, stage, profile) => watched,
            died = stage.until_it_breaks() => died,
        }
    });
    match stood.await {
        Err(error) if error.is::<Interrupted>() => Ok(()),
        other => other,
    }
}
