//! An mTLS identity is asked for on a plain-text connection.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;
use crate::matcher::Leaf;
use crate::request::Peer;

pub(crate) const KIND: Kind = Kind {
    code: "MO0018",
    title: "an identity is asked for on a plain-text connection",
    page: include_str!("plain_text.md"),
    find,
};

fn find(case: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let (Subject::MissedTest(condition, Leaf::Authenticated(_)), Peer::Plaintext) =
        (subject, &case.question.request.peer)
    else {
        return None;
    };
    let message = format!(
        "{} need mTLS, and the caller has no certificate",
        condition.attribute
    );
    let fix = "give the caller a sidecar, and make mTLS STRICT so that it shows early";
    Some(Mistake::new(message).istio(fix))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::Peer;
    use crate::support::{Ask, codes, policy};

    #[test]
    fn a_namespace_is_asked_of_a_caller_without_a_certificate() {
        let rules = "[{from: [{source: {namespaces: [other]}}]}]";
        let ask =
            |peer| Ask::new(&policy("p", "ALLOW", rules)).request(|request| request.peer = peer);
        assert_eq!(codes(&ask(Peer::Plaintext).explain()), [KIND.code]);
        let caller = Peer::mtls("cluster.local/ns/demo/sa/caller");
        assert!(!ask(caller).shows(KIND.code));
    }
}
