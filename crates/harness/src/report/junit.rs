//! JUnit XML: one suite per family of cases.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};

use super::{Row, Run};
use crate::verdict::{Mismatch, Outcome};

/// The run as JUnit XML.
pub fn render(run: &Run) -> Result<String, SerializeError> {
    let run = &run.redacted();
    let mut report = Report::new(format!("mesh-oidc {} {}", run.stage, run.profile));
    let mut suites: Vec<TestSuite> = vec![];
    for row in &run.rows {
        let position = suites
            .iter()
            .position(|suite| suite.name.as_str() == row.family);
        let index = position.unwrap_or_else(|| {
            suites.push(TestSuite::new(row.family.as_str()));
            suites.len() - 1
        });
        suites[index].add_test_case(test_case(row));
    }
    let total: f64 = run.phases.iter().map(|phase| phase.seconds).sum();
    report
        .set_time(Duration::from_secs_f64(total))
        .add_test_suites(suites);
    report.to_string()
}

fn test_case(row: &Row) -> TestCase {
    let status = match &row.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed { mismatches } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let lines: Vec<_> = mismatches.iter().map(line).collect();
            status.set_message(lines.join("; "));
            let mut description = lines.join("\n");
            if let Some(difference) = row.beginning_of_difference() {
                description = format!("{description}\n{difference}");
            }
            status.set_description(format!("{description}\nagain: {}", row.rerun));
            status
        }
        // JUnit's word for a test that could not come to a verdict.
        Outcome::Inconclusive { reason } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(format!("inconclusive: {reason}"));
            status
        }
        Outcome::Skipped { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
    };
    let mut case = TestCase::new(row.name.as_str(), status);
    case.set_classname(row.family.as_str());
    case.set_time(Duration::from_millis(row.elapsed_ms.unwrap_or_default()));
    let properties = [
        ("token", row.token.clone()),
        ("request", row.request_and_caller()),
        ("want", row.want.clone()),
        ("got", row.got.clone()),
        ("decided by", row.decided_by.clone()),
    ];
    case.add_properties(properties.map(|(name, value)| Property::new(name, value)));
    case
}

fn line(mismatch: &Mismatch) -> String {
    format!(
        "{}: want {}, got {}",
        mismatch.about, mismatch.want, mismatch.got
    )
}
