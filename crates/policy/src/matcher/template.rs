//! Path templates: `{*}` stands for one segment, `{**}` for any number.

use regex::Regex;

const ONE: &str = "{*}";
const ANY: &str = "{**}";

/// Whether a path is a template at all.
pub(crate) fn is_template(path: &str) -> bool {
    path.contains(ONE) || path.contains(ANY)
}

/// Refuses what Istio's webhook refuses about a path.
pub(crate) fn check(path: &str) -> Result<(), String> {
    let template = is_template(path);
    let mut any_seen = false;
    for segment in path.trim_matches('/').split('/') {
        match segment {
            ONE | ANY if any_seen => {
                return Err("nothing but literals may follow `{**}`".to_owned());
            }
            ONE => {}
            ANY => any_seen = true,
            _ if segment.contains(['{', '}']) => {
                return Err("`{*}` and `{**}` must be whole segments".to_owned());
            }
            _ if template && !is_literal(segment) => {
                return Err(format!("`{segment}` cannot stand in a template"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_literal(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte))
}

/// Envoy's form of a template (`uri_template`).
pub(crate) fn envoy(path: &str) -> String {
    path.replace(ANY, "**").replace(ONE, "*")
}

/// What Envoy matches the path against, without query.
pub(crate) fn regex(path: &str) -> Option<Regex> {
    const SEGMENT: &str = "[a-zA-Z0-9-._~%!$&'()+,;:@=]";
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| match segment {
            ONE => format!("{SEGMENT}+"),
            ANY => format!("{}*", SEGMENT.replace(']', "/]")),
            literal => regex::escape(literal),
        })
        .collect();
    Regex::new(&format!("^(?:{})$", segments.join("/"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(template: &str, path: &str) -> bool {
        regex(template).expect("must compile").is_match(path)
    }

    #[test]
    fn one_star_is_exactly_one_segment() {
        assert!(matches("/a/{*}/b", "/a/x/b"));
        assert!(!matches("/a/{*}/b", "/a/x/y/b"));
        assert!(!matches("/a/{*}/b", "/a//b"));
    }

    #[test]
    fn two_stars_are_any_number_of_segments() {
        assert!(matches("/a/{**}", "/a/"));
        assert!(matches("/a/{**}", "/a/x/y"));
        assert!(!matches("/a/{**}", "/a"));
        assert!(matches("/a/{**}/z", "/a/x/y/z"));
    }

    #[test]
    fn operators_are_whole_segments_and_two_stars_come_last() {
        assert!(check("/a/{*}/{**}/z").is_ok());
        assert!(check("/a/x{*}").is_err());
        assert!(check("/a/{**}/{*}").is_err());
        assert!(check("/a/{b}").is_err());
        assert!(check("/a b/{*}").is_err());
        assert!(check("/a*").is_ok());
    }
}
