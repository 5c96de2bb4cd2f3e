//! `mesh secrets`: new realm keys and secrets, printed.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::print_secret;
use harness::suite::Suite;
use stages::{manifest, secrets};

/// Runs the command.
pub fn run(suite: &Suite) -> Result<ExitCode> {
    let objects = secrets::objects(suite, &secrets::generate(suite)?)?;
    print_secret(manifest::to_yaml(&objects))?;
    Ok(ExitCode::SUCCESS)
}
