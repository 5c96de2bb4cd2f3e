//! The values of a rule, as they are written.

use crate::types::{Condition, Operation, Rule, Source};

/// A list of values in a rule.
pub(crate) struct List<'a> {
    /// Where it stands, from `spec`.
    pub(crate) path: String,
    pub(crate) values: &'a [String],
    /// Whether they are about issuer and subject of a token.
    pub(crate) is_request_principals: bool,
}

impl<'a> List<'a> {
    fn request_principals(path: String, values: &'a [String]) -> Self {
        Self {
            path,
            values,
            is_request_principals: true,
        }
    }

    fn other(path: String, values: &'a [String]) -> Self {
        Self {
            path,
            values,
            is_request_principals: false,
        }
    }
}

/// The lists of a rule in which a star may stand, those about tokens first.
pub(crate) fn lists(index: usize, rule: &Rule) -> Vec<List<'_>> {
    let path = format!("spec.rules[{index}]");
    let mut all = Vec::new();
    for (at, from) in rule.from.iter().enumerate() {
        let source = from.source.iter();
        all.extend(
            source.flat_map(|source| of_source(&format!("{path}.from[{at}].source"), source)),
        );
    }
    for (at, to) in rule.to.iter().enumerate() {
        let operation = to.operation.iter();
        all.extend(
            operation.flat_map(|operation| {
                of_operation(&format!("{path}.to[{at}].operation"), operation)
            }),
        );
    }
    for (at, when) in rule.when.iter().enumerate() {
        all.extend(of_condition(&format!("{path}.when[{at}]"), when));
    }
    all.sort_by_key(|list| !list.is_request_principals);
    all
}

fn of_source<'a>(path: &str, source: &'a Source) -> [List<'a>; 4] {
    let at = |name| format!("{path}.{name}");
    [
        List::request_principals(at("requestPrincipals"), &source.request_principals),
        List::request_principals(at("notRequestPrincipals"), &source.not_request_principals),
        List::other(at("principals"), &source.principals),
        List::other(at("notPrincipals"), &source.not_principals),
    ]
}

fn of_operation<'a>(path: &str, operation: &'a Operation) -> [List<'a>; 5] {
    [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ]
    .map(|(name, values)| List::other(format!("{path}.{name}"), values))
}

fn of_condition<'a>(path: &str, when: &'a Condition) -> Vec<List<'a>> {
    let list = match when.key.as_str() {
        "request.auth.principal" => List::request_principals,
        key if key.starts_with("request.") || key == "source.principal" => List::other,
        _ => return Vec::new(),
    };
    vec![
        list(format!("{path}.values"), &when.values),
        list(format!("{path}.notValues"), &when.not_values),
    ]
}
