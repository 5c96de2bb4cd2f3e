//! The table on the terminal: every row, then each failure with all that was
//! wrong about it.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, Color, ContentArrangement, Table};

use super::{Row, Run};
use crate::redact::redact;
use crate::verdict::Outcome;

/// The widest line of the table, in columns.
pub const WIDTH: u16 = 120;

/// Renders the run for a terminal, with ANSI colours if asked.
pub fn render(run: &Run, colours: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .force_no_tty()
        .set_header([
            "",
            "case",
            "token",
            "from",
            "request",
            "want",
            "got",
            "decided by",
        ]);
    if colours {
        table.enforce_styling();
    }
    for row in &run.rows {
        let (mark, colour) = mark(row);
        let cells = [
            format!("{}: {}", row.provenance, row.token),
            row.caller.to_string(),
            row.request.clone(),
            row.want.clone(),
            row.got.clone(),
            row.decided_by.clone(),
        ];
        let marked = [Cell::new(mark).fg(colour), Cell::new(&row.name)];
        table.add_row(marked.into_iter().chain(cells.into_iter().map(Cell::new)));
    }
    let mut text = format!("{table}\n");
    for row in run.failures() {
        write_failure(&mut text, row).expect("writing to a string cannot fail");
    }
    for row in &run.rows {
        if let Outcome::Skipped { reason } = &row.outcome {
            text.push_str(&format!("\nskipped: {}: {reason}\n", row.name));
        }
    }
    text.push_str(&format!("\n{}\n", run.summary()));
    redact(&text)
}

fn mark(row: &Row) -> (&'static str, Color) {
    match row.outcome {
        Outcome::Passed => ("✓", Color::Green),
        Outcome::Failed { .. } => ("✗", Color::Red),
        Outcome::Skipped { .. } => ("-", Color::Yellow),
    }
}

fn write_failure(text: &mut String, row: &Row) -> std::fmt::Result {
    writeln!(text, "\nfailed: {}", row.name)?;
    if let Some(why) = &row.why {
        writeln!(text, "  why it should hold: {why}")?;
    }
    if let Outcome::Failed { mismatches } = &row.outcome {
        for mismatch in mismatches {
            writeln!(text, "  {}", mismatch.about)?;
            writeln!(text, "    want: {}", mismatch.want)?;
            writeln!(text, "    got:  {}", mismatch.got)?;
        }
    }
    if let Some(details) = &row.details {
        writeln!(text, "  the proxy's log: {details}")?;
    }
    if let Some(id) = &row.request_id {
        writeln!(text, "  request id: {id}")?;
    }
    writeln!(text, "  again: {}", row.rerun)
}
