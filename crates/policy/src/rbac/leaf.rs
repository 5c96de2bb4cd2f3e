//! Single values to single tests.

use crate::matcher::{HeaderValue, Leaf, Pattern, StringMatcher, quote_meta, template};

pub(super) fn header(name: &str, value: &str, ignore_case: bool) -> Leaf {
    let value = if value == "*" {
        HeaderValue::Present
    } else {
        HeaderValue::Matches(StringMatcher {
            ignore_case,
            ..StringMatcher::from_value(value)
        })
    };
    Leaf::Header {
        name: name.to_owned(),
        value,
    }
}

pub(super) fn path(value: &str) -> Leaf {
    if template::is_template(value) {
        Leaf::UriTemplate {
            text: template::envoy(value),
            regex: template::regex(value),
        }
    } else {
        Leaf::UrlPath(StringMatcher::from_value(value))
    }
}

pub(super) fn list_or_string(value: &str) -> (bool, StringMatcher) {
    if value.starts_with('[') && value.ends_with(']') {
        (
            true,
            StringMatcher::from_value(value.trim_matches(['[', ']'])),
        )
    } else {
        (false, StringMatcher::from_value(value))
    }
}

pub(super) fn namespace(value: &str) -> Leaf {
    let parts: Vec<_> = value.split('*').map(quote_meta).collect();
    authenticated_regex(format!(".*/ns/{}/.*", parts.join(".*")))
}

pub(super) fn service_account(own_namespace: &str, value: &str) -> Leaf {
    let (namespace, account) = value.split_once('/').unwrap_or((own_namespace, value));
    authenticated_regex(format!(
        "spiffe://.+/ns/{}/(.+/|)sa/{}(/.+)?",
        quote_meta(namespace),
        quote_meta(account)
    ))
}

pub(super) fn principal(value: &str) -> Leaf {
    match (value, value.strip_prefix('*')) {
        ("*", _) => Leaf::Authenticated(StringMatcher::from_value("*")),
        (_, Some(suffix)) => authenticated_regex(format!("spiffe://.*{}", quote_meta(suffix))),
        (_, None) => Leaf::Authenticated(StringMatcher::from_value(&format!("spiffe://{value}"))),
    }
}

pub(super) fn trust_domain(value: &str) -> Leaf {
    let prefix = |text: String| Leaf::Authenticated(StringMatcher::new(Pattern::Prefix(text)));
    match value.split_once('*') {
        _ if value == "*" => prefix("spiffe://".to_owned()),
        None => prefix(format!("spiffe://{value}/")),
        Some((head, tail)) => authenticated_regex(format!(
            "spiffe://{}[^/]*{}/.*",
            quote_meta(head),
            quote_meta(tail)
        )),
    }
}

fn authenticated_regex(source: String) -> Leaf {
    Leaf::Authenticated(StringMatcher::regex(source))
}

/// `ISSUER/SUBJECT`, split at the last slash: the traps are all here.
pub(super) fn request_principal(value: &str) -> Leaf {
    let any = || StringMatcher::new(Pattern::NotEmpty);
    let split = value.rsplit_once('/');
    let (issuer, subject) = match (value, split) {
        ("*", _) => (any(), any()),
        (_, Some(("*", subject))) => (any(), StringMatcher::exact(subject)),
        (_, Some((issuer, subject))) if issuer.starts_with('*') => (
            StringMatcher::new(Pattern::Suffix(issuer[1..].to_owned())),
            StringMatcher::exact(subject),
        ),
        (_, None) if value.starts_with('*') => (
            any(),
            StringMatcher::new(Pattern::Suffix(value[1..].to_owned())),
        ),
        (_, Some((issuer, "*"))) => (StringMatcher::exact(issuer), any()),
        (_, Some((issuer, subject))) if subject.ends_with('*') => (
            StringMatcher::exact(issuer),
            StringMatcher::new(Pattern::Prefix(subject[..subject.len() - 1].to_owned())),
        ),
        (_, None) if value.ends_with('*') => (
            StringMatcher::new(Pattern::Prefix(value[..value.len() - 1].to_owned())),
            any(),
        ),
        (_, Some((issuer, subject))) => {
            (StringMatcher::exact(issuer), StringMatcher::exact(subject))
        }
        (_, None) => (StringMatcher::exact(value), StringMatcher::exact("")),
    };
    Leaf::RequestPrincipal { issuer, subject }
}
