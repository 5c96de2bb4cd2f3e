//! `mesh attacks`: hostile requests to a mesh that stands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use harness::asking::{Asker, write_reports};
use harness::attack::{Selection, fire};
use harness::output::{print_line, say};
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::report::{self, Row, Run, Tally};

use crate::arguments::{Output, SuiteFolder, exit};
use crate::place::Place;

/// Send hostile requests to a mesh that stands, and judge each by three
/// witnesses: the answer, the proxy's log and the application's own
#[derive(Debug, Args)]
pub struct Attacks {
    #[command(flatten)]
    suite: SuiteFolder,
    #[command(flatten)]
    place: Place,
    /// Only attacks whose name or class contains this, or matches it as a glob;
    /// the controls come along
    #[arg(long)]
    filter: Vec<String>,
    /// One attack of each group
    #[arg(long)]
    short: bool,
    /// Another folder of attacks [default: the suite's own]
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// How to print the result on standard output
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Attacks {
    /// Exit code 0 if every attack came out as it must, 1 if one did not.
    pub async fn run(self) -> Result<ExitCode> {
        let suite = self.suite.load()?;
        let selection = Selection {
            filters: self.filter.clone(),
            short: self.short,
            corpus: self.corpus.clone(),
        };
        let (phases, timeouts) = (Phases::default(), Timeouts::default());
        let stage = self.place.open(&suite, &timeouts).await?;
        let asker = Asker::new(&suite, &*stage, &timeouts).await?;
        let mut run = Box::pin(fire(&asker, &selection, &phases)).await?;
        let folder = write_reports(&mut run)?;
        say(format!("report:   {}", folder.display()));
        self.show(&run)?;
        Ok(exit(&[run]))
    }

    fn show(&self, run: &Run) -> Result<()> {
        let text = match self.output {
            Output::Json => report::json::render(run)?,
            Output::Table => classes(run) + &report::table::failures(run),
        };
        print_line(text.trim_end())
    }
}

/// How many attacks of each class came out how.
fn classes(run: &Run) -> String {
    let mut classes = BTreeMap::<&str, Vec<&Row>>::new();
    for row in &run.rows {
        classes.entry(&row.family).or_default().push(row);
    }
    let mut table =
        report::table::empty(["class", "attacks", "as they must", "not so", "not sent"]);
    for (class, rows) in classes {
        let Tally {
            passed,
            failed,
            skipped,
            ..
        } = Tally::of(rows.iter().copied());
        let counts = [rows.len(), passed, failed, skipped].map(|count| count.to_string());
        table.add_row([class.to_owned()].into_iter().chain(counts));
    }
    format!("{}\n", table.trim_fmt())
}
