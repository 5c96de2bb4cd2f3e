//! `mesh check`: a suite checked whole, before anything starts.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::print_line;
use harness::rules::Rules;
use harness::suite::Suite;

/// Runs the command: what a suite is refused for was said when it was read, but
/// for what is wrong with its rules.
pub fn run(suite: &Suite) -> Result<ExitCode> {
    for profile in &suite.profiles {
        Rules::read(suite, profile)?;
    }
    print_line(format!(
        "{}: {} cases, {} profiles, {} callers, {} grants: nothing is wrong",
        suite.folder.display(),
        suite.cases.all().len(),
        suite.profiles.len(),
        suite.callers.len(),
        suite.grants.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}
