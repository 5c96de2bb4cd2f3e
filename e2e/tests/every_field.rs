//! Every field of Istio's request-level security resources, translated by
//! `policy` as by istiod, and whatever else opens a sidecar is seen. On kind, in a
//! cluster of the test's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::asking::wait_for_discovery;
use harness::poll::{Poll, Step, Timeouts};
use harness::report::phases::Phases;
use harness::rules::{Rules, comparison};
use harness::stage::Stage;
use harness::suite::Suite;
use harness::suite::yaml::read_documents;
use harness::workspace;
use policy::Manifests;
use stages::kind::{Begun, Kind};
use stages::kubernetes::KubernetesStage;
use stages::manifest::dynamic;

#[tokio::test]
#[ignore = "needs Docker, kind and istioctl: just test-docker"]
async fn every_field_is_translated_as_istiod_does_and_every_backdoor_is_seen() {
    let kind = Kind::new("mesh-every-field".parse().unwrap());
    let begun = kind.begin().await.unwrap();
    let outcome = compare(&begun).await;
    begun.clear_up().await.unwrap();
    outcome.unwrap();
}

async fn compare(kind: &Begun) -> Result<()> {
    let timeouts = Timeouts::default();
    let suite = Suite::load(&workspace::path("e2e"))?;
    let stage = kind.up(&suite, &Phases::default(), &timeouts).await?;
    wait_for_discovery(&suite, &stage, &timeouts).await?;
    let rules = Rules::read(&suite, suite.usual_profile())?;
    let mut rules = rules.with_keys(&suite, &stage).await?;
    stage.apply(&rules).await?;
    let all = comparison::workloads(&suite, stage.name());
    wait_until_differing(&stage, &rules, &all, 0).await?;

    see_every_backdoor(&stage, &rules, &all).await?;

    let file = beside_this("every-field.yaml");
    let objects = dynamic(read_documents(&file)?)?;
    stage.cluster().apply(&objects).await?;
    // Some are for the whole mesh: a model that does not know them is wrong
    // about every sidecar.
    wait_until_differing(&stage, &rules, &all, all.len()).await?;
    let text = std::fs::read_to_string(&file)?;
    rules
        .manifests
        .extend(Manifests::parse("every-field.yaml", &text)?);
    wait_until_differing(&stage, &rules, &all, 0).await
}

/// One after the other, so that none is seen for another's sake.
async fn see_every_backdoor(
    stage: &KubernetesStage<'_>,
    rules: &Rules,
    sidecars: &[String],
) -> Result<()> {
    for backdoor in dynamic(read_documents(&beside_this("backdoors.yaml"))?)? {
        let name = backdoor.metadata.name.clone().unwrap_or_default();
        let backdoor = [backdoor];
        stage.cluster().apply(&backdoor).await?;
        let seen = wait_until_differing(stage, rules, sidecars, 1).await;
        seen.with_context(|| format!("{name} is there"))?;
        stage.cluster().delete(&backdoor).await?;
        let gone = wait_until_differing(stage, rules, sidecars, 0).await;
        gone.with_context(|| format!("{name} is gone"))?;
    }
    Ok(())
}

fn beside_this(file: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join(file)
}

/// Waits until just so many sidecars differ from the model.
async fn wait_until_differing(
    stage: &KubernetesStage<'_>,
    rules: &Rules,
    sidecars: &[String],
    count: usize,
) -> Result<()> {
    let deadline = Timeouts::default().policy_in_force;
    Poll::new(
        format!("{count} sidecars that differ from the model"),
        deadline,
    )
    .every(Duration::from_millis(500))
    .until(async || {
        let mut differences = Vec::new();
        for workload in sidecars {
            let difference = stage.difference(workload, rules).await?;
            differences.extend(difference.map(|text| format!("{workload}:\n{text}")));
        }
        Ok(if differences.len() == count {
            Step::Done(())
        } else {
            Step::NotYet(format!("{}\n{}", differences.len(), differences.concat()))
        })
    })
    .await
}
