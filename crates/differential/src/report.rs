//! What a run saw.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::answer::Answer;
use super::scene::Scene;

/// What a run saw.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The seed that gives the same scenes again.
    pub seed: u64,
    /// Random calls that were judged.
    pub cases: usize,
    /// Sidecars that decided about them.
    pub sidecars: usize,
    /// Scenes of the corpus that were judged besides.
    pub corpus: usize,
    /// How long the random calls took.
    pub seconds: f64,
    /// How often Envoy gave which kind of answer to a random call.
    pub answers: BTreeMap<String, usize>,
    /// Kinds of answer that a run of this length reaches, and this did not.
    pub never_seen: Vec<&'static str>,
    /// Where model and Envoy differ.
    pub disagreements: Vec<Disagreement>,
}

/// A scene about which model and Envoy differ.
#[derive(Debug, Serialize)]
pub struct Disagreement {
    /// The file that holds it.
    pub file: PathBuf,
    /// What the model says.
    pub model: Answer,
    /// What Envoy did.
    pub envoy: Answer,
    /// The kind of answer that Envoy gave when the scene was written down.
    pub recorded: String,
    /// The scene, as small as it gets.
    pub scene: Scene,
}

impl Report {
    /// Whether there was no disagreement, and the run was one that could show
    /// some.
    pub fn succeeded(&self) -> bool {
        self.disagreements.is_empty() && self.never_seen.is_empty() && self.cases + self.corpus > 0
    }

    /// Random calls a second.
    #[expect(clippy::cast_precision_loss, reason = "cases are few")]
    pub fn rate(&self) -> f64 {
        self.cases as f64 / self.seconds.max(f64::EPSILON)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.answers {
            writeln!(f, "{count:>8}  {kind}")?;
        }
        for kind in &self.never_seen {
            writeln!(
                f,
                "{:>8}  {kind}: the run is long enough to reach it",
                "never"
            )?;
        }
        for one in &self.disagreements {
            writeln!(f, "\ndisagreement: {}", one.file.display())?;
            writeln!(f, "  model: {}", one.model)?;
            writeln!(f, "  envoy: {}", one.envoy)?;
            writeln!(f, "  envoy, as recorded: {}", one.recorded)?;
        }
        writeln!(
            f,
            "\n{} calls to {} sidecars in {:.1} s, {:.0} a second; corpus of {}; seed {}",
            self.cases,
            self.sidecars,
            self.seconds,
            self.rate(),
            self.corpus,
            self.seed
        )?;
        match self.disagreements.len() {
            0 => writeln!(f, "model and Envoy agree on all of them"),
            count => writeln!(f, "model and Envoy disagree on {count}"),
        }
    }
}
