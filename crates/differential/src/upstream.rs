//! What stands behind the sidecars: it lets everything through and says what it
//! was sent. No server library comes between, which would tidy up or refuse.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use policy::Arrival;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What arrived behind a sidecar, without what Envoy adds on its own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The path with its query.
    pub path: String,
    /// All values of each header.
    pub headers: BTreeMap<String, Vec<String>>,
}

/// Headers of the connection, or of Envoy's own making.
const ENVOYS: [&str; 12] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-case",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

impl Arrived {
    fn new<'a>(path: &str, headers: impl Iterator<Item = (&'a str, String)>) -> Self {
        let mut by_name = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if !ENVOYS.contains(&name.as_str()) && !name.starts_with("x-envoy-") {
                by_name.entry(name).or_default().push(value);
            }
        }
        Self {
            path: path.to_owned(),
            headers: by_name,
        }
    }

    /// What the model says.
    pub fn predicted(arrival: &Arrival) -> Self {
        let headers = arrival.headers.iter();
        Self::new(
            arrival.path.as_deref().unwrap_or_default(),
            headers.map(|(name, value)| (name.as_str(), value.clone())),
        )
    }
}

/// A server on a socket. It ends with this value.
#[derive(Debug)]
pub struct Upstream(JoinHandle<()>);

impl Drop for Upstream {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Upstream {
    /// Listens.
    pub fn start(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        Ok(Self(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Envoy tells a broken connection by its answer.
                tokio::spawn(serve(stream));
            }
        })))
    }
}

/// Answers the requests of one connection.
async fn serve(mut stream: UnixStream) -> Option<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        while let Some((length, answer)) = answer(&buffer)? {
            buffer.drain(..length);
            stream.write_all(&answer).await.ok()?;
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// The length of the first request, which has no body, and the answer to it;
/// `Some(None)` as long as there is more to come.
#[expect(
    clippy::option_option,
    reason = "more to come and beyond reading are two things"
)]
fn answer(bytes: &[u8]) -> Option<Option<(usize, Vec<u8>)>> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes).ok()? else {
        return Some(None);
    };
    let headers = request.headers.iter().map(|header| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name, value)
    });
    let arrived = Arrived::new(request.path?, headers);
    let body = serde_json::to_string(&arrived).ok()?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let body = if request.method == Some("HEAD") {
        ""
    } else {
        &body
    };
    Some(Some((length, [head.as_bytes(), body.as_bytes()].concat())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_tells_path_and_headers_but_not_envoys_own() {
        let request =
            b"GET /a?b HTTP/1.1\r\nhost: x\r\nX-A: 1\r\nx-a: 2\r\nx-envoy-x: y\r\n\r\nGET";
        let (length, answer) = answer(request).unwrap().unwrap();
        assert_eq!(&request[length..], b"GET");
        let text = String::from_utf8(answer).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let arrived: Arrived = serde_json::from_str(body).unwrap();
        assert_eq!(arrived.path, "/a?b");
        let want = BTreeMap::from([("x-a".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        assert_eq!(arrived.headers, want);
    }

    #[test]
    fn half_a_request_has_no_answer_yet() {
        assert_eq!(answer(b"GET / HTTP/1.1\r\nhost"), Some(None));
        assert_eq!(answer(b"\0\0"), None);
    }
}
