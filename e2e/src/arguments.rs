//! Arguments that several commands take.

use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use harness::case::Profile;
use harness::poll::Timeouts;
use harness::report::Run;
use harness::report::phases::Phases;
use harness::run;
use harness::stage::Stage;
use strum::VariantNames;

/// What to ask and how to report.
#[derive(Debug, Args)]
pub struct Ask {
    /// Only cases and checks whose name contains this, or matches it as a
    /// glob; the cases' positive controls come along
    #[arg(long)]
    filter: Vec<String>,
    /// How to print the result on standard output
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The form of the result on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// report.json
    Json,
}

impl Ask {
    /// Asks a mesh that stands, and shows what came of it.
    pub async fn verify(
        &self,
        stage: &impl Stage,
        profile: Profile,
        phases: &Phases,
    ) -> Result<Run> {
        let timeouts = Timeouts::default();
        let verify = run::verify(stage, profile, &self.filter, phases, &timeouts);
        let run = Box::pin(verify).await?;
        run::show(&run, self.output == Output::Json)?;
        Ok(run)
    }
}

/// 0 if every run succeeded, else 1.
pub fn exit(runs: &[Run]) -> ExitCode {
    ExitCode::from(u8::from(!runs.iter().all(Run::succeeded)))
}

/// Reads one of the names that a value can have; `--help` and errors list them.
pub fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantNames + FromStr<Err = strum::ParseError> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS).try_map(|name| name.parse())
}
