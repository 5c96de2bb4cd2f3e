//! A steady load on the frontend, and what came of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::stage::Stage;
use stages::kubernetes::KubernetesStage;
use token_client::batch::{Connection, Request};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::frontend::{FRONTEND, in_words};

const REQUESTS_PER_SECOND: u32 = 50;
const TICKS_PER_SECOND: u32 = 10;
const DATA: &str = "200 Backend response: Data from backend!";

/// What came of a load.
pub struct Load {
    answers: BTreeMap<String, u32>,
    took: Duration,
}

/// Asks the frontend at a steady rate for as long as `scene` takes.
pub async fn under_load<T>(
    stage: &KubernetesStage<'_>,
    scene: impl Future<Output = Result<T>>,
) -> Result<(T, Load)> {
    let over = Cell::new(false);
    let scene = async {
        let outcome = scene.await;
        over.set(true);
        outcome
    };
    let (outcome, load) = tokio::try_join!(scene, load(stage, &over))?;
    let asked: u32 = load.answers.values().sum();
    let wanted = load.took.as_secs_f64() * f64::from(REQUESTS_PER_SECOND);
    ensure!(
        f64::from(asked) >= 0.95 * wanted,
        "{asked} requests in {:?}: less than the rate asked for",
        load.took
    );
    Ok((outcome, load))
}

async fn load(stage: &KubernetesStage<'_>, over: &Cell<bool>) -> Result<Load> {
    let mut ticks = interval(Duration::from_secs(1) / TICKS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answers = BTreeMap::new();
    let started = Instant::now();
    let requests: Vec<_> = (0..REQUESTS_PER_SECOND / TICKS_PER_SECOND)
        .map(|n| Request {
            connection: Connection::Reuse,
            ..Request::get(n.to_string(), FRONTEND)
        })
        .collect();
    while !over.get() {
        ticks.tick().await;
        for answer in stage.ask("token-client", &requests).await?.values() {
            *answers.entry(in_words(answer)).or_default() += 1;
        }
    }
    Ok(Load {
        answers,
        took: started.elapsed(),
    })
}

impl Load {
    /// Fails unless each request brought the backend's data.
    pub fn all_served(&self) -> Result<()> {
        self.served_or("no other answer")
    }

    /// Fails unless each request brought the backend's data or this answer.
    pub fn served_or(&self, answer: &str) -> Result<()> {
        let wrong = self
            .answers
            .keys()
            .find(|words| *words != DATA && *words != answer);
        ensure!(wrong.is_none(), "requests failed: {self}");
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {:.1?}", self.answers, self.took)
    }
}
