//! `mesh mutants`: edits of the rules that the cases have to notice.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use harness::asking::{Asker, report_folder};
use harness::mutant::{Matrix, Mutant, hunt, load};
use harness::output::{print_line, say};
use harness::poll::Timeouts;
use harness::report::phases::Phases;
use harness::rules::Rules;
use harness::suite::{Profile, Suite};
use stages::name::MeshName;

use crate::arguments::SuiteFolder;
use crate::interruption::interruptible;
use crate::place::Place;

/// Edit the rules of a local stage of its own, one edit after the other, and say
/// which cases notice; an edit that none notices, or a case that notices none, fails
#[derive(Debug, Args)]
pub struct Mutants {
    #[command(flatten)]
    pub(crate) suite: SuiteFolder,
    /// Which of the suite's rules are edited [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Name of the local stage, a DNS label
    #[arg(long, default_value = "mutants")]
    name: MeshName,
    /// Only mutants whose name or operator contains this, or matches it as a glob
    #[arg(long)]
    filter: Vec<String>,
    /// The first mutant of each operator
    #[arg(long)]
    short: bool,
}

impl Mutants {
    /// Exit code 0 if all were noticed that could be, else 1.
    pub async fn run(self, suite: &Suite, profile: &Profile) -> Result<ExitCode> {
        let rules = Rules::read(suite, profile)?;
        let mutants = load(suite, &rules, &self.filter, self.short)?;
        let place = Place::local(self.name.clone());
        let begun = interruptible(place.begin(suite, "mesh mutants")).await?;
        let hunted = interruptible(async {
            let (phases, timeouts) = (Phases::default(), Timeouts::default());
            let up = begun.up(suite, &phases, &timeouts).await?;
            let asker = Asker::new(suite, &*up.stage, &timeouts).await?;
            let rules = Rules {
                keys: up.rules.keys.clone(),
                ..rules
            };
            asker.put_in_force(&rules, &phases).await?;
            hunt(&asker, &rules, &mutants).await
        });
        let hunted = Box::pin(hunted).await;
        begun.clear_up(suite, false).await;
        self.judge(&hunted?, &mutants)
    }

    /// Only a run of all mutants says anything of cases that noticed none.
    fn judge(&self, matrix: &Matrix, mutants: &[Mutant]) -> Result<ExitCode> {
        let folder = write(matrix)?;
        say(format!("report:   {}", folder.display()));
        for fate in matrix.survivors() {
            print_line(format!("survived: {}", fate.name))?;
        }
        for fate in matrix.refuted() {
            print_line(format!(
                "not equivalent: {}, by `{}`",
                fate.name, fate.red[0]
            ))?;
        }
        let is_whole = self.filter.is_empty() && !self.short && !mutants.is_empty();
        let idle = if is_whole { matrix.idle() } else { Vec::new() };
        for case in &idle {
            print_line(format!("noticed none: {case}"))?;
        }
        print_line(matrix.in_a_line())?;
        let succeeded = matrix.succeeded() && idle.is_empty();
        Ok(ExitCode::from(u8::from(!succeeded)))
    }
}

/// Writes the matrix into a folder of the run's own.
fn write(matrix: &Matrix) -> Result<PathBuf> {
    let folder = report_folder(&format!("mutants-{}", matrix.profile))?;
    for (name, text) in [
        ("mutants.md", matrix.to_markdown()),
        ("mutants.json", serde_json::to_string_pretty(matrix)?),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder)
}
