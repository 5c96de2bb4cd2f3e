//! `mesh schema`: the form of a suite's files, for editors.

use std::process::ExitCode;

use anyhow::Result;
use harness::output::print_line;
use harness::schema::File;

/// Prints the JSON Schema.
pub fn run(file: File) -> Result<ExitCode> {
    print_line(serde_json::to_string_pretty(&file.schema())?)?;
    Ok(ExitCode::SUCCESS)
}
