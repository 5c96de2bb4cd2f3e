//! The frontend on a mesh whose Keycloak comes and goes. On kind, in a cluster
//! of the test's own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::case::{Caller, Profile};
use e2e::phases::Phases;
use e2e::poll::{Poll, Step, Timeouts};
use e2e::run;
use e2e::stage::Stage;
use e2e::stage::kind::Kind;
use e2e::stage::kubernetes::KubernetesStage;
use token_client::batch::{Answer, Connection, Outcome, Request};
use tokio::time::{Instant, MissedTickBehavior, interval};

const FRONTEND: &str = "http://frontend.demo.svc.cluster.local/";
const REQUESTS_PER_SECOND: u32 = 200;
const TICKS_PER_SECOND: u32 = 10;
const LOAD: Duration = Duration::from_mins(1);
/// When in the load Keycloak's pod is deleted.
const OUTAGE_AT: Duration = Duration::from_secs(10);
/// The frontend's token lives for 60 s; its end may be awaited that long.
const TOKEN_GONE: Duration = Duration::from_secs(90);

#[tokio::test]
#[ignore = "needs Docker, kind and istioctl: just test-docker"]
async fn frontend_outlives_keycloak() {
    let kind = Kind::new("mesh-outage");
    kind.refuse_if_there().await.unwrap();
    let outcome = outage(&kind).await;
    kind.down().await.unwrap();
    outcome.unwrap();
}

async fn outage(kind: &Kind) -> Result<()> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    let stage = kind.up(&phases, &timeouts).await?;
    stage.wait_for_discovery(&timeouts).await?;
    ensure!(
        run::put_in_force(&stage, Profile::Full, &phases, &timeouts).await?,
        "no policy"
    );
    no_request_fails_while_keycloak_restarts(&stage).await?;
    without_a_live_token_it_says_when_to_come_back(&stage, &timeouts).await
}

async fn no_request_fails_while_keycloak_restarts(stage: &KubernetesStage) -> Result<()> {
    let before = fetches_answered(stage);
    let counted_before = metrics(stage).await?;
    let mut ticks = interval(Duration::from_secs(1) / TICKS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    let mut keycloak_is_there = true;
    let started = Instant::now();
    let total = u32::try_from(LOAD.as_secs())? * TICKS_PER_SECOND;
    for tick in 0..total {
        ticks.tick().await;
        if keycloak_is_there && started.elapsed() >= OUTAGE_AT {
            stage.cluster().delete_pods("keycloak", "keycloak").await?;
            keycloak_is_there = false;
        }
        let requests: Vec<_> = (0..REQUESTS_PER_SECOND / TICKS_PER_SECOND)
            .map(|n| Request {
                connection: Connection::Reuse,
                ..Request::get(format!("{tick}-{n}"), FRONTEND)
            })
            .collect();
        for answer in stage.ask(Caller::TokenClient, &requests).await?.values() {
            *answers.entry(in_words(answer)).or_default() += 1;
        }
    }
    let took = started.elapsed();
    let fetches = fetches_answered(stage) - before;
    println!("{answers:?} in {took:.1?}; Keycloak answered {fetches} token requests");
    println!(
        "frontend's counters before: {counted_before}\nand after: {}",
        metrics(stage).await?
    );
    ensure!(
        took < LOAD.mul_f64(1.05),
        "the load took {took:?}: less than the rate asked for"
    );
    let wanted = "200 Backend response: Data from backend!".to_owned();
    ensure!(
        answers == BTreeMap::from([(wanted, REQUESTS_PER_SECOND * 60)]),
        "requests failed while the token was live: {answers:?}"
    );
    ensure!(
        (1..=4).contains(&fetches),
        "Keycloak answered {fetches} token requests in a minute"
    );
    Ok(())
}

async fn without_a_live_token_it_says_when_to_come_back(
    stage: &KubernetesStage,
    timeouts: &Timeouts,
) -> Result<()> {
    stage.cluster().scale("keycloak", "keycloak", 0).await?;
    let answer = ask_until(stage, 503, TOKEN_GONE).await?;
    let Outcome::Response(response) = answer.outcome else {
        unreachable!("it has a status")
    };
    let retry_after = response
        .headers
        .iter()
        .find(|(name, _)| name == "retry-after");
    let (_, seconds) = retry_after.context("503 without Retry-After")?;
    ensure!(seconds.parse::<u64>()? >= 1, "Retry-After: {seconds}");
    stage.cluster().scale("keycloak", "keycloak", 1).await?;
    stage
        .cluster()
        .rollout("keycloak", "keycloak", timeouts.keycloak_ready)
        .await?;
    ask_until(stage, 200, TOKEN_GONE).await.map(drop)
}

async fn ask_until(stage: &KubernetesStage, status: u16, deadline: Duration) -> Result<Answer> {
    Poll::new(format!("status {status} from the frontend"), deadline)
        .every(Duration::from_secs(1))
        .until(async || {
            let answer = ask(stage, FRONTEND).await?;
            let there = answer
                .response()
                .is_some_and(|response| response.status == status);
            Ok(if there {
                Step::Done(answer)
            } else {
                Step::NotYet(in_words(&answer))
            })
        })
        .await
}

async fn ask(stage: &KubernetesStage, url: &str) -> Result<Answer> {
    let answers = stage
        .ask(Caller::TokenClient, &[Request::get("one", url)])
        .await?;
    answers.into_values().next().context("no answer")
}

async fn metrics(stage: &KubernetesStage) -> Result<String> {
    let answer = ask(stage, &format!("{FRONTEND}metrics")).await?;
    let text = &answer.response().context("no metrics")?.body;
    let counters = text
        .lines()
        .filter(|line| line.starts_with("token_client_"));
    Ok(counters.collect::<Vec<_>>().join(", "))
}

fn in_words(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::Response(response) => format!("{} {}", response.status, response.body),
        Outcome::Failure { error } => error.clone(),
    }
}

/// The token requests of the frontend that Keycloak answered, by the
/// frontend's own proxy.
fn fetches_answered(stage: &KubernetesStage) -> usize {
    stage
        .evidence()
        .records()
        .iter()
        .filter(|record| record.response_code == 200)
        .filter(|record| {
            record
                .path
                .as_deref()
                .is_some_and(|path| path.ends_with("/token"))
        })
        .count()
}
