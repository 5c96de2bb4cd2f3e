//! `report.json`: the run as it is, for programs.

use serde::Serialize;

use super::{Run, Tally};

#[derive(Serialize)]
struct Report<'a> {
    succeeded: bool,
    judged: usize,
    tally: Tally,
    #[serde(flatten)]
    run: &'a Run,
}

/// The run as JSON, with its tally.
pub fn render(run: &Run) -> serde_json::Result<String> {
    let run = &run.redacted();
    let report = Report {
        succeeded: run.succeeded(),
        judged: run.tally().judged(),
        tally: run.tally(),
        run,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}
