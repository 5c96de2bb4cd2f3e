//! A selector that matches no workload.

use std::collections::BTreeMap;

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::{Attached, Subject};

pub(crate) const KIND: Kind = Kind {
    code: "MO0007",
    title: "a selector that matches no workload",
    page: include_str!("selector.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Attached(resource) = subject else {
        return None;
    };
    let is_selective = resource
        .selector
        .is_some_and(|selector| !selector.match_labels.is_empty());
    let is_ignored = resource.is_ignored_by(case.question.workload);
    if is_ignored || !is_selective || !misses_all(case, resource) {
        return None;
    }
    let message = format!(
        "the selector of {} {} matches no workload given here",
        resource.kind, resource.id
    );
    let fix = "compare it with the labels of the pods (not of the Deployment), \
               and with their namespace";
    let place = resource.origin.locate("spec.selector.matchLabels");
    Some(Mistake::new(message).istio(fix).at(place))
}

/// Whether workloads are known that it could match, and it matches none.
fn misses_all(case: &Case<'_>, resource: Attached<'_>) -> bool {
    let is_root = resource.namespace == case.question.mesh.root_namespace;
    let is_in_scope = |namespace: &str| is_root || namespace == resource.namespace;
    let matches = |namespace: &str, labels: &BTreeMap<String, String>| {
        is_in_scope(namespace) && resource.selects(labels)
    };
    let workloads = &case.question.manifests.workloads;
    let asked = case.question.workload;
    let is_any_known = workloads.iter().any(|pods| is_in_scope(&pods.namespace))
        || asked.namespace == resource.namespace;
    let matches_any = workloads
        .iter()
        .any(|pods| matches(&pods.namespace, &pods.labels))
        || matches(&asked.namespace, &asked.labels);
    is_any_known && !matches_any
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, codes, demo};

    /// The demo, a Deployment of backends, and a policy in `namespace` for `app`.
    fn ask(namespace: &str, app: &str) -> Ask {
        let more = format!(
            "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: other, namespace: demo}}
spec: {{template: {{metadata: {{labels: {{app: other}}}}}}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: another, namespace: {namespace}}}
spec: {{selector: {{matchLabels: {{app: {app}}}}}}}
"
        );
        Ask::new(&(demo() + &more))
    }

    #[test]
    fn a_selector_with_a_typing_error() {
        let explanation = ask("demo", "bakend").explain();
        assert_eq!(codes(&explanation), [KIND.code]);
        assert!(explanation.findings[0].message.contains("demo/another"));
        assert!(ask("istio-system", "bakend").shows(KIND.code));
    }

    #[test]
    fn a_selector_of_the_workload_or_of_another_that_is_known() {
        assert!(!ask("demo", "backend").shows(KIND.code));
        assert!(!ask("demo", "other").shows(KIND.code));
        assert!(!ask("istio-system", "other").shows(KIND.code));
    }

    #[test]
    fn a_selector_where_no_workload_is_known() {
        assert!(!ask("elsewhere", "bakend").shows(KIND.code));
    }
}
