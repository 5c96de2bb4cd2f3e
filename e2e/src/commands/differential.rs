//! `mesh differential`: is the model what Envoy does?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use harness::output::{print, print_line};
use harness::workspace;
use indicatif::{ProgressBar, ProgressStyle};
use stages::artifacts;

use crate::arguments::Output;

/// Random policies, tokens and requests to a live Envoy: does it do what
/// `mesh explain` says?
///
/// Exit codes: 0 they agree; 1 they disagree, with the shrunk scene in a file,
/// or the run did not reach what it should; 2 the machine is not ready.
#[derive(Debug, Args)]
pub struct Differential {
    /// How many random calls to make
    #[arg(long, default_value_t = 20_000)]
    cases: usize,
    /// The same seed gives the same scenes [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Scenes that are asked first, and where new ones go
    #[arg(long, value_name = "FOLDER", default_value_os_t = workspace::path("crates/differential/corpus"))]
    corpus: PathBuf,
    /// How to print the result on standard output
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Differential {
    /// Runs it and prints the report.
    pub async fn run(self) -> Result<ExitCode> {
        let differential = differential::Differential {
            cases: self.cases,
            seed: self.seed,
            corpus: self.corpus,
        };
        let envoy = artifacts::envoy().await?;
        let bar = bar(self.cases)?;
        let report = differential
            .report(&envoy, |cases| bar.set_position(cases as u64))
            .await?;
        bar.finish_and_clear();
        match self.output {
            Output::Json => print_line(serde_json::to_string_pretty(&report)?)?,
            Output::Table => print(&report)?,
        }
        Ok(ExitCode::from(u8::from(!report.succeeded())))
    }
}

/// Nothing where standard error is no terminal.
fn bar(cases: usize) -> Result<ProgressBar> {
    let style =
        ProgressStyle::with_template("{wide_bar} {pos}/{len} calls, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(cases as u64).with_style(style))
}
