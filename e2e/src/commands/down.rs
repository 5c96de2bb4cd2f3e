//! `mesh down`: what `up` made is removed.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::{print_line, say};

use crate::arguments::SuiteFolder;
use crate::place::{Place, down_all};

/// Runs the command.
pub async fn run(suite: &SuiteFolder, place: &Place) -> Result<ExitCode> {
    print_line(place.down(|| suite.load()).await?)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes every mesh; exit code 2 if one could not be.
pub async fn run_all() -> Result<ExitCode> {
    let done = down_all().await?;
    if done.is_empty() {
        print_line("nothing of ours is there")?;
    }
    let mut code = ExitCode::SUCCESS;
    for done in done {
        match done {
            Ok(done) => print_line(done)?,
            Err(error) => {
                say(format!("error: {error:#}"));
                code = ExitCode::from(2);
            }
        }
    }
    Ok(code)
}
