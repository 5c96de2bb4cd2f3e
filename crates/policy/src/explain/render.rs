//! The answer as text for one screen.

use std::fmt::Write;

use super::{Arrival, Check, Explanation, NearMiss, Outcome, Passed, Verdict};

/// How an explanation is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether to use ANSI colours.
    pub colour: bool,
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD: &str = "1";
const DIM: &str = "2";

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn mark(self, passed: Passed) -> String {
        match passed {
            Passed::Yes => self.paint(GREEN, "✓"),
            Passed::No => self.paint(RED, "✗"),
            Passed::Unknown => self.paint(YELLOW, "?"),
        }
    }
}

impl Explanation {
    /// The answer as plain text, with colours if the style says so.
    pub fn render(&self, style: Style) -> String {
        let mut text = String::new();
        self.write(&mut text, style);
        text
    }

    fn write(&self, out: &mut String, style: Style) {
        let (word, colour) = match self.verdict {
            Verdict::Allowed => ("ALLOWED", GREEN),
            Verdict::Refused => ("REFUSED", RED),
            Verdict::Unknown => ("UNKNOWN", YELLOW),
        };
        let headline = match &self.outcome {
            Some(outcome) => headline(outcome),
            None if self.missing.is_empty() => String::new(),
            None if self.verdict == Verdict::Unknown => {
                format!("it depends on: {}", self.missing.join("; "))
            }
            None => format!("in any case; how depends on: {}", self.missing.join("; ")),
        };
        line(
            out,
            &format!(
                "{} {headline}",
                style.paint(&format!("{BOLD};{colour}"), word)
            ),
        );
        match &self.outcome {
            Some(outcome) => reply(out, outcome, style),
            None => {
                for outcome in &self.possible {
                    line(out, &format!("  possible: {}", headline_of(outcome)));
                }
            }
        }

        if let Some(arrival) = &self.arrival {
            write_arrival(out, arrival, style);
        }

        line(out, "");
        for step in &self.steps {
            line(
                out,
                &format!(
                    "{} {}: {}",
                    style.mark(step.passed),
                    step.filter,
                    step.summary
                ),
            );
            for check in step
                .checks
                .iter()
                .filter(|check| check.passed != Passed::Yes)
            {
                write_check(out, check, style);
            }
            let passed: Vec<_> = step
                .checks
                .iter()
                .filter(|check| check.passed == Passed::Yes)
                .map(|check| check.what.as_str())
                .collect();
            if !passed.is_empty() {
                line(
                    out,
                    &style.paint(DIM, &format!("     passed: {}", passed.join(", "))),
                );
            }
        }
        for near in &self.nearest {
            line(out, "");
            write_near(out, near, style);
        }
        for finding in &self.findings {
            line(out, "");
            let head = format!("{} {}", finding.code, finding.title);
            line(out, &style.paint(YELLOW, &head));
            line(out, &format!("  {}", finding.message));
            for (side, fix) in [("Keycloak", &finding.keycloak), ("Istio", &finding.istio)] {
                if let Some(fix) = fix {
                    line(out, &format!("  fix in {side}: {fix}"));
                }
            }
        }
        if !self.assumptions.is_empty() {
            line(out, "");
            let text = format!("assumed: {}", self.assumptions.join("; "));
            line(out, &style.paint(DIM, &text));
        }
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn headline(outcome: &Outcome) -> String {
    match outcome.status {
        Some(status) => match outcome.grpc_status {
            None => format!("{status} by {}", outcome.filter),
            Some(grpc) => format!("{status} with grpc-status {grpc} by {}", outcome.filter),
        },
        None if outcome.allowed => "the request reaches the workload".to_owned(),
        None => format!("by {}: {}", outcome.filter, outcome.reason),
    }
}

fn headline_of(outcome: &Outcome) -> String {
    match outcome.status {
        Some(_) if !outcome.reason.is_empty() => {
            format!("{}: {}", headline(outcome), outcome.reason)
        }
        _ => headline(outcome),
    }
}

fn reply(out: &mut String, outcome: &Outcome, style: Style) {
    if outcome.allowed {
        return;
    }
    for (name, value) in [
        ("body", &outcome.body),
        ("grpc-message", &outcome.grpc_message),
        ("www-authenticate", &outcome.www_authenticate),
        ("response_code_details", &outcome.response_code_details),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            line(
                out,
                &format!("  {} {value}", style.paint(DIM, &format!("{name}:"))),
            );
        }
    }
}

fn write_arrival(out: &mut String, arrival: &Arrival, style: Style) {
    let mut told = |what: &str, value: &str| {
        let what = style.paint(DIM, &format!("{what}:"));
        line(out, &format!("  {what} {value}"));
    };
    if let Some(path) = arrival.bare_path() {
        told("arrives as", path);
    }
    for (name, values) in arrival.identity() {
        for value in values {
            told(name, Arrival::shown(value));
        }
    }
    if !arrival.removed.is_empty() {
        let removed: Vec<_> = arrival.removed.iter().map(String::as_str).collect();
        told("does not arrive", &removed.join(", "));
    }
}

fn write_check(out: &mut String, check: &Check, style: Style) {
    let mut text = format!(
        "     {} {}: wanted {}",
        style.mark(check.passed),
        check.what,
        check.wanted
    );
    if let Some(had) = &check.had {
        let _ = write!(text, ", had {had}");
    }
    if let Some(location) = check.location.as_ref().filter(|place| place.is_known()) {
        let _ = write!(text, "  {}", style.paint(DIM, &format!("({location})")));
    }
    line(out, &text);
}

fn write_near(out: &mut String, near: &NearMiss, style: Style) {
    let rule = near
        .rule
        .map_or(String::new(), |rule| format!(" rule {rule}"));
    let place = near
        .location
        .as_ref()
        .filter(|place| place.is_known())
        .map_or(String::new(), |place| format!(" ({place})"));
    let kind = if near.missed_allow {
        "nearest ALLOW"
    } else {
        "deciding DENY"
    };
    line(
        out,
        &style.paint(BOLD, &format!("{kind}: {}{rule}{place}", near.policy)),
    );
    if near.missed_allow {
        for check in &near.conditions {
            write_check(out, check, style);
        }
    }
    let proven = if near.proven {
        " (tried: it then passes)"
    } else {
        ""
    };
    line(out, &format!("  smallest change{proven}:"));
    for change in &near.changes {
        match &change.caller {
            Some(caller) => line(out, &format!("     {caller}")),
            None => line(out, &format!("     policy: {}", change.policy)),
        }
    }
    if let [only] = &near.changes[..]
        && only.caller.is_some()
    {
        line(out, &format!("  or in the policy: {}", only.policy));
    }
}
