//! `mesh demo`: up without Docker, the whole table, and then it stays.

use std::process::ExitCode;

use anyhow::Result;
use harness::case::Profile;
use harness::report::phases::Phases;
use harness::workspace;
use stages::AnyStage;
use stages::local::LocalStage;

use super::apply::apply;
use crate::arguments::{Ask, exit};
use crate::interruption::{Interrupted, interruptible};
use crate::place::{Place, clear_up};
use crate::watch;

/// Runs the command.
pub async fn run(name: String, ask: &Ask) -> Result<ExitCode> {
    let phases = Phases::default();
    let place = Place::local(name);
    place.check().await?;
    let outcome = interruptible(async {
        let (stage, _) = place.up(&phases).await?;
        let run = ask.verify(&stage, Profile::Full, &phases).await?;
        eprintln!("{:>7.1} s  all of it", phases.total().as_secs_f64());
        Ok((stage, run))
    })
    .await;
    let outcome = match outcome {
        Ok((AnyStage::Local(stage), run)) => stand(&stage).await.map(|()| exit(&[run])),
        Ok((AnyStage::Kubernetes(_), _)) => unreachable!("the place is local"),
        Err(error) => Err(error),
    };
    clear_up(&place, false).await;
    outcome
}

/// Follows edits of the rules until Ctrl-C, which is how a demo ends.
async fn stand(stage: &LocalStage) -> Result<()> {
    stage.introduce();
    let policy = workspace::path("manifests/policy");
    let stood = interruptible(async {
        tokio::select! {
            watched = watch::each_change(&policy, || apply(stage, Profile::Full)) => watched,
            died = stage.until_a_process_ends() => died,
        }
    });
    match stood.await {
        Err(error) if error.is::<Interrupted>() => Ok(()),
        other => other,
    }
}
