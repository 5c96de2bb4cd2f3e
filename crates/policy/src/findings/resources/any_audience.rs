//! Tokens for any audience are accepted.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::Subject;

pub(crate) const KIND: Kind = Kind {
    code: "MO0015",
    title: "tokens for any audience are accepted",
    page: include_str!("any_audience.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    let Subject::Accepted(provider) = subject else {
        return None;
    };
    let message = || {
        format!(
            "RequestAuthentication {} accepts every token of `{}`, whichever \
             service it was made for",
            provider.resource.id(),
            provider.rule.issuer
        )
    };
    provider.rule.audiences.is_empty().then(|| {
        Mistake::new(message())
            .istio("set `audiences`")
            .at(provider.location())
    })
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, codes, request_authentication};

    #[test]
    fn a_rule_without_audiences() {
        let codes = |fields| codes(&Ask::new(&request_authentication(fields)).explain());
        assert_eq!(codes(""), [KIND.code]);
        assert_eq!(codes(", audiences: [a]"), [""; 0]);
    }
}
