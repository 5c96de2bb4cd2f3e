//! What of a suite is asked in a run, and that it is anything at all.

use crate::case::{Case, StageName};
use crate::rules::comparison;
use crate::suite::Suite;
use crate::trouble::Trouble;

/// The rows of a run. Known before there is a mesh, so that nobody waits for one
/// that would prove nothing.
#[derive(Debug)]
pub struct Selection<'a> {
    /// The cases that are meant, with their controls, in the table's order.
    pub cases: Vec<&'a Case>,
    /// The workloads whose sidecars are compared with the rules.
    pub compared: Vec<String>,
    /// How many rows the suite has on this stage.
    pub of: usize,
}

impl<'a> Selection<'a> {
    /// What any of the filters means; all there is without one. Fails for a filter
    /// that means nothing, and where no case that is meant can be asked.
    pub fn new(suite: &'a Suite, stage: StageName, filters: &[String]) -> Result<Self, Trouble> {
        let checks = comparison::workloads(suite, stage);
        let of = suite.cases.all().len() + checks.len();
        let is_compared =
            |workload: &String, filter: &String| comparison::is_meant(stage, workload, filter);
        let mut meant: Vec<&Case> = Vec::new();
        for filter in filters {
            let cases = suite.cases.meant_by(filter);
            if cases.is_empty() && !checks.iter().any(|it| is_compared(it, filter)) {
                return Err(means_nothing(filter));
            }
            meant.extend(cases);
        }
        let mut compared = checks;
        if filters.is_empty() {
            meant.extend(suite.cases.all());
        } else {
            compared.retain(|it| filters.iter().any(|filter| is_compared(it, filter)));
        }
        if !meant.is_empty() && meant.iter().all(|case| case.skip.contains_key(&stage)) {
            return Err(all_skipped(meant.len(), stage));
        }
        let cases = suite.cases.with_controls(&meant);
        Ok(Self {
            cases,
            compared,
            of,
        })
    }
}

fn means_nothing(filter: &str) -> Trouble {
    Trouble::new(
        format!("no case and no check matches `{filter}`"),
        "--filter takes a part of the name or family of a row, or a pattern with `*`; `mesh \
         verify` without one lists them",
    )
}

fn all_skipped(count: usize, stage: StageName) -> Trouble {
    Trouble::new(
        format!("nothing would be judged: stage {stage} skips all {count} cases that are meant"),
        "take `skip` from those that it can ask, or ask another stage",
    )
}

#[cfg(test)]
mod tests {
    use super::Selection;
    use crate::case::StageName;
    use crate::suite::Suite;
    use crate::suite::tests::{project, with_cases};

    const CASES: &str = "
family: some
control: ok
expect: {status: 401, decided_by: missing-token}
cases:
  - {name: ok, token: {granted: user}, expect: {status: 200, decided_by: app}}
  - {name: no token, token: none}
  - {name: junk, token: {raw: junk}, skip: {local: because}}
";

    fn cases<'a>(suite: &'a Suite, filters: &[&str]) -> Vec<&'a str> {
        let selection = select(suite, StageName::Kind, filters).unwrap();
        let cases = selection.cases.into_iter();
        cases.map(|case| case.name.as_str()).collect()
    }

    fn select<'a>(
        suite: &'a Suite,
        stage: StageName,
        filters: &[&str],
    ) -> Result<Selection<'a>, String> {
        let filters: Vec<_> = filters.iter().map(|&it| it.to_owned()).collect();
        Selection::new(suite, stage, &filters).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn selection_brings_the_controls_along() {
        let suite = with_cases(CASES).unwrap();
        assert_eq!(cases(&suite, &["JUNK"]), ["ok", "junk"]);
        assert_eq!(cases(&suite, &["no*"]), ["ok", "no token"]);
        assert_eq!(cases(&suite, &["some"]), ["ok", "no token", "junk"]);
        assert_eq!(cases(&suite, &["junk", "no*", "junk"]).len(), 3);
    }

    #[test]
    fn filter_that_is_a_name_means_that_case_alone() {
        let suite = with_cases(CASES).unwrap();
        assert_eq!(cases(&suite, &["ok"]), ["ok"]);
    }

    #[test]
    fn each_filter_must_mean_something() {
        let suite = with_cases(CASES).unwrap();
        for filters in [
            &["token no"][..],
            &["junk", "token no"],
            &["token no", "junk"],
        ] {
            let error = select(&suite, StageName::Kind, filters).unwrap_err();
            assert!(
                error.starts_with("no case and no check matches `token no`"),
                "{error}"
            );
        }
    }

    #[test]
    fn cases_that_a_stage_skips_are_nothing_to_ask_it() {
        let suite = with_cases(CASES).unwrap();
        assert!(select(&suite, StageName::Kind, &["junk"]).is_ok());
        let error = select(&suite, StageName::Local, &["junk"]).unwrap_err();
        assert!(
            error.starts_with("nothing would be judged: stage local skips all 1 cases"),
            "{error}"
        );
    }

    #[test]
    fn checks_alone_may_be_meant_and_every_row_is_counted() {
        let suite = project();
        let all = select(suite, StageName::Kind, &[]).unwrap();
        assert_eq!(all.of, all.cases.len() + all.compared.len());
        let checks = select(suite, StageName::Kind, &["equals its sidecar"]).unwrap();
        assert!(checks.cases.is_empty());
        assert_eq!((checks.compared, checks.of), (all.compared, all.of));
    }
}
