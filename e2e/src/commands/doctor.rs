//! `mesh doctor`: what this machine lacks.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::print_line;
use stages::doctor;

/// Runs the command.
pub async fn run() -> Result<ExitCode> {
    let mut checks = doctor::local_stage().await;
    checks.extend(doctor::kind_stage().await);
    for check in &checks {
        match &check.found {
            Ok(found) => print_line(format!("ok       {:<14} {found}", check.need))?,
            Err(trouble) => {
                print_line(format!("missing  {:<14} {}", check.need, trouble.what()))?;
                print_line(format!("         {:<14} fix: {}", "", trouble.fix()))?;
            }
        }
    }
    Ok(if checks.iter().all(|check| check.found.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}
