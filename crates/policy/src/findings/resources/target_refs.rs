//! `targetRefs`, which sidecars do not follow.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0009",
    title: "targetRefs on a sidecar",
    page: include_str!("target_refs.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Attached(resource) = subject else {
        return None;
    };
    if !resource.is_ignored_by(case.question.workload) {
        return None;
    }
    let message = format!(
        "{} {} has targetRefs: sidecars ignore it altogether",
        resource.kind, resource.id
    );
    let fix = "use `selector` for sidecars; targetRefs are for gateways and waypoints";
    let place = resource.origin.locate("spec.targetRefs");
    Some(Mistake::new(message).istio(fix).at(place))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, codes};

    fn ask(spec: &str) -> Ask {
        Ask::new(&format!(
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: demo}}
spec: {spec}
"
        ))
    }

    #[test]
    fn a_policy_with_target_refs_and_not_one_with_a_selector() {
        let targets = ask("{targetRefs: [{kind: Service, name: backend}]}");
        assert_eq!(codes(&targets.explain()), [KIND.code]);
        let selector = ask("{selector: {matchLabels: {app: backend}}}");
        assert_eq!(codes(&selector.explain()), [""; 0]);
    }
}
