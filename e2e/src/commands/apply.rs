//! `mesh apply`: edited rules in force, once or with every edit.

use std::process::ExitCode;

use anyhow::Result;
use harness::case::Profile;
use harness::stage::Stage;
use harness::workspace;

use crate::interruption::{Interrupted, interruptible};
use crate::place::Place;
use crate::watch;

/// Runs the command.
pub async fn run(place: &Place, profile: Profile, watch: bool) -> Result<ExitCode> {
    let done = interruptible(async {
        let stage = place.open().await?;
        stage.apply_policy(profile).await?;
        eprintln!("rules of profile {profile} applied");
        if watch {
            let policy = workspace::path("manifests/policy");
            watch::each_change(&policy, || apply(&stage, profile)).await?;
        }
        Ok(())
    });
    match done.await {
        Err(error) if watch && error.is::<Interrupted>() => Ok(ExitCode::SUCCESS),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// Puts edited rules in force. Broken ones change nothing, and it is said why.
pub async fn apply(stage: &impl Stage, profile: Profile) {
    match stage.apply_policy(profile).await {
        Ok(()) => eprintln!("rules of profile {profile} applied"),
        Err(error) => eprintln!("error: the rules in force stay as they are: {error:#}"),
    }
}
