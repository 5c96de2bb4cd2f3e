//! What Envoy makes of the head of an HTTP/1.1 request before any filter sees it
//! (seen on Envoy 1.39.3).

mod normalize;

use crate::request::Request;
use crate::select::PathNormalization;

pub(crate) use normalize::normalize;

/// Why no filter sees a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Envoy answers it itself.
    Refused(Refusal),
    /// What Envoy does is not modelled.
    Open(&'static str),
}

/// An answer of Envoy's codec or connection manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
    /// `response_code_details`.
    pub(crate) details: &'static str,
    pub(crate) reason: &'static str,
}

/// Brings a request into the form that the filters see.
pub(crate) fn read(request: &mut Request, mode: PathNormalization) -> Result<(), Stop> {
    first_line(request)?;
    size(request)?;
    names(request)?;
    framing(request)?;
    target(request)?;
    authority(request)?;
    path(request, mode)?;
    upgrade(request)
}

/// Envoy's connection manager, which answers with a body only where it cannot read
/// the request.
const fn manager(status: u16, details: &'static str, reason: &'static str) -> Stop {
    Stop::Refused(Refusal {
        status,
        body: "",
        details,
        reason,
    })
}

/// Envoy's codec.
const fn codec(details: &'static str, reason: &'static str) -> Stop {
    Stop::Refused(Refusal {
        status: 400,
        body: "Bad Request",
        details,
        reason,
    })
}

const NOT_HTTP: &str = "http1.codec_error";

/// The methods that Envoy's parser knows.
const METHODS: [&str; 34] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// Control characters, then method and target.
fn first_line(request: &mut Request) -> Result<(), Stop> {
    const BLANKS: [char; 2] = [' ', '\t'];
    let parts = [&mut request.method, &mut request.path];
    for text in parts.into_iter().flatten() {
        text.truncate(text.trim_end_matches(BLANKS).len());
    }
    let has_control = |text: &String| text.chars().any(|c| c.is_ascii_control() && c != '\t');
    let first = [&request.method, &request.path, &request.host];
    let headers = request
        .headers
        .iter()
        .flat_map(|(name, value)| [name, value]);
    if first.into_iter().flatten().chain(headers).any(has_control) {
        return Err(codec("http1.invalid_characters", "a control character"));
    }
    if let Some(method) = &request.method
        && !METHODS.contains(&method.as_str())
    {
        return Err(codec(NOT_HTTP, "a method that Envoy does not know"));
    }
    let readable = |target: &String| target.bytes().all(|byte| byte.is_ascii_graphic());
    match &request.path {
        Some(target) if !readable(target) || !is_target(target, request.is_connect()) => {
            Err(codec(NOT_HTTP, "a target that is no path and no URL"))
        }
        _ => Ok(()),
    }
}

/// Whether the parser takes it for a path, a URL, or the target of CONNECT.
fn is_target(target: &str, is_connect: bool) -> bool {
    if target.starts_with(['/', '*']) {
        return true;
    }
    let rest = if is_connect {
        target
    } else {
        let Some((scheme, rest)) = target.split_once("://") else {
            return false;
        };
        let inner = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(inner) {
            return false;
        }
        rest
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    host.chars().all(is_of_authority) && !host.contains("@@")
}

/// Characters of an authority (RFC 3986 §3.2), escapes unread.
fn is_of_authority(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!$%&'()*+,-.:;=@[]_~".contains(c)
}

/// Limits of what a connection manager takes by default.
const MOST_BYTES: usize = 60 * 1024;
const MOST_HEADERS: usize = 100;
/// What the caller's own proxy and client may add without being asked.
const ADDED_BYTES: usize = 4 * 1024;
const ADDED_HEADERS: usize = 16;

fn size(request: &Request) -> Result<(), Stop> {
    let large = |details, reason| {
        Err(Stop::Refused(Refusal {
            status: 431,
            body: "Request Header Fields Too Large",
            details,
            reason,
        }))
    };
    let first = [&request.method, &request.path, &request.host];
    let first: usize = first.into_iter().flatten().map(String::len).sum();
    let headers = request.headers.iter();
    let bytes = first
        + headers
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
    let count = request.headers.len() + usize::from(request.host.is_some());
    if bytes > MOST_BYTES {
        return large("http1.headers_too_large", "more than 60 KiB of headers");
    }
    if count > MOST_HEADERS {
        return large("http1.too_many_headers", "more than a hundred headers");
    }
    // Separators count as well: two line ends and a colon for each.
    if bytes + 4 * count + ADDED_BYTES > MOST_BYTES || count + ADDED_HEADERS > MOST_HEADERS {
        return Err(Stop::Open(
            "how much the caller's own proxy adds: the headers are nearly too large",
        ));
    }
    Ok(())
}

fn names(request: &Request) -> Result<(), Stop> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_name = |name: &str| !name.is_empty() && name.chars().all(is_of_token);
    if request.headers.iter().all(|(name, _)| is_name(name)) {
        Ok(())
    } else {
        Err(codec(NOT_HTTP, "a header with a name that is none"))
    }
}

/// Where a body ends is told once (RFC 9112 §6.3).
fn framing(request: &Request) -> Result<(), Stop> {
    let lengths = request.header("content-length").count();
    let codings = request.header("transfer-encoding").count();
    if lengths + codings > 1 {
        return Err(Stop::Open("which of several lengths the body has"));
    }
    Ok(())
}

/// A target with a host in it replaces the Host header (RFC 9112 §3.2.2).
fn target(request: &mut Request) -> Result<(), Stop> {
    const NO_URL: Stop = codec("http1.invalid_url", "a target that Envoy cannot read");
    let Some(target) = request.path.clone() else {
        return Ok(());
    };
    if request.is_connect() {
        let has_port = target
            .rsplit_once(':')
            .is_some_and(|(_, port)| is_port(port));
        if !has_port || target.contains(['@', '/', '?']) || !is_host(&target)? {
            return Err(NO_URL);
        }
        request.host = Some(target);
        // There is no path for a rule to match.
        request.path = Some(String::new());
        return Ok(());
    }
    if target.starts_with('/') || target.starts_with('*') && request.is_method("OPTIONS") {
        return Ok(());
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err(NO_URL);
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match authority.split_once('@') {
        None => authority,
        Some((user, host)) if user.chars().all(|c| c.is_ascii_alphanumeric()) => host,
        Some(_) => return Err(Stop::Open("how Envoy reads a URL with a user in it")),
    };
    if !is_host(host)? {
        return Err(NO_URL);
    }
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(codec("http1.invalid_scheme", "a URL that is not HTTP's"));
    }
    request.scheme = scheme;
    request.host = Some(host.to_owned());
    request.path = Some(if path.is_empty() { "/" } else { path }.to_owned());
    Ok(())
}

/// Whether Envoy takes it for a host of a URL, perhaps with a port.
fn is_host(text: &str) -> Result<bool, Stop> {
    if let Some(bracketed) = text.strip_prefix('[') {
        return match bracketed.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                Ok(port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
            }
            _ => Err(Stop::Open("how Envoy reads a URL with such brackets")),
        };
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    Ok(!name.is_empty() && name.chars().all(is_of_name) && port.is_none_or(is_port))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && !text.starts_with('+')
}

fn authority(request: &Request) -> Result<(), Stop> {
    match &request.host {
        Some(host) if !host.trim().chars().all(is_of_authority) => Err(codec(
            "http.invalid_authority",
            "a host with characters that no host has",
        )),
        _ => Ok(()),
    }
}

fn path(request: &mut Request, mode: PathNormalization) -> Result<(), Stop> {
    let Some(path) = request.path.clone().filter(|_| !request.is_connect()) else {
        return Ok(());
    };
    if !path.starts_with('/') {
        return Err(manager(
            404,
            "absolute_path_rejected",
            "a path that does not begin with a slash",
        ));
    }
    match normalize(&path, mode) {
        Ok(normal) => request.path = Some(normal.into_owned()),
        Err(details) => return Err(manager(400, details, "the path has no normal form")),
    }
    Ok(())
}

/// The only protocol that istiod lets requests change to is WebSocket; h2c is taken
/// for no wish at all.
fn upgrade(request: &Request) -> Result<(), Stop> {
    match wished_protocol(request) {
        Some(protocol) if protocol != "websocket" && protocol != "h2c" => Err(manager(
            403,
            "upgrade_failed",
            "an upgrade to something other than WebSocket",
        )),
        _ => Ok(()),
    }
}

/// Whether the request asks for a WebSocket, which then is the workload's to grant.
pub(crate) fn asks_for_websocket(request: &Request) -> bool {
    wished_protocol(request).is_some_and(|protocol| protocol == "websocket")
}

fn wished_protocol(request: &Request) -> Option<String> {
    let mut options = request.header("connection").flat_map(|it| it.split(','));
    let asks = options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    let protocols: Vec<_> = request.header("upgrade").collect();
    (asks && !protocols.is_empty()).then(|| protocols.join(",").to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
