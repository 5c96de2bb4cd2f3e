//! The frontend as seen from inside the mesh.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::poll::{Poll, Step};
use harness::stage::Stage;
use serde_json::Value;
use stages::kubernetes::KubernetesStage;
use token_client::batch::{Answer, Outcome, Request};

pub const FRONTEND: &str = "http://frontend.demo.svc.cluster.local/";

/// Where Istio's agent has an app's metrics, merged with its own.
pub const METRICS: &str = "15020/stats/prometheus";

/// Asks the frontend until it answers with this status.
pub async fn ask_until(
    stage: &KubernetesStage<'_>,
    status: u16,
    deadline: Duration,
) -> Result<Answer> {
    Poll::new(format!("status {status} from the frontend"), deadline)
        .every(Duration::from_secs(1))
        .until(async || {
            let answer = ask(stage, "token-client", Request::get("one", FRONTEND)).await?;
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

pub async fn ask(stage: &KubernetesStage<'_>, caller: &str, request: Request) -> Result<Answer> {
    let answers = stage.ask(caller, &[request]).await?;
    answers.into_values().next().context("no answer")
}

/// What is at a port and path of an app's pod (`8080/metrics`), for who has no place in
/// the mesh.
pub async fn ask_pod(stage: &KubernetesStage<'_>, app: &str, place: &str) -> Result<Answer> {
    let pod = stage.cluster().pod("demo", app).await?;
    let address = stage.cluster().pod_address("demo", &pod).await?;
    let request = Request::get("one", format!("http://{address}:{place}"));
    ask(stage, "outsider", request).await
}

/// One of the counters of the frontend's token cache, as scrapers read it.
pub async fn counter(stage: &KubernetesStage<'_>, name: &str) -> Result<u64> {
    let answer = ask_pod(stage, "frontend", METRICS).await?;
    let text = &answer.response().context("no metrics")?.body;
    let name = format!("token_client_{name}_total ");
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    value
        .with_context(|| format!("no {name}in {text}"))?
        .parse()
        .context("a counter that is no number")
}

/// The token requests of the frontend that Keycloak answered with a token, by
/// the frontend's own proxy.
pub fn tokens_fetched(stage: &KubernetesStage<'_>) -> usize {
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

/// Waits until the frontend has fetched this many tokens in all.
pub async fn fetched_in_all(
    stage: &KubernetesStage<'_>,
    tokens: usize,
    deadline: Duration,
) -> Result<()> {
    Poll::new(format!("{tokens} tokens fetched by the frontend"), deadline)
        .every(Duration::from_secs(2))
        .until(async || {
            let fetched = tokens_fetched(stage);
            Ok(if fetched >= tokens {
                Step::Done(())
            } else {
                Step::NotYet(fetched.to_string())
            })
        })
        .await
}

/// An answer in short: the status, and the body or what kind of problem it is.
pub fn in_words(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::Response(response) => {
            let problem: Option<Value> = serde_json::from_str(&response.body).ok();
            let kind = problem
                .as_ref()
                .and_then(|problem| problem["type"].as_str());
            let body = kind.unwrap_or(&response.body);
            match response.header("retry-after") {
                Some(_) => format!("{} {body}, with Retry-After", response.status),
                None => format!("{} {body}", response.status),
            }
        }
        Outcome::Failure { error } => error.clone(),
        Outcome::Raw { .. } => "raw bytes".to_owned(),
    }
}
