//! The rows that compare each workload's live sidecar with the model.

use anyhow::Result;
use futures::future;

use super::Rules;
use crate::case::{StageName, matches};
use crate::report::{Row, RowOf};
use crate::stage::Stage;
use crate::suite::{SidecarOf, Suite};
use crate::verdict::{Mismatch, Outcome};

const FAMILY: &str = "model";

/// The workloads whose sidecars can be compared on a stage. Without a cluster only
/// those that serve have an inbound side.
pub fn workloads(suite: &Suite, stage: StageName) -> Vec<String> {
    let serves = |sidecar: &SidecarOf<'_>| {
        let mut workloads = suite.workloads.iter();
        workloads.any(|it| {
            it.port.is_some()
                && (&*it.namespace, &*it.name) == (sidecar.namespace, sidecar.deployment)
        })
    };
    let sidecars = suite.sidecars().into_iter();
    let compared = sidecars.filter(|it| stage != StageName::Local || serves(it));
    compared.map(|sidecar| sidecar.title).collect()
}

/// Whether a filter means the row of a workload.
pub fn is_meant(stage: StageName, workload: &str, filter: &str) -> bool {
    matches(filter, &name(stage, workload)) || matches(filter, FAMILY)
}

/// Compares the sidecars of these workloads with the model.
pub async fn compare(
    stage: &dyn Stage,
    rules: &Rules,
    of: &RowOf<'_>,
    workloads: &[String],
) -> Result<Vec<Row>> {
    let compare = workloads.iter().map(async |workload| {
        let difference = stage.difference(workload, rules).await?;
        let what = "filters of its sidecar";
        let got = difference.as_ref().map_or("equal", |_| "different");
        let outcome = difference.as_ref().map_or(Outcome::Passed, |text| {
            let changed = |line: &&str| {
                line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
            };
            let got = format!("{} lines differ", text.lines().filter(changed).count());
            Outcome::of(vec![Mismatch::new(what, "as the rules have them", got)])
        });
        let name = name(of.stage, workload);
        anyhow::Ok(of.check(&name, FAMILY, [what, "equal", got], difference, outcome))
    });
    future::try_join_all(compare).await
}

/// On the local stage the filters are made from the model, and so cannot prove it:
/// there the row says that the proxies have what is in the files.
fn name(stage: StageName, workload: &str) -> String {
    match stage {
        StageName::Local => format!("rules of {workload} in force as on disk"),
        StageName::Kind | StageName::Cluster => format!("model of {workload} equals its sidecar"),
    }
}
