//! The rows that compare each workload's live sidecar with the model.

use anyhow::Result;
use futures::future;

use super::Rules;
use crate::case::matches;
use crate::report::{Row, RowOf};
use crate::stage::Stage;
use crate::verdict::{Mismatch, Outcome};

const FAMILY: &str = "model";

/// The workloads that are to be compared: those whose row the filters mean, or
/// all of them without a filter.
pub fn select(stage: &dyn Stage, filters: &[String]) -> Vec<String> {
    let wanted = |workload: &String| {
        let (name, means) = (name(workload), |text: &str| {
            filters.iter().any(|filter| matches(filter, text))
        });
        filters.is_empty() || means(&name) || means(FAMILY)
    };
    stage.comparable().into_iter().filter(wanted).collect()
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
            Outcome::of(vec![Mismatch::new(what, "as the model has them", got)])
        });
        let name = name(workload);
        anyhow::Ok(of.check(&name, FAMILY, [what, "equal", got], difference, outcome))
    });
    future::try_join_all(compare).await
}

fn name(workload: &str) -> String {
    format!("model of {workload} equals its sidecar")
}
