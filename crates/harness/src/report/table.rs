//! The table on the terminal: every row, then each failure with all that was
//! wrong about it.

use std::fmt::{self, Display, Formatter};

use comfy_table::{
    Cell, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width,
};

use super::{Row, Run};
use crate::verdict::Outcome;

/// The widest line of the table, in columns.
pub const WIDTH: u16 = 120;

/// Columns side by side, a line under their heads.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table of this look, as wide as its content needs and no wider than
/// [`WIDTH`].
pub fn empty<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .force_no_tty()
        .set_header(heads);
    table
}

/// Renders the run for a terminal, with ANSI colours if asked.
pub fn render(run: &Run, colours: bool) -> String {
    let run = &run.redacted();
    Terminal { run, colours }.to_string()
}

/// All about the rows that are not as expected or were not asked, and the tally.
pub fn failures(run: &Run) -> String {
    Failures(&run.redacted()).to_string()
}

struct Failures<'a>(&'a Run);

impl Display for Failures<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for row in self.0.failures() {
            write_failure(f, row)?;
        }
        if let Some(inconclusive) = self.0.inconclusive() {
            writeln!(f, "\n{inconclusive}")?;
        }
        for row in &self.0.rows {
            if let Outcome::Skipped { reason } = &row.outcome {
                writeln!(f, "\nskipped: {}: {reason}", row.name)?;
            }
        }
        writeln!(f, "\n{}", self.0.summary())
    }
}

struct Terminal<'a> {
    run: &'a Run,
    colours: bool,
}

impl Display for Terminal<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", table(self.run, self.colours).trim_fmt())?;
        Failures(self.run).fmt(f)
    }
}

fn table(run: &Run, colours: bool) -> Table {
    let mut table = empty(["", "case", "token", "request", "want", "got", "decided by"]);
    if colours {
        table.enforce_styling();
    }
    for row in &run.rows {
        let (mark, colour) = mark(row);
        let cells = [
            row.name.clone(),
            row.token.clone(),
            broken(&request(row, &run.usual_caller)),
            row.want.clone(),
            got(row).to_owned(),
            row.decided_by.clone(),
        ];
        let marked = [Cell::new(mark).fg(colour)];
        table.add_row(marked.into_iter().chain(cells.into_iter().map(Cell::new)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    // Left to itself the longest query string would make these narrow.
    for (index, least) in [(1, 32), (2, 26), (3, 16), (4, 18), (6, 14)] {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
        }
    }
    table
}

/// Why there was no answer takes too much room; the evidence says it better.
fn got(row: &Row) -> &str {
    match row.got.split_once(':') {
        Some(("no answer", _)) => "none",
        Some((answer, _)) => answer,
        None => &row.got,
    }
}

/// The usual caller goes without saying.
fn request(row: &Row, usual_caller: &str) -> String {
    match row.caller.as_deref() {
        Some(caller) if caller == usual_caller => row.request.clone(),
        _ => row.request_and_caller(),
    }
}

/// A query on lines of its own: no line breaks within a name.
fn broken(request: &str) -> String {
    request
        .replace('?', "\n?")
        .replace('&', "\n&")
        .replace('=', "=\n")
}

fn mark(row: &Row) -> (&'static str, Color) {
    match row.outcome {
        Outcome::Passed => ("✓", Color::Green),
        Outcome::Failed { .. } => ("✗", Color::Red),
        Outcome::Inconclusive { .. } => ("?", Color::Yellow),
        Outcome::Skipped { .. } => ("-", Color::Yellow),
    }
}

fn write_failure(f: &mut Formatter<'_>, row: &Row) -> fmt::Result {
    writeln!(f, "\nfailed: {}", row.name)?;
    if let Some(why) = &row.why {
        writeln!(f, "  why it should hold: {why}")?;
    }
    if let Outcome::Failed { mismatches } = &row.outcome {
        for mismatch in mismatches {
            writeln!(f, "  {}", mismatch.about)?;
            writeln!(f, "    want: {}", mismatch.want)?;
            writeln!(f, "    got:  {}", mismatch.got)?;
        }
    }
    if let Some(explained) = &row.explained {
        writeln!(f, "  explained: {}", explained.in_words())?;
    }
    if let Some(difference) = row.beginning_of_difference() {
        writeln!(f, "    {}", difference.replace('\n', "\n    "))?;
    }
    if let Some(record) = &row.evidence {
        writeln!(f, "  the proxy's log: {}", record.in_words())?;
    }
    if let Some(id) = &row.request_id {
        writeln!(f, "  request id: {id}")?;
    }
    writeln!(f, "  again: {}", row.rerun)
}
