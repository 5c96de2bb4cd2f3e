//! Arguments that several commands take.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use harness::asking::Asker;
use harness::asking::selection::Selection;
use harness::output::print_line;
use harness::report::phases::Phases;
use harness::report::{self, Run};
use harness::rules::Rules;
use harness::suite::{self, Suite};
use harness::trouble::Trouble;
use harness::workspace;

use crate::place::Place;

/// Which suite.
#[derive(Debug, Args)]
pub struct SuiteFolder {
    /// The folder of the suite, which has a `suite.yaml` [default: the project's
    /// own, `e2e` in the checkout that this folder is in]
    #[arg(long = "suite", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl SuiteFolder {
    /// Reads the suite, and fails with all that is wrong with it.
    pub fn load(&self) -> Result<Suite> {
        match self.find() {
            Some(folder) => Ok(Suite::load(&folder)?),
            None => bail!(Trouble::new(
                "there is no suite in or above this folder",
                format!("name the folder of a {} with --suite DIR", suite::FILE),
            )),
        }
    }

    /// Where the suite is, if one was named or there is one by default.
    pub fn find(&self) -> Option<PathBuf> {
        let own = || {
            let own = workspace::path("e2e");
            own.join(suite::FILE).exists().then_some(own)
        };
        self.folder.clone().or_else(own)
    }
}

/// What to ask and how to report.
#[derive(Debug, Args)]
pub struct Ask {
    /// Only cases and checks whose name contains this, or matches it as a
    /// glob; the cases' positive controls come along
    #[arg(long)]
    filter: Vec<String>,
    /// How to print the result on standard output
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The form of the result on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// report.json
    Json,
}

impl Ask {
    /// Fails where nothing would be asked, before there is a mesh to ask.
    pub fn check(&self, suite: &Suite, place: &Place) -> Result<()> {
        Selection::new(suite, place.stage(), &self.filter)?;
        Ok(())
    }

    /// Asks a mesh that stands, and shows what came of it.
    pub async fn verify(&self, asker: &Asker<'_>, rules: &Rules, phases: &Phases) -> Result<Run> {
        let run = asker.verify(rules, &self.filter, phases).await?;
        let text = match self.output {
            Output::Json => report::json::render(&run)?,
            Output::Table => report::table::render(&run, report::colours()),
        };
        print_line(text.trim_end())?;
        Ok(run)
    }
}

/// 0 if every run succeeded, else 1.
pub fn exit(runs: &[Run]) -> ExitCode {
    ExitCode::from(u8::from(!runs.iter().all(Run::succeeded)))
}
