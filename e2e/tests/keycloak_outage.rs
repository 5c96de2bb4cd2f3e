//! The frontend on a mesh whose Keycloak comes and goes, signs with new keys
//! and changes its secrets. On kind, in a cluster of the test's own.
//!
//! Not here: a clock that jumps. The wall clock belongs to the whole machine,
//! so that is shown under a paused clock (`wall_clock_step_…` in
//! `token-client/tests/cache.rs`).

// The test harness captures what is printed.
#![allow(clippy::print_stdout)]

mod outage;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use harness::asking::{Asker, wait_for_discovery};
use harness::poll::{Poll, Step, Timeouts};
use harness::report::phases::Phases;
use harness::rules::Rules;
use harness::stage::Stage;
use harness::suite::Suite;
use harness::workspace;
use outage::admin::{Admin, bearer};
use outage::frontend::{
    METRICS, ask, ask_pod, ask_until, counter, fetched_in_all, in_words, tokens_fetched,
};
use outage::load::under_load;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use stages::kind::{Begun, Kind};
use stages::kubernetes::KubernetesStage;
use token_client::batch::{Outcome, Request};
use token_client::jwt;
use tokio::time::sleep;

/// How long the load goes on before and after Keycloak's pod is deleted.
const BEFORE_OUTAGE: Duration = Duration::from_secs(10);
const AFTER_OUTAGE: Duration = Duration::from_secs(50);
/// The frontend's token lives for 60 s; its end may be awaited that long.
const TOKEN_GONE: Duration = Duration::from_secs(90);
/// How often istiod looks for new keys here; by default it is every 20 min.
const KEY_REFRESH: &str = "10s";
/// A new key published by Keycloak, read by istiod, pushed to the sidecar.
const KEY_KNOWN: Duration = Duration::from_mins(1);
/// Two refreshes of a token that lives for 60 s, with time to spare.
const TWO_FETCHES: Duration = Duration::from_mins(2);
/// The kubelet writes a changed Secret into a pod's volume at its next sync,
/// about once a minute, from a cache that may be a minute old.
const FILE_REFRESHED: Duration = Duration::from_mins(3);

#[tokio::test]
#[ignore = "needs Docker, kind and istioctl: just test-docker"]
async fn frontend_outlives_keycloak() {
    let kind = Kind::new("mesh-outage".parse().unwrap());
    let begun = kind.begin().await.unwrap();
    let outcome = outage(&begun).await;
    begun.clear_up().await.unwrap();
    outcome.unwrap();
}

async fn outage(kind: &Begun) -> Result<()> {
    let (phases, timeouts) = (Phases::default(), Timeouts::default());
    let mut suite = Suite::load(&workspace::path("e2e"))?;
    suite.manifests.keycloak_image = "tests/outage/Dockerfile".into();
    let stage = kind.up(&suite, &phases, &timeouts).await?;
    have_istiod_look_for_keys_often(&stage, &timeouts).await?;
    wait_for_discovery(&suite, &stage, &timeouts).await?;
    let rules = Rules::read(&suite, suite.usual_profile())?;
    istiod_takes_rules(&stage, &rules, &timeouts).await?;
    let asker = Asker::new(&suite, &stage, &timeouts).await?;
    ensure!(asker.put_in_force(&rules, &phases).await?, "no policy");
    metrics_are_to_be_had_without_an_identity(&stage, &timeouts).await?;
    // Before Keycloak goes away: istiod looks for keys less and less often once
    // that has failed, up to an hour apart.
    no_request_fails_while_the_signing_key_changes(&stage).await?;
    no_request_fails_while_keycloak_restarts(&stage).await?;
    without_a_live_token_it_says_when_to_come_back(&stage, &timeouts).await?;
    changed_secret_is_taken_up_without_a_restart(&stage).await
}

async fn have_istiod_look_for_keys_often(
    stage: &KubernetesStage<'_>,
    timeouts: &Timeouts,
) -> Result<()> {
    let deployment = serde_json::from_value(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "istio-system", "name": "istiod"},
        "spec": {"template": {"spec": {"containers": [{
            "name": "discovery",
            "env": [{"name": "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL", "value": KEY_REFRESH}],
        }]}}},
    }))?;
    stage.cluster().apply(&[deployment]).await?;
    stage
        .cluster()
        .rollout("istio-system", "istiod", timeouts.apps_ready)
        .await
}

/// Its webhook, which looks at every rule, answers a little later than istiod
/// is ready.
async fn istiod_takes_rules(
    stage: &KubernetesStage<'_>,
    rules: &Rules,
    timeouts: &Timeouts,
) -> Result<()> {
    Poll::new("rules taken by istiod", timeouts.policy_in_force)
        .every(Duration::from_secs(1))
        .until(async || {
            Ok(match stage.apply(rules).await {
                Ok(()) => Step::Done(()),
                Err(error) => Step::NotYet(format!("{error:#}")),
            })
        })
        .await
}

/// Istio's agent merges them with the proxy's on a port that the sidecar does
/// not capture: a scraper needs no place in the mesh.
async fn metrics_are_to_be_had_without_an_identity(
    stage: &KubernetesStage<'_>,
    timeouts: &Timeouts,
) -> Result<()> {
    for (app, sign) in [
        ("backend", "http_server_request_duration_seconds_count{"),
        ("frontend", "token_client_fetches_total "),
    ] {
        let merged = ask_pod(stage, app, METRICS).await?;
        let there = merged.response().is_some_and(|r| r.body.contains(sign));
        ensure!(
            there,
            "no {sign} among {app}'s metrics: {}",
            in_words(&merged)
        );
        Poll::new(
            format!("plain text refused by {app}"),
            timeouts.policy_in_force,
        )
        .until(async || {
            let direct = ask_pod(stage, app, "8080/metrics").await?;
            Ok(match direct.response() {
                None => Step::Done(()),
                Some(response) => Step::NotYet(format!("status {}", response.status)),
            })
        })
        .await?;
    }
    Ok(())
}

/// As operators do it: first the key is published without signing, then every
/// verifier must know it, and only then it signs.
async fn no_request_fails_while_the_signing_key_changes(stage: &KubernetesStage<'_>) -> Result<()> {
    let admin = Admin::new(stage).await?;
    let (known_after, load) = under_load(stage, async {
        let old = admin.frontends_token().await?;
        let published = Instant::now();
        let key = admin.add_signing_key(50).await?;
        sidecar_knows(stage, &key.kid).await?;
        let known_after = published.elapsed();
        let still_old = admin.frontends_token().await?;
        ensure!(kid(&still_old)? == kid(&old)?, "it signs already");

        admin.set_priority(&key, 200).await?;
        let fetched = tokens_fetched(stage);
        let new = admin.frontends_token().await?;
        ensure!(kid(&new)? == key.kid, "it does not sign");
        for token in [&old, &new] {
            backend_takes(stage, token).await?;
        }
        // The first has the new key; until the second, it is used.
        fetched_in_all(stage, fetched + 2, TWO_FETCHES).await?;
        Ok(known_after)
    })
    .await?;
    println!("signing key changed: {load}; the sidecar knew the new key after {known_after:.1?}");
    load.all_served()
}

/// The keys are in the configuration that istiod gives to the sidecar, and have
/// been for longer than connections under the old one drain (2 s).
async fn sidecar_knows(stage: &KubernetesStage<'_>, kid: &str) -> Result<()> {
    let pod = stage.cluster().pod("demo", "backend").await?;
    Poll::new(
        format!("key {kid} known to the backend's sidecar"),
        KEY_KNOWN,
    )
    .every(Duration::from_secs(1))
    .consecutive(5)
    .until(async || {
        let config = stage.cluster().proxy_config("demo", &pod).await?;
        Ok(if config.contains(kid) {
            Step::Done(())
        } else {
            Step::NotYet("not in its configuration".to_owned())
        })
    })
    .await
}

async fn backend_takes(stage: &KubernetesStage<'_>, token: &SecretString) -> Result<()> {
    let mut request = Request::get("direct", "http://backend.demo.svc.cluster.local/data");
    request.headers = vec![bearer(token)];
    let answer = ask(stage, "frontend", request).await?;
    ensure!(
        answer.response().is_some_and(|r| r.status == 200),
        "a token of key {} got {}",
        kid(token)?,
        in_words(&answer)
    );
    Ok(())
}

fn kid(token: &SecretString) -> Result<String> {
    let token = jwt::decode(token.expose_secret())?;
    let kid = token.header.get("kid").and_then(|kid| kid.as_str());
    Ok(kid.context("a token without kid")?.to_owned())
}

async fn no_request_fails_while_keycloak_restarts(stage: &KubernetesStage<'_>) -> Result<()> {
    let before = tokens_fetched(stage);
    let ((), load) = under_load(stage, async {
        sleep(BEFORE_OUTAGE).await;
        stage.cluster().delete_pods("keycloak", "keycloak").await?;
        sleep(AFTER_OUTAGE).await;
        Ok(())
    })
    .await?;
    let fetched = tokens_fetched(stage) - before;
    println!("Keycloak's pod deleted: {load}; {fetched} tokens fetched");
    for name in ["unavailable", "served_stale", "waited"] {
        println!("  {name} since the start: {}", counter(stage, name).await?);
    }
    load.all_served()?;
    ensure!(
        (1..=4).contains(&fetched),
        "{fetched} tokens fetched in a minute"
    );
    Ok(())
}

async fn without_a_live_token_it_says_when_to_come_back(
    stage: &KubernetesStage<'_>,
    timeouts: &Timeouts,
) -> Result<()> {
    stage.cluster().scale("keycloak", "keycloak", 0).await?;
    let answer = ask_until(stage, 503, TOKEN_GONE).await?;
    let Outcome::Response(response) = answer.outcome else {
        unreachable!("it has a status")
    };
    let seconds = response.header("retry-after");
    let seconds = seconds.context("503 without Retry-After")?;
    ensure!(seconds.parse::<u64>()? >= 1, "Retry-After: {seconds}");
    stage.cluster().scale("keycloak", "keycloak", 1).await?;
    stage
        .cluster()
        .rollout("keycloak", "keycloak", timeouts.keycloak_ready)
        .await?;
    ask_until(stage, 200, TOKEN_GONE).await.map(drop)
}

async fn changed_secret_is_taken_up_without_a_restart(stage: &KubernetesStage<'_>) -> Result<()> {
    let admin = Admin::new(stage).await?;
    let pod = stage.cluster().pod("demo", "frontend").await?;
    let rejected = counter(stage, "rejected").await?;
    let (secret, load) = under_load(stage, async {
        let secret = admin.renew_client_secret("frontend").await?;
        rejected_more_than(stage, rejected).await?;
        Ok(secret)
    })
    .await?;
    println!("secret changed in Keycloak, refresh refused: {load}");
    load.all_served()?;

    let fetched = tokens_fetched(stage);
    let changed = Instant::now();
    let ((), load) = under_load(stage, async {
        let secret = serde_json::from_value(frontends_secret(&secret))?;
        stage.cluster().apply(&[secret]).await?;
        fetched_in_all(stage, fetched + 1, FILE_REFRESHED).await
    })
    .await?;
    println!(
        "secret changed in Kubernetes: {load}; a token was fetched after {:.1?}",
        changed.elapsed()
    );
    // The token may have ended before the kubelet wrote the file.
    load.served_or("503 urn:problem-type:mesh-oidc:client-rejected, with Retry-After")?;
    ask_until(stage, 200, Duration::from_secs(20)).await?;
    // The counters would have begun anew.
    ensure!(
        stage.cluster().pod("demo", "frontend").await? == pod
            && counter(stage, "rejected").await? > rejected,
        "the frontend was restarted"
    );
    Ok(())
}

async fn rejected_more_than(stage: &KubernetesStage<'_>, before: u64) -> Result<()> {
    Poll::new("a refresh that Keycloak refused", TOKEN_GONE)
        .every(Duration::from_secs(1))
        .until(async || {
            let now = counter(stage, "rejected").await?;
            Ok(if now > before {
                Step::Done(())
            } else {
                Step::NotYet(format!("{now} of {}", before + 1))
            })
        })
        .await
}

fn frontends_secret(secret: &SecretString) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "demo", "name": "frontend-client"},
        "data": {"client-secret": BASE64_STANDARD.encode(secret.expose_secret())},
    })
}
