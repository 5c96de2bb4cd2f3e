//! `report.json`: the run as it is, for programs.

use serde_json::json;

use super::Run;
use crate::redact::redact;

/// The run as JSON, with its tally.
pub fn render(run: &Run) -> serde_json::Result<String> {
    let mut report = serde_json::to_value(run)?;
    report["tally"] = json!(run.tally());
    report["succeeded"] = json!(run.succeeded());
    Ok(redact(&serde_json::to_string_pretty(&report)?) + "\n")
}
