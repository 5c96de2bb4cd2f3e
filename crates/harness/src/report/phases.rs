//! The phases of a run and how long each took.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Phase;
use crate::output::say;

/// Measures phases and says each on stderr as it ends.
#[derive(Debug)]
pub struct Phases {
    started: Instant,
    done: Mutex<Vec<Phase>>,
}

impl Default for Phases {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            done: Mutex::default(),
        }
    }
}

impl Phases {
    /// Runs a phase. One that fails is not recorded: its error speaks.
    pub async fn time<T>(
        &self,
        name: &str,
        phase: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let value = phase.await?;
        let took = started.elapsed();
        say(format!(
            "{:>7.1} s  {name} ({:.1} s)",
            self.total().as_secs_f64(),
            took.as_secs_f64()
        ));
        self.done.lock().expect("lock must be whole").push(Phase {
            name: name.to_owned(),
            seconds: took.as_secs_f64(),
        });
        Ok(value)
    }

    /// The phases that ended, in that order. They may overlap.
    pub fn done(&self) -> Vec<Phase> {
        self.done.lock().expect("lock must be whole").clone()
    }

    /// The time since the run began.
    pub fn total(&self) -> Duration {
        self.started.elapsed()
    }
}
