//! The command line of `mesh`.

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Parser, Subcommand};
use harness::schema::File;
use harness::suite::{Profile, Suite};
use stages::name::MeshName;
use strum::VariantNames;

use crate::arguments::{Ask, SuiteFolder};
use crate::commands::attacks::Attacks;
use crate::commands::differential::Differential;
use crate::commands::explain::Explain;
use crate::commands::mutants::Mutants;
use crate::commands::translate::Translate;
use crate::commands::{apply, check, demo, doctor, down, e2e, schema, secrets, up, verify};
use crate::interruption::interruptible;
use crate::place::Place;

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
    /// and follows edits of the rules
    Demo {
        #[command(flatten)]
        suite: SuiteFolder,
        /// Name of the local stage, a DNS label; two with different names may run
        /// side by side
        #[arg(long, default_value = MeshName::USUAL)]
        name: MeshName,
        #[command(flatten)]
        ask: Ask,
    },
    /// Mesh up, the whole table under each profile, mesh down again
    E2e {
        #[command(flatten)]
        suite: SuiteFolder,
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
        suite: SuiteFolder,
        #[command(flatten)]
        place: Place,
        /// Leave what is there when something fails
        #[arg(long)]
        keep: bool,
    },
    /// Ask a mesh that stands every case of the table
    Verify {
        #[command(flatten)]
        suite: SuiteFolder,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        ask: Ask,
        /// The rules that are expected to be in force [default: the suite's first]
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
    },
    /// Put the rules in force, as they are in the files now
    Apply {
        #[command(flatten)]
        suite: SuiteFolder,
        #[command(flatten)]
        place: Place,
        /// Which of the rules [default: the suite's first]
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        /// Go on with every edit, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Remove what `up` made, and nothing else
    Down {
        #[command(flatten)]
        suite: SuiteFolder,
        #[command(flatten)]
        place: Place,
        /// Every mesh that `up` made and nobody works with: local stages of any
        /// checkout, and kind clusters
        #[arg(long, conflicts_with_all = ["stage", "name", "context"])]
        all: bool,
    },
    Explain(Box<Explain>),
    Translate(Translate),
    Differential(Differential),
    Attacks(Attacks),
    Mutants(Mutants),
    /// Say what this machine lacks, each with the command that fixes it
    Doctor,
    /// Print new realm keys and secrets as Kubernetes Secrets, for `kubectl apply -f -`
    Secrets {
        #[command(flatten)]
        suite: SuiteFolder,
    },
    /// Print the JSON Schema of a suite's files, for editors
    Schema {
        /// Which kind of file
        #[arg(value_parser = PossibleValuesParser::new(<File as VariantNames>::VARIANTS)
            .try_map(|name| name.parse::<File>()))]
        file: File,
    },
    /// Say what is wrong with a suite, with file and line; nothing is started
    Check {
        #[command(flatten)]
        suite: SuiteFolder,
    },
}

impl Cli {
    /// Runs the command. Errors mean exit code 2.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Demo { suite, name, ask } => demo::run(&suite.load()?, name, &ask).await,
            Command::E2e {
                suite,
                place,
                ask,
                keep,
            } => e2e::run(&suite.load()?, &place, &ask, keep).await,
            Command::Up { suite, place, keep } => up::run(&suite.load()?, &place, keep).await,
            Command::Verify {
                suite,
                place,
                ask,
                profile,
            } => {
                let suite = suite.load()?;
                verify::run(&suite, &place, &ask, named(&suite, profile.as_deref())?).await
            }
            Command::Apply {
                suite,
                place,
                profile,
                watch,
            } => {
                let suite = suite.load()?;
                apply::run(&suite, &place, named(&suite, profile.as_deref())?, watch).await
            }
            Command::Down { all: true, .. } => down::run_all().await,
            Command::Down { suite, place, .. } => down::run(&suite, &place).await,
            Command::Explain(question) if question.needs_stage() => {
                interruptible(question.run_on_stage()).await
            }
            Command::Explain(question) => question.run(),
            Command::Translate(question) => question.run(),
            Command::Differential(question) => interruptible(question.run()).await,
            Command::Attacks(attacks) => interruptible(attacks.run()).await,
            Command::Mutants(mutants) => {
                let suite = mutants.suite.load()?;
                let profile = named(&suite, mutants.profile.as_deref())?;
                mutants.run(&suite, profile).await
            }
            Command::Doctor => doctor::run().await,
            Command::Secrets { suite } => secrets::run(&suite.load()?),
            Command::Schema { file } => schema::run(file),
            Command::Check { suite } => check::run(&suite.load()?),
        }
    }
}

/// The profile that the user named, or the usual one.
fn named<'a>(suite: &'a Suite, profile: Option<&str>) -> Result<&'a Profile> {
    Ok(match profile {
        Some(name) => suite.profile(name)?,
        None => suite.usual_profile(),
    })
}
