//! Every field of Istio's request-level security resources, translated by
//! `policy` as by istiod. On kind, in a cluster of the test's own.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use harness::case::Profile;
use harness::model::Model;
use harness::poll::{Poll, Step, Timeouts};
use harness::report::phases::Phases;
use harness::stage::Stage;
use policy::Manifests;
use stages::kind::Kind;
use stages::kubernetes::KubernetesStage;
use stages::manifest::load_file;

#[tokio::test]
#[ignore = "needs Docker, kind and istioctl: just test-docker"]
async fn every_field_is_translated_as_istiod_does() {
    let kind = Kind::new("mesh-every-field");
    kind.refuse_if_there().await.unwrap();
    let outcome = compare(&kind).await;
    kind.down().await.unwrap();
    outcome.unwrap();
}

async fn compare(kind: &Kind) -> Result<()> {
    let timeouts = Timeouts::default();
    let stage = kind.up(&Phases::default(), &timeouts).await?;
    stage.wait_for_discovery(&timeouts).await?;
    stage.apply_policy(Profile::Full).await?;
    let mut model = Model::of(&stage, Profile::Full).await?;
    wait_until_differing(&stage, &model, 0).await?;

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/every-field.yaml");
    stage.cluster().apply(&load_file(&file)?).await?;
    // Some are for the whole mesh: a model that does not know them is wrong
    // about every sidecar.
    let all = stage.comparable().len();
    wait_until_differing(&stage, &model, all).await?;
    let text = std::fs::read_to_string(&file)?;
    model
        .manifests
        .extend(Manifests::parse("every-field.yaml", &text)?);
    wait_until_differing(&stage, &model, 0).await
}

/// Waits until just so many sidecars differ from the model.
async fn wait_until_differing(stage: &KubernetesStage, model: &Model, count: usize) -> Result<()> {
    let deadline = Timeouts::default().policy_in_force;
    Poll::new(
        format!("{count} sidecars that differ from the model"),
        deadline,
    )
    .every(Duration::from_millis(500))
    .until(async || {
        let mut differences = Vec::new();
        for workload in stage.comparable() {
            let difference = stage.difference(&workload, model).await?;
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
