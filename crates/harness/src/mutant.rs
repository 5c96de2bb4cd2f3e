//! Mutants: edits of the rules that the cases have to notice. One that nobody notices
//! shows a case that is missing; a case that notices none proves nothing.

mod corpus;
mod matrix;

use anyhow::{Result, bail};

pub use corpus::load;
pub use matrix::{Fate, Matrix};

use crate::asking::Asker;
use crate::case::Case;
use crate::output::say;
use crate::rules::Rules;
use crate::trouble::Trouble;
use crate::verdict::Outcome;

/// A profile's rules with one edit.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// What was done, in words.
    pub name: String,
    /// What kind of edit it is: the name of its file.
    pub operator: String,
    /// Why no request could tell it from the original, if none can.
    pub equivalent: Option<String>,
    /// The rules with the edit.
    pub rules: Rules,
}

/// Puts one mutant after the other in force and asks all cases of each, by their
/// answers and the proxy's evidence alone: what the model says follows the edit.
/// The original is proven green before and after.
pub async fn hunt(asker: &Asker<'_>, rules: &Rules, mutants: &[Mutant]) -> Result<Matrix> {
    let cases: Vec<&Case> = asker.suite.cases.all().iter().collect();
    prove_green(asker, rules, &cases, "before any edit").await?;
    let mut fates = Vec::new();
    for mutant in mutants {
        let edited = Rules {
            keys: rules.keys.clone(),
            ..mutant.rules.clone()
        };
        asker.stage.apply(&edited).await?;
        let rows = asker.ask_table(&rules.profile, &cases, None).await?;
        let fate = Fate::new(mutant, &rows);
        say(format!("{:>4} red: {}", fate.red.len(), fate.name));
        fates.push(fate);
    }
    asker.stage.apply(rules).await?;
    let names = prove_green(asker, rules, &cases, "after all edits").await?;
    Ok(Matrix::new(&rules.profile, names, fates))
}

/// The names of the cases that were asked; all of them have passed.
async fn prove_green(
    asker: &Asker<'_>,
    rules: &Rules,
    cases: &[&Case],
    when: &str,
) -> Result<Vec<String>> {
    let rows = asker.ask_table(&rules.profile, cases, None).await?;
    let judged = rows
        .iter()
        .filter(|row| !matches!(row.outcome, Outcome::Skipped { .. }));
    if let Some(row) = judged.clone().find(|row| !row.outcome.is_passed()) {
        bail!(Trouble::new(
            format!("`{}` is not green {when}: nothing could be told", row.name),
            "mesh e2e --stage local says why",
        ));
    }
    Ok(judged.map(|row| row.name.clone()).collect())
}
