//! A star that does not mean what it seems to.

use crate::findings::case::Case;
use crate::findings::kind::{Kind, Mistake};
use crate::findings::subject::{Subject, Written};
use crate::matcher::template::is_template;

pub(crate) const KIND: Kind = Kind {
    code: "MO0008",
    title: "a star that does not mean what it seems to",
    page: include_str!("star.md"),
    find,
};

fn find(_: &Case<'_>, subject: Subject<'_>) -> Option<Mistake> {
    match subject {
        Subject::Value(written) if written.is_request_principal => in_principal(written),
        Subject::Value(written) => in_the_middle(written),
        _ => None,
    }
}

fn in_principal(written: Written<'_>) -> Option<Mistake> {
    let value = written.value;
    let meaning = meaning(value)?;
    let fix = "write ISSUER/* for every subject of one issuer, or match \
               request.auth.claims[iss] and [sub] apart";
    let mistake = Mistake::new(format!("`{value}` means {meaning}"));
    Some(mistake.istio(fix).at(written.location()))
}

/// What `ISSUER/SUBJECT` with a star means, where that is a surprise.
fn meaning(value: &str) -> Option<String> {
    match value.rsplit_once('/') {
        Some((issuer, subject))
            if subject.len() > 1 && subject.ends_with('*') && !value.starts_with('*') =>
        {
            let start = &subject[..subject.len() - 1];
            Some(format!(
                "issuer `{issuer}` and a subject that begins with `{start}`"
            ))
        }
        Some((issuer, "*")) if issuer.starts_with('*') => {
            Some("a subject that is a star".to_owned())
        }
        Some((issuer, subject)) if issuer.len() > 1 && issuer.starts_with('*') => Some(format!(
            "an issuer that ends with `{}` and the subject `{subject}`",
            &issuer[1..]
        )),
        None if value.len() > 1 && value.starts_with('*') => Some(format!(
            "any issuer and a subject that ends with `{}`",
            &value[1..]
        )),
        None if !value.contains('*') => Some(format!("issuer `{value}` with an empty subject")),
        _ => None,
    }
}

fn in_the_middle(written: Written<'_>) -> Option<Mistake> {
    let value = written.value;
    let inner = value
        .strip_prefix('*')
        .or_else(|| value.strip_suffix('*'))
        .unwrap_or(value);
    if !inner.contains('*') || is_template(value) {
        return None;
    }
    let message = format!("in `{value}`, a `*` that is neither first nor last is just a star");
    // `paths` and `notPaths`.
    let fix = if written.list.contains("aths") {
        "write {*} for one segment of a path"
    } else {
        "use one `*`, at the beginning or at the end"
    };
    Some(Mistake::new(message).istio(fix).at(written.location()))
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::support::{Ask, ISSUER, allow};

    fn message(rules: &str) -> Option<String> {
        let found = Ask::new(&allow(rules)).finding(KIND.code);
        found.map(|finding| finding.message)
    }

    fn in_principal(value: &str) -> Option<String> {
        message(&format!(
            "[{{from: [{{source: {{requestPrincipals: [\"{value}\"]}}}}]}}]"
        ))
    }

    #[test]
    fn principals_whose_star_reaches_less_far_than_it_seems() {
        let realms = ISSUER.trim_end_matches("/myrealm");
        for (value, meaning) in [
            (&*format!("{realms}/my*"), "a subject that begins with `my`"),
            ("*/*", "a subject that is a star"),
            ("*myrealm/a", "ends with `myrealm` and the subject `a`"),
            ("*a", "any issuer and a subject that ends with `a`"),
            ("a", "issuer `a` with an empty subject"),
        ] {
            let message = in_principal(value).expect(value);
            assert!(message.ends_with(meaning), "{message}");
        }
    }

    #[test]
    fn every_subject_or_one_subject_of_one_issuer_is_what_it_seems() {
        for value in [&format!("{ISSUER}/*"), &format!("{ISSUER}/a"), "*"] {
            assert_eq!(in_principal(value), None, "{value}");
        }
    }

    fn in_paths(values: &str) -> Option<String> {
        message(&format!("[{{to: [{{operation: {{paths: [{values}]}}}}]}}]"))
    }

    #[test]
    fn a_star_in_the_middle_is_just_a_star() {
        assert!(in_paths("\"/a/*/b\"").is_some());
        assert!(in_paths("\"*/a/*\"").is_some());
    }

    #[test]
    fn a_star_at_an_end_or_in_braces_stands_for_something() {
        assert_eq!(in_paths("\"/a/{*}/b\", \"/a/*\", \"*/a\""), None);
    }
}
