//! Markdown for `GITHUB_STEP_SUMMARY`: failures first, then the whole table.

use std::fmt::{self, Display, Formatter};

use super::{Row, Run};
use crate::verdict::Outcome;

/// GitHub refuses a step summary over 1 MiB; this leaves room for others that
/// write to the same summary.
pub const MAX_BYTES: usize = 900 * 1024;

/// The run as Markdown, cut at [`MAX_BYTES`] with a remark that says so.
pub fn render(run: &Run) -> String {
    truncate(Markdown(&run.redacted()).to_string(), MAX_BYTES)
}

struct Markdown<'a>(&'a Run);

impl Display for Markdown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let run = self.0;
        let mark = if run.succeeded() { "✅" } else { "❌" };
        writeln!(f, "## {mark} mesh-oidc: {}\n", run.summary())?;
        write!(f, "Stage `{}`, rules `{}`", run.stage, run.profile)?;
        for (name, version) in &run.versions {
            write!(f, ", {name} {version}")?;
        }
        writeln!(f, ".\n")?;

        for row in run.failures() {
            write_failure(f, row)?;
        }

        if let Some(inconclusive) = run.inconclusive() {
            writeln!(f, "{}.\n", escape(&inconclusive))?;
        }

        writeln!(f, "| | case | token | request | want | got | decided by |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for row in &run.rows {
            let mark = match row.outcome {
                Outcome::Passed => "✅",
                Outcome::Failed { .. } => "❌",
                Outcome::Inconclusive { .. } => "❔",
                Outcome::Skipped { .. } => "⏭️",
            };
            let cells = [
                row.name.clone(),
                row.token.clone(),
                row.request_and_caller(),
                row.want.clone(),
                row.got.clone(),
                row.decided_by.clone(),
            ];
            writeln!(
                f,
                "| {mark} | {} |",
                cells.map(|cell| escape(&cell)).join(" | ")
            )?;
        }
        for row in &run.rows {
            if let Outcome::Skipped { reason } = &row.outcome {
                writeln!(
                    f,
                    "\nSkipped: **{}**: {}",
                    escape(&row.name),
                    escape(reason)
                )?;
            }
        }

        if !run.phases.is_empty() {
            writeln!(f, "\n| phase | seconds |\n|---|---:|")?;
            for phase in &run.phases {
                writeln!(f, "| {} | {:.1} |", escape(&phase.name), phase.seconds)?;
            }
        }
        Ok(())
    }
}

fn write_failure(f: &mut Formatter<'_>, row: &Row) -> fmt::Result {
    writeln!(f, "### ❌ {}\n", escape(&row.name))?;
    if let Some(why) = &row.why {
        writeln!(f, "Why it should hold: {}.\n", escape(why))?;
    }
    writeln!(f, "| | want | got |\n|---|---|---|")?;
    if let Outcome::Failed { mismatches } = &row.outcome {
        for mismatch in mismatches {
            let cells = [&mismatch.about, &mismatch.want, &mismatch.got];
            writeln!(f, "| {} |", cells.map(|cell| escape(cell)).join(" | "))?;
        }
    }
    if let Some(explained) = &row.explained {
        writeln!(f, "\nExplained: {}.", escape(&explained.in_words()))?;
    }
    if let Some(difference) = row.beginning_of_difference() {
        writeln!(f, "\n```diff\n{difference}\n```")?;
    }
    if let Some(record) = &row.evidence {
        let log = record.in_words().replace('`', "'");
        writeln!(f, "\nThe proxy's log: `{log}`.")?;
    }
    writeln!(f, "\n```sh\n{}\n```\n", row.rerun)
}

/// Keeps a value in its cell and from being read as markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '|' | '*' | '_' | '[' | ']' | '\\' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

fn truncate(mut text: String, limit: usize) -> String {
    const REMARK: &str = "\n\n**Cut here: the whole report is in the artefact `report.json`.**\n";
    if text.len() > limit {
        let mut end = limit - REMARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // Whole lines only, or the remark would end up inside a table's cell.
        end = text[..end].rfind('\n').unwrap_or(0);
        text.truncate(end);
        text.push_str(REMARK);
    }
    text
}
