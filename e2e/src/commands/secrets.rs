//! `mesh secrets`: new realm keys and secrets, printed.

use std::process::ExitCode;

use anyhow::Result;
use harness::secrets::RealmSecrets;
use stages::{manifest, secrets};

/// Runs the command.
pub fn run() -> Result<ExitCode> {
    let objects = secrets::objects(&RealmSecrets::generate()?)?;
    print!("{}", manifest::to_yaml(&objects));
    Ok(ExitCode::SUCCESS)
}
