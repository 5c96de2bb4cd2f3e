//! What is said on standard error and printed on standard output. Neither ever
//! panics: whoever reads may be gone, and the disk may be full. Neither has a secret
//! in it, whatever program's last words it repeats.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context as _, Result};

use crate::redact::{redact, redact_known};

/// Says a line to whoever watches. A run does not depend on that somebody does.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", as_said(line));
}

pub(crate) fn as_said(line: impl Display) -> String {
    redact(&line.to_string())
}

/// Prints a result, as it is but for known secrets: what only looks like one may be
/// what was asked for. A reader who has seen enough is no error; a result that cannot
/// be written is.
pub fn print(text: impl Display) -> Result<()> {
    print_secret(redact_known(&text.to_string()))
}

/// The same for a result that is to be secrets.
pub fn print_secret(text: impl Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let printed = write!(stdout, "{text}").and_then(|()| stdout.flush());
    unless_closed(printed).context("standard output cannot be written")
}

/// Prints a result and a line break.
pub fn print_line(text: impl Display) -> Result<()> {
    print(format_args!("{text}\n"))
}

fn unless_closed(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Standard error for a library that writes to it itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = as_said(String::from_utf8_lossy(bytes));
        let _ = io::stderr().write_all(text.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
