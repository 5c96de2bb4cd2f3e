//! The command line of `mesh`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use harness::case::Profile;

use crate::arguments::{Ask, one_of};
use crate::commands::attacks::Attacks;
use crate::commands::differential::Differential;
use crate::commands::explain::Explain;
use crate::commands::translate::Translate;
use crate::commands::{apply, demo, doctor, down, e2e, secrets, up, verify};
use crate::interruption::interruptible;
use crate::place::{NAME, Place};

/// Brings a mesh of Istio and Keycloak up and proves, request by request, who
/// is let through to a service and which filter decided.
///
/// Exit codes: 0 all as expected; 1 a verdict differs; 2 the machine or the
/// mesh is not ready, with the fix.
#[derive(Debug, Parser)]
#[command(name = "mesh", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mesh up without Docker, the whole table; then it stays, until Ctrl-C,
    /// and follows edits of manifests/policy
    Demo {
        /// Name of the local stage; two with different names may run side by side
        #[arg(long, default_value = NAME)]
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Mesh up, the whole table under both profiles, mesh down again
    E2e {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        ask: Ask,
        /// Leave the mesh standing at the end
        #[arg(long)]
        keep: bool,
    },
    /// Bring the mesh up and leave it standing
    Up {
        #[command(flatten)]
        place: Place,
        /// Leave what is there when something fails
        #[arg(long)]
        keep: bool,
    },
    /// Ask a mesh that stands every case of the table
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        ask: Ask,
        /// The rules that are expected to be in force
        #[arg(long, value_parser = one_of::<Profile>(), default_value_t)]
        profile: Profile,
    },
    /// Put the rules in manifests/policy in force, as they are now
    Apply {
        #[command(flatten)]
        place: Place,
        /// Which of the rules
        #[arg(long, value_parser = one_of::<Profile>(), default_value_t)]
        profile: Profile,
        /// Go on with every edit, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Remove what `up` made, and nothing else
    Down {
        #[command(flatten)]
        place: Place,
    },
    Explain(Box<Explain>),
    Translate(Translate),
    Differential(Differential),
    Attacks(Attacks),
    /// Say what this machine lacks, each with the command that fixes it
    Doctor,
    /// Print new realm keys and secrets as Kubernetes Secrets, for `kubectl apply -f -`
    Secrets,
}

impl Cli {
    /// Runs the command. Errors mean exit code 2.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Demo { name, ask } => demo::run(name, &ask).await,
            Command::E2e { place, ask, keep } => e2e::run(&place, &ask, keep).await,
            Command::Up { place, keep } => up::run(&place, keep).await,
            Command::Verify {
                place,
                ask,
                profile,
            } => verify::run(&place, &ask, profile).await,
            Command::Apply {
                place,
                profile,
                watch,
            } => apply::run(&place, profile, watch).await,
            Command::Down { place } => down::run(&place).await,
            Command::Explain(question) if question.needs_stage() => {
                interruptible(async { question.run_on(&question.place.open().await?).await }).await
            }
            Command::Explain(question) => question.run(),
            Command::Translate(question) => question.run(),
            Command::Differential(question) => interruptible(question.run()).await,
            Command::Attacks(attacks) => interruptible(attacks.run()).await,
            Command::Doctor => doctor::run().await,
            Command::Secrets => secrets::run(),
        }
    }
}
