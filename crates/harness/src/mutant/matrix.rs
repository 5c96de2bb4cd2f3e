//! Which mutants were noticed, and by which cases.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::Mutant;
use crate::report::Row;

/// What became of all mutants.
#[derive(Debug, Serialize)]
pub struct Matrix {
    /// The profile that was edited.
    pub profile: String,
    /// The cases that were asked.
    pub cases: Vec<String>,
    /// What became of each mutant.
    pub mutants: Vec<Fate>,
}

/// What became of one mutant.
#[derive(Debug, Serialize)]
pub struct Fate {
    /// What was done, in words.
    pub name: String,
    /// What kind of edit it is.
    pub operator: String,
    /// Why no request could tell it from the original, if none can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equivalent: Option<String>,
    /// The cases that noticed it.
    pub red: Vec<String>,
    /// How many cases proved nothing, because their controls failed.
    pub inconclusive: usize,
}

impl Fate {
    pub(super) fn new(mutant: &Mutant, rows: &[Row]) -> Self {
        let red = rows.iter().filter(|row| row.outcome.is_failed());
        let inconclusive = rows.iter().filter(|row| row.outcome.is_inconclusive());
        Self {
            name: mutant.name.clone(),
            operator: mutant.operator.clone(),
            equivalent: mutant.equivalent.clone(),
            red: red.map(|row| row.name.clone()).collect(),
            inconclusive: inconclusive.count(),
        }
    }

    /// Whether it is as it has to be: noticed, or no different from the original.
    fn is_well(&self) -> bool {
        self.red.is_empty() == self.equivalent.is_some()
    }
}

impl Matrix {
    pub(super) fn new(profile: &str, cases: Vec<String>, mutants: Vec<Fate>) -> Self {
        Self {
            profile: profile.to_owned(),
            cases,
            mutants,
        }
    }

    /// Mutants that nobody noticed, and no reason is given why nobody could.
    pub fn survivors(&self) -> impl Iterator<Item = &Fate> {
        let wrong = self.mutants.iter().filter(|fate| !fate.is_well());
        wrong.filter(|fate| fate.red.is_empty())
    }

    /// Mutants that were noticed, although the reason says that nobody could.
    pub fn refuted(&self) -> impl Iterator<Item = &Fate> {
        let wrong = self.mutants.iter().filter(|fate| !fate.is_well());
        wrong.filter(|fate| !fate.red.is_empty())
    }

    /// Cases that noticed no mutant.
    pub fn idle(&self) -> Vec<&str> {
        let noticing: BTreeSet<_> = self.mutants.iter().flat_map(|fate| &fate.red).collect();
        let idle = self.cases.iter().filter(|case| !noticing.contains(case));
        idle.map(String::as_str).collect()
    }

    /// Whether every mutant is as it has to be.
    pub fn succeeded(&self) -> bool {
        self.mutants.iter().all(Fate::is_well)
    }

    /// In Markdown: what is wrong first, then a line for each mutant.
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "# Mutants of profile {}\n\n{}\n",
            self.profile,
            self.in_a_line()
        );
        let mut list = |title: &str, names: Vec<&str>| {
            if !names.is_empty() {
                let _ = write!(text, "\n**{title}:**\n\n");
                for name in names {
                    let _ = writeln!(text, "- {name}");
                }
            }
        };
        list(
            "survived",
            self.survivors().map(|fate| &*fate.name).collect(),
        );
        list(
            "not equivalent",
            self.refuted().map(|fate| &*fate.name).collect(),
        );
        list("cases that noticed none", self.idle());
        text.push_str("\n| operator | mutant | noticed by | |\n|---|---|---:|---|\n");
        for fate in &self.mutants {
            let told = match (&fate.equivalent, fate.red.first()) {
                (Some(reason), _) => format!("equivalent: {reason}"),
                (None, Some(case)) => {
                    format!("{case}{}", if fate.red.len() > 1 { ", …" } else { "" })
                }
                (None, None) => "nobody".to_owned(),
            };
            let cells = [
                &fate.operator,
                &fate.name,
                &fate.red.len().to_string(),
                &told,
            ];
            let cells = cells.map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// The count of each fate.
    pub fn in_a_line(&self) -> String {
        let equivalent = self.mutants.iter().filter(|it| it.equivalent.is_some());
        format!(
            "{} mutants: {} noticed, {} equivalent, {} survived; {} of {} cases noticed one",
            self.mutants.len(),
            self.mutants.iter().filter(|it| !it.red.is_empty()).count(),
            equivalent.count(),
            self.survivors().count(),
            self.cases.len() - self.idle().len(),
            self.cases.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(name: &str, equivalent: Option<&str>, red: &[&str]) -> Fate {
        Fate {
            name: name.to_owned(),
            operator: "some".to_owned(),
            equivalent: equivalent.map(str::to_owned),
            red: red.iter().map(|&case| case.to_owned()).collect(),
            inconclusive: 0,
        }
    }

    fn matrix(mutants: Vec<Fate>) -> Matrix {
        Matrix::new("full", vec!["a".to_owned(), "b".to_owned()], mutants)
    }

    #[test]
    fn what_nobody_notices_fails_unless_nobody_could() {
        assert!(matrix(vec![fate("x", None, &["a"]), fate("y", Some("so"), &[])]).succeeded());
        let survived = matrix(vec![fate("x", None, &[])]);
        assert!(!survived.succeeded());
        assert!(survived.to_markdown().contains("**survived:**\n\n- x\n"));
        let refuted = matrix(vec![fate("x", Some("so"), &["a"])]);
        assert!(!refuted.succeeded());
        assert!(
            refuted
                .to_markdown()
                .contains("**not equivalent:**\n\n- x\n")
        );
    }

    #[test]
    fn cases_that_notice_none_are_told() {
        let matrix = matrix(vec![fate("x|y", None, &["a"])]);
        assert_eq!(matrix.idle(), ["b"]);
        let text = matrix.to_markdown();
        assert!(
            text.contains("**cases that noticed none:**\n\n- b\n"),
            "{text}"
        );
        assert!(text.contains("| some | x\\|y | 1 | a |"), "{text}");
        assert!(
            text.contains(
                "1 mutants: 1 noticed, 0 equivalent, 0 survived; 1 of 2 cases noticed one"
            ),
            "{text}"
        );
    }
}
