//! The attributes that a `when` condition can name.

/// A condition's attribute, as istiod reads its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Header,
    SourceIp,
    RemoteIp,
    SourceNamespace,
    SourceServiceAccount,
    SourcePrincipal,
    SourceTrustDomain,
    RequestPrincipal,
    RequestAudiences,
    RequestPresenter,
    Claims,
    DestinationIp,
    DestinationPort,
    Sni,
    FilterMetadata,
}

const HEADERS: &str = "request.headers";
const CLAIMS: &str = "request.auth.claims";
const FILTERS: &str = "experimental.envoy.filters.";

impl Attribute {
    pub(crate) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::SourceNamespace,
            "source.serviceAccount" => Self::SourceServiceAccount,
            "source.principal" => Self::SourcePrincipal,
            "source.trustDomain" => Self::SourceTrustDomain,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::RequestAudiences,
            "request.auth.presenter" => Self::RequestPresenter,
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::Sni,
            _ if key.starts_with(HEADERS) => Self::Header,
            _ if key.starts_with(CLAIMS) => Self::Claims,
            _ if key.starts_with(FILTERS) => Self::FilterMetadata,
            _ => return None,
        })
    }

    /// Whether istiod turns it into a permission; the others become principals.
    pub(crate) fn is_permission(self) -> bool {
        matches!(
            self,
            Self::DestinationIp | Self::DestinationPort | Self::Sni | Self::FilterMetadata
        )
    }
}

/// Whether a key has the form `a[b]` that the webhook asks for.
pub(crate) fn map_key(key: &str) -> bool {
    let open = key.find('[');
    key.ends_with(']') && open.is_some_and(|open| open > 0 && open + 2 < key.len())
}

/// The header's name in `request.headers[NAME]`.
pub(crate) fn header_name(key: &str) -> Option<&str> {
    key.strip_prefix(HEADERS)?
        .strip_prefix('[')?
        .strip_suffix(']')
}

/// The filter and key in `experimental.envoy.filters.FILTER[KEY]`.
pub(crate) fn filter_key(key: &str) -> Option<(&str, &str)> {
    let key = key.strip_prefix("experimental.")?;
    key.strip_suffix(']').unwrap_or(key).split_once('[')
}

/// The nested claim names in `request.auth.claims[a][b]`.
///
/// Brackets that do not nest cleanly make everything between the first and the
/// last one name; dots mean nothing.
pub(crate) fn claim_path(key: &str) -> Option<Vec<String>> {
    let text = key.strip_prefix(CLAIMS)?;
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let segment = rest
            .strip_prefix('[')
            .and_then(|inner| inner.find(['[', ']']).map(|end| (inner, end)))
            .filter(|(inner, end)| inner.as_bytes()[*end] == b']');
        let Some((inner, end)) = segment else {
            let whole = text.strip_prefix('[')?.strip_suffix(']')?;
            return Some(vec![whole.to_owned()]);
        };
        names.push(inner[..end].to_owned());
        rest = &inner[end + 1..];
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_brackets_name_nested_claims() {
        let path = claim_path("request.auth.claims[realm_access][roles]");
        assert_eq!(
            path,
            Some(vec!["realm_access".to_owned(), "roles".to_owned()])
        );
    }

    #[test]
    fn dots_and_slashes_do_not_separate_claims() {
        let path = claim_path("request.auth.claims[https://x.example/roles]");
        assert_eq!(path, Some(vec!["https://x.example/roles".to_owned()]));
    }

    #[test]
    fn brackets_that_do_not_nest_are_part_of_one_name() {
        assert_eq!(
            claim_path("request.auth.claims[[a]]"),
            Some(vec!["[a]".to_owned()])
        );
        assert_eq!(
            claim_path("request.auth.claims[a]b]"),
            Some(vec!["a]b".to_owned()])
        );
    }

    #[test]
    fn a_key_without_brackets_is_no_claim() {
        assert_eq!(claim_path("request.auth.claimsx[a]"), None);
    }

    #[test]
    fn a_map_key_needs_something_in_its_brackets() {
        assert!(map_key("request.headers[a]"));
        assert!(!map_key("request.headers[]"));
        assert!(!map_key("request.headers"));
    }
}
