//! Rules with HTTP attributes on a port that is not HTTP to Istio.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::parse::{Resource, Service, ServicePort};
use crate::rbac;
use crate::select::Workload;
use crate::types::AuthorizationPolicy;

pub(crate) const KIND: Kind = Kind {
    code: "MO0006",
    title: "HTTP rules on a TCP port",
    page: include_str!("tcp_port.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Port(service, port) = subject else {
        return None;
    };
    if may_be_http(port) || !selects(service, case.question.workload) {
        return None;
    }
    let mut policies = case.effective.policies.iter();
    if !policies.any(|policy| has_http_attributes(case, policy)) {
        return None;
    }
    let message = format!(
        "port {} of Service {}/{} is not HTTP to Istio: there, ALLOW rules with \
         HTTP attributes are dropped and DENY rules apply without them",
        port.port, service.namespace, service.name
    );
    Some(
        Mistake::new(message)
            .istio("name the port http-…, or set appProtocol: http")
            .at(service.location.clone()),
    )
}

/// Whether Istio takes, or may take, a port for HTTP.
fn may_be_http(port: &ServicePort) -> bool {
    let name = port.app_protocol.as_deref().or(port.name.as_deref());
    let name = name.unwrap_or_default().to_ascii_lowercase();
    !matches!(
        name.split('-').next().unwrap_or_default(),
        "tcp" | "tls" | "https" | "udp" | "mongo" | "mysql" | "redis"
    )
}

fn selects(service: &Service, workload: &Workload) -> bool {
    let mut wanted = service.selector.iter();
    service.namespace == workload.namespace
        && !service.selector.is_empty()
        && wanted.all(|(key, value)| workload.labels.get(key) == Some(value))
}

/// Whether a policy asks for less on a TCP port.
fn has_http_attributes(case: &Case<'_>, policy: &Resource<AuthorizationPolicy>) -> bool {
    let count = |is_tcp| {
        let action = policy.spec.action;
        let rules = rbac::build(case.question.mesh, &[policy], action, is_tcp)?.rules?;
        Some(
            rules
                .values()
                .map(|rule| rule.conditions().count())
                .sum::<usize>(),
        )
    };
    count(false) != count(true)
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, demo, policy};

    /// Whether it is found with a Service whose port is this.
    fn is_found(policies: &str, port: &str) -> bool {
        let service = format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: backend, namespace: demo}}
spec: {{selector: {{app: backend}}, ports: [{{port: 80, {port}}}]}}
"
        );
        Ask::new(&format!("{policies}{service}")).shows(KIND.code)
    }

    #[test]
    fn http_rules_on_a_tcp_port() {
        assert!(is_found(&demo(), "name: tcp-web"));
        assert!(is_found(&demo(), "appProtocol: tcp, name: http"));
    }

    #[test]
    fn a_port_that_is_or_may_be_http() {
        assert!(!is_found(&demo(), "name: http-web"));
        assert!(!is_found(&demo(), "name: web"), "Istio detects it");
    }

    #[test]
    fn rules_that_mean_the_same_on_any_port() {
        let rules = "[{from: [{source: {namespaces: [demo]}}]}]";
        assert!(!is_found(&policy("p", "ALLOW", rules), "name: tcp-web"));
    }
}
