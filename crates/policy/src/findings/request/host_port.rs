//! The Host header has a port, which hosts in rules are compared with.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::matcher::Leaf;

pub(crate) const KIND: Kind = Kind {
    code: "MO0017",
    title: "the Host header has a port",
    page: include_str!("host_port.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::MissedTest(condition, Leaf::Header { name, .. }) = subject else {
        return None;
    };
    let host = case.question.request.host.as_deref()?;
    let (bare, port) = host.rsplit_once(':')?;
    let mut wanted = condition.values.iter();
    if name != ":authority" || !wanted.any(|value| value.eq_ignore_ascii_case(bare)) {
        return None;
    }
    let message =
        format!("the Host header is `{bare}:{port}`, and hosts are compared with their port");
    Some(Mistake::new(message).istio(format!("write both `{bare}` and `{bare}:*`")))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, codes, policy};

    #[test]
    fn a_host_that_only_its_port_keeps_from_matching() {
        let rules = "[{to: [{operation: {hosts: [backend.demo]}}]}]";
        let ask = |host: &str| {
            Ask::new(&policy("p", "ALLOW", rules))
                .request(|request| request.host = Some(host.to_owned()))
        };
        assert_eq!(codes(&ask("backend.demo:8080").explain()), [KIND.code]);
        assert!(!ask("other.demo:8080").shows(KIND.code));
        assert!(!ask("other.demo").shows(KIND.code));
    }
}
