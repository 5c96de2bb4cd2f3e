//! `token-client`: obtain, look at and use access tokens from a shell.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

mod cli;
mod client_args;
mod inspect;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse()).unwrap_or_else(|error| {
        // Whoever read it may be gone.
        let _ = writeln!(std::io::stderr(), "token-client: {error:#}");
        ExitCode::from(2)
    })
}
