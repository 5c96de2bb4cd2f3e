//! Issuers that people take for the same.

/// Two issuers that differ only by what people overlook.
pub(crate) fn alike(one: &str, other: &str) -> bool {
    one != other && bare(one) == bare(other)
}

/// An issuer without scheme, port, `/auth`, capitals and slashes at the end.
fn bare(issuer: &str) -> String {
    let (scheme, rest) = issuer.split_once("://").unwrap_or(("", issuer));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match scheme {
        "http" => host.strip_suffix(":80").unwrap_or(host),
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => host,
    };
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let path = path.strip_prefix("auth/").unwrap_or(path);
    format!(
        "{}/{}",
        host.to_ascii_lowercase(),
        path.trim_end_matches('/').to_ascii_lowercase()
    )
}
