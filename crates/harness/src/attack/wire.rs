//! From an attack to the bytes on the wire.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{Origin, Sent, Target, h2};
use crate::case::OneOrMany;

/// Bytes to send over one connection.
#[derive(Clone)]
pub struct Shot {
    /// Who connects.
    pub from: Origin,
    /// To whose proxy.
    pub to: Target,
    /// Protocols offered in the TLS handshake.
    pub alpn: Vec<String>,
    /// The server's name in the TLS handshake.
    pub server_name: Option<String>,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// What came back over one connection.
#[derive(Clone, Default)]
pub struct RawAnswer {
    /// The attacker's end of it, as the workload's proxy sees it; none if it did not
    /// come about, or ended at the caller's own proxy.
    pub local: Option<SocketAddr>,
    /// The attacker's end of it, as the caller's own proxy sees it.
    pub local_at_own_proxy: Option<SocketAddr>,
    /// All that was received.
    pub bytes: Vec<u8>,
    /// How the other side ended the connection, or refused it; none if it only
    /// fell silent.
    pub closed: Option<String>,
}

/// What a placeholder stands for.
pub struct Filling<'a> {
    /// `{id}`.
    pub id: &'a str,
    /// `{token}`.
    pub token: &'a [u8],
    /// `{other_token}`.
    pub other_token: &'a [u8],
    /// `{host}`.
    pub host: &'a str,
}

impl Sent {
    /// All that is sent, placeholders and all.
    pub(super) fn template(&self, to: &Target, has_token: bool) -> String {
        if let Some(headers) = &self.h2 {
            let lines: Vec<_> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            return lines.join("\n") + self.body.as_deref().unwrap_or_default();
        }
        self.head(to, has_token, 0) + self.body.as_deref().unwrap_or_default()
    }

    /// The bytes.
    pub fn bytes(
        &self,
        to: &Target,
        has_token: bool,
        filling: &Filling<'_>,
    ) -> Result<Vec<u8>, String> {
        let body = fill(self.body.as_deref().unwrap_or_default(), filling)?;
        if let Some(headers) = &self.h2 {
            let headers = headers
                .iter()
                .map(|(name, value)| Ok((fill(name, filling)?, fill(value, filling)?)))
                .collect::<Result<Vec<_>, String>>()?;
            return Ok(h2::request(&headers, self.body.is_some().then_some(&body)));
        }
        let mut bytes = fill(&self.head(to, has_token, body.len()), filling)?;
        bytes.extend(body);
        Ok(bytes)
    }

    fn head(&self, to: &Target, has_token: bool, length: usize) -> String {
        if let Some(lines) = &self.lines {
            return lines.join("\r\n") + "\r\n\r\n";
        }
        let host = self.host.as_ref().unwrap_or(&to.host);
        let path = self.path.as_ref().unwrap_or(&to.path);
        let mut head = format!(
            "{} {path} {}\r\nhost: {host}\r\n",
            self.method, self.version
        );
        let mut header = |name: &str, value: &str| {
            let _ = write!(head, "{name}: {value}\r\n");
        };
        if !self.request_id.is_empty() {
            header("x-request-id", &self.request_id);
        }
        match &self.authorization {
            Some(OneOrMany::One(value)) => header("authorization", value),
            Some(OneOrMany::Many(values)) => values
                .iter()
                .for_each(|value| header("authorization", value)),
            None if has_token => header("authorization", "Bearer {token}"),
            None => {}
        }
        if self.body.is_some() && !self.tells("content-length") && !self.tells("transfer-encoding")
        {
            header("content-length", &length.to_string());
        }
        if !self.tells("connection") {
            header("connection", "close");
        }
        for line in &self.headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head + "\r\n"
    }

    fn tells(&self, header: &str) -> bool {
        self.headers.iter().any(|line| {
            line.split(':')
                .next()
                .is_some_and(|name| name.trim().eq_ignore_ascii_case(header))
        })
    }

    /// Whether the answer has no body, whatever its head says (RFC 9110 §9.3.2).
    pub fn is_head(&self) -> bool {
        self.lines.is_none() && self.method == "HEAD"
    }

    /// Method and path, without the query, as the proxy should record them
    /// unless it refuses to read them; none where the lines do not tell. An
    /// absolute target is told by its path.
    pub fn target(&self, to: &Target) -> (Option<String>, Option<String>) {
        let filled = |text: &str| {
            let filling = Filling {
                id: "{id}",
                token: b"{token}",
                other_token: b"{other_token}",
                host: &to.host,
            };
            let bytes = fill(text, &filling).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let path = |text: &str| {
            let text = filled(text);
            let (scheme, rest) = text.split_once("://").unwrap_or_default();
            let is_absolute =
                !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic());
            let path = if is_absolute {
                rest.find('/').map_or("/", |at| &rest[at..])
            } else {
                &text
            };
            path.split('?').next().unwrap_or_default().to_owned()
        };
        if let Some(headers) = &self.h2 {
            let of = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
            let method = of(":method").map(|(_, value)| filled(value));
            return (method, of(":path").map(|(_, value)| path(value)));
        }
        match &self.lines {
            None => {
                let sent = self.path.as_ref().unwrap_or(&to.path);
                (Some(filled(&self.method)), Some(path(sent)))
            }
            Some(lines) => {
                let head = filled(&lines.join("\n"));
                let mut words = head.split_ascii_whitespace();
                (words.next().map(str::to_owned), words.next().map(path))
            }
        }
    }
}

/// The template with everything filled in: the placeholders of [`Filling`],
/// `{bytes:c0af}` for bytes in hexadecimal and `{repeat:TEXT:1000}`.
pub fn fill(template: &str, filling: &Filling<'_>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        bytes.extend_from_slice(&rest.as_bytes()[..start]);
        rest = &rest[start..];
        let Some(end) = rest.find('}') else {
            break;
        };
        let length = if let Some(value) = placeholder(&rest[1..end], filling)? {
            bytes.extend(value);
            end + 1
        } else {
            // An ordinary brace, as in JSON.
            bytes.push(b'{');
            1
        };
        rest = &rest[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn placeholder(name: &str, filling: &Filling<'_>) -> Result<Option<Vec<u8>>, String> {
    if let Some(digits) = name.strip_prefix("bytes:") {
        return hexadecimal(digits).map(Some);
    }
    if let Some(repeat) = name.strip_prefix("repeat:") {
        let (text, times) = repeat
            .rsplit_once(':')
            .ok_or_else(|| format!("`{{{name}}}` does not say how often"))?;
        let times: usize = times
            .parse()
            .map_err(|_| format!("`{{{name}}}` does not say how often"))?;
        return Ok(Some(text.repeat(times).into_bytes()));
    }
    Ok(match name {
        "id" => Some(filling.id.as_bytes().to_vec()),
        "token" => Some(filling.token.to_vec()),
        "other_token" => Some(filling.other_token.to_vec()),
        "host" => Some(filling.host.as_bytes().to_vec()),
        _ => None,
    })
}

fn hexadecimal(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{{bytes:{digits}}}` is not hexadecimal");
    if digits.len() % 2 == 1 || !digits.is_ascii() {
        return Err(wrong());
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'static> = Filling {
        id: "7",
        token: b"T",
        other_token: b"O",
        host: "h",
    };

    fn backend() -> Target {
        Target {
            name: "backend".to_owned(),
            host: "backend.demo.svc.cluster.local".to_owned(),
            path: "/data".to_owned(),
            principal: "cluster.local/ns/demo/sa/backend".to_owned(),
        }
    }

    fn text(template: &str) -> String {
        String::from_utf8(fill(template, &FILLING).unwrap()).unwrap()
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        assert_eq!(text("{id} {token}.{other_token} {host}"), "7 T.O h");
        assert_eq!(text(r#"{"a":{"b":"{id}"}} {"#), r#"{"a":{"b":"7"}} {"#);
        assert_eq!(text("{repeat:ab:3}"), "ababab");
        assert_eq!(fill("x{bytes:00ff}", &FILLING).unwrap(), b"x\0\xff");
    }

    #[test]
    fn a_placeholder_that_makes_no_sense_is_told() {
        for template in ["{bytes:0}", "{bytes:zz}", "{repeat:a}", "{repeat:a:b}"] {
            assert!(fill(template, &FILLING).is_err(), "{template}");
        }
    }

    #[test]
    fn what_is_asked_for_is_told_in_every_form() {
        let target = |sent: Sent| {
            let (method, path) = sent.target(&backend());
            format!("{} {}", method.unwrap(), path.unwrap())
        };
        let lines = |line: &str| Sent {
            lines: Some(vec![String::new(), line.to_owned(), "a: b".to_owned()]),
            ..Sent::default()
        };
        let path = |path: &str| Sent {
            path: Some(path.to_owned()),
            ..Sent::default()
        };
        assert_eq!(target(path("/a?b")), "GET /a");
        assert_eq!(target(path("/{repeat:x:3}")), "GET /xxx");
        assert_eq!(target(lines("PUT\t/a?b HTTP/1.1")), "PUT /a");
        assert_eq!(target(lines("GET http://{host}/a?b HTTP/1.1")), "GET /a");
        assert_eq!(target(lines("GET http://{host} HTTP/1.1")), "GET /");
        assert_eq!(target(path("/a://b")), "GET /a://b");
    }

    #[test]
    fn members_become_lines_and_lines_stay_as_they_are() {
        let sent = Sent {
            headers: vec!["X-A : b".to_owned()],
            body: Some("abc".to_owned()),
            ..Sent::default()
        };
        let bytes = sent.bytes(&backend(), true, &FILLING).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "GET /data HTTP/1.1\r\nhost: backend.demo.svc.cluster.local\r\nx-request-id: 7\r\n\
             authorization: Bearer T\r\ncontent-length: 3\r\nconnection: close\r\nX-A : b\r\n\r\nabc"
        );
        let sent = Sent {
            lines: Some(vec!["GET  /x".to_owned(), "A:{id}\nB".to_owned()]),
            ..Sent::default()
        };
        let bytes = sent.bytes(&backend(), true, &FILLING).unwrap();
        assert_eq!(bytes, b"GET  /x\r\nA:7\nB\r\n\r\n");
    }
}
