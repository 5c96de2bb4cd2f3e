//! Many requests, each sent exactly as given: JSON lines in, JSON lines out.
//!
//! This is how a test harness speaks from inside a pod, so nothing is tidied
//! up on the way: no redirect is followed, no proxy is asked, the path and
//! query stay as written, and the only header added is `host` (with
//! `content-length` or `transfer-encoding` where there is a body).

use std::{
    fmt,
    future::{Future, ready},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Uri,
    body::Bytes,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tower::Service as _;
use tower::util::MapRequest;

use crate::{
    connect_to::ConnectTo,
    error::chain,
    raw::{Heard, converse},
};

/// More of an answer's body than this is an error.
const MAX_BODY: usize = 4 << 20;

/// One request, one line of a batch.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Comes back on the answer.
    pub id: String,
    /// The HTTP method.
    #[serde(default = "get")]
    pub method: String,
    /// An absolute `http` URL; its path and query are sent as written.
    pub url: String,
    /// Header names and values in order; a name may occur more than once.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body, if any.
    #[serde(default)]
    pub body: Option<String>,
    /// Whether an open connection may be used.
    #[serde(default)]
    pub connection: Connection,
    /// Longest time until the answer's last byte, in milliseconds.
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    /// Bytes in base64 that are sent to the URL's host and port in the place of
    /// a request; the answer is then [`Outcome::Raw`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// Which connection a request goes out on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// One of its own.
    #[default]
    Fresh,
    /// An idle one that an earlier `reuse` request left, if there is one.
    Reuse,
}

/// What came of one request, one line of output.
#[derive(Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The request's; `None` for a line that was no request.
    pub id: Option<String>,
    /// What came back.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Time until the answer's last byte, or until the failure.
    #[serde(default)]
    pub elapsed_ms: u64,
}

/// What came back: an HTTP response or none.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// An HTTP response, whatever its status.
    Response(Response),
    /// What came back for raw bytes.
    Raw {
        /// All of it, in base64.
        raw: String,
        /// How the other side ended the connection; absent if it fell silent.
        closed: Option<String>,
        /// The connection's own end, by which the other side knows it.
        local: Option<SocketAddr>,
    },
    /// No response, and why, down to the innermost cause.
    Failure {
        /// Such as `connection refused`.
        error: String,
    },
}

/// An HTTP response.
#[derive(Clone, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, what is not UTF-8 in it replaced.
    pub body: String,
}

impl Request {
    /// A bodiless GET on a fresh connection.
    pub fn get(id: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            method: get(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            connection: Connection::Fresh,
            timeout_ms: five_seconds(),
            raw: None,
        }
    }
}

impl Answer {
    /// The response, if there was one.
    pub fn response(&self) -> Option<&Response> {
        match &self.outcome {
            Outcome::Response(response) => Some(response),
            Outcome::Raw { .. } | Outcome::Failure { .. } => None,
        }
    }

    /// Why there was no response.
    pub fn error(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Response(_) | Outcome::Raw { .. } => None,
            Outcome::Failure { error } => Some(error),
        }
    }

    fn failure(id: Option<String>, error: impl Into<String>) -> Self {
        Self {
            id,
            outcome: Outcome::Failure {
                error: error.into(),
            },
            elapsed_ms: 0,
        }
    }
}

impl Response {
    /// The headers as a map; what cannot stand in one is left out.
    pub fn header_map(&self) -> HeaderMap {
        self.headers
            .iter()
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::try_from(name).ok()?,
                    HeaderValue::try_from(value).ok()?,
                ))
            })
            .collect()
    }

    /// The first value of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn five_seconds() -> u64 {
    5000
}

// === Debug, which never shows a credential or a body ===

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("url", &without_query(&self.url))
            .field("headers", &redacted(&self.headers))
            .field("body", &self.body.as_deref().map(length))
            .field("connection", &self.connection)
            .field("timeout_ms", &self.timeout_ms)
            .field("raw", &self.raw.as_deref().map(length))
            .finish()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("id", &self.id)
            .field("outcome", &self.outcome)
            .field("elapsed_ms", &self.elapsed_ms)
            .finish()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => response.fmt(f),
            Self::Raw { raw, closed, local } => f
                .debug_struct("Raw")
                .field("raw", &length(raw))
                .field("closed", closed)
                .field("local", local)
                .finish(),
            Self::Failure { error } => f.debug_struct("Failure").field("error", error).finish(),
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &redacted(&self.headers))
            .field("body", &length(&self.body))
            .finish()
    }
}

fn redacted(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    const SECRET: [&str; 4] = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
    ];
    headers
        .iter()
        .map(|(name, value)| {
            let secret = SECRET
                .iter()
                .any(|secret| name.eq_ignore_ascii_case(secret));
            (
                name.as_str(),
                if secret { "[redacted]" } else { value.as_str() },
            )
        })
        .collect()
}

/// A query may carry an `access_token` (RFC 6750 §2.3).
fn without_query(url: &str) -> String {
    url.split_once('?')
        .map_or_else(|| url.to_owned(), |(head, _)| format!("{head}?[redacted]"))
}

fn length(body: impl AsRef<str>) -> String {
    format!("[{} bytes]", body.as_ref().len())
}

// === Sending ===

/// Sends requests as they are.
#[derive(Clone)]
pub struct Sender {
    dns: Dns,
    fresh: HttpClient,
    reuse: HttpClient,
}

type Connector = MapRequest<HttpConnector<Dns>, fn(Uri) -> Uri>;
type HttpClient = Client<Connector, Full<Bytes>>;

impl Sender {
    /// A sender with no open connections.
    pub fn new() -> Self {
        Self::with_dns(&Dns::System(Arc::default()))
    }

    /// A sender whose connections all go to one place, such as a workload's
    /// sidecar, whatever host and port a URL names; only one to an IP address
    /// goes where the URL says.
    pub fn connecting_to(place: ConnectTo) -> Self {
        Self::with_dns(&Dns::Fixed(place))
    }

    fn with_dns(dns: &Dns) -> Self {
        let destination: fn(Uri) -> Uri = match dns {
            Dns::System(_) => |uri| uri,
            Dns::Fixed(_) => without_port,
        };
        let client = |idle| {
            let connector = HttpConnector::new_with_resolver(dns.clone());
            Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(idle)
                .retry_canceled_requests(false)
                .build(MapRequest::new(connector, destination))
        };
        Self {
            dns: dns.clone(),
            fresh: client(0),
            reuse: client(usize::MAX),
        }
    }

    /// Sends one request; whatever happens is in the answer.
    pub async fn send(&self, request: Request) -> Answer {
        let started = Instant::now();
        let id = request.id.clone();
        let limit = Duration::from_millis(request.timeout_ms);
        let outcome = match tokio::time::timeout(limit, self.outcome(request)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Failure { error },
            Err(_elapsed) => {
                let error = format!("timed out: no answer within {} ms", limit.as_millis());
                Outcome::Failure { error }
            }
        };
        let elapsed_ms = started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        Answer {
            id: Some(id),
            outcome,
            elapsed_ms,
        }
    }

    async fn outcome(&self, request: Request) -> Result<Outcome, String> {
        match &request.raw {
            Some(raw) => self.converse(&request.url, raw).await,
            None => self.exchange(request).await.map(Outcome::Response),
        }
    }

    async fn converse(&self, url: &str, raw: &str) -> Result<Outcome, String> {
        let uri: Uri = url.parse().map_err(|e| format!("url: {e}"))?;
        let bytes = STANDARD.decode(raw).map_err(|e| format!("raw: {e}"))?;
        let mut connector = HttpConnector::new_with_resolver(self.dns.clone());
        connector.set_nodelay(true);
        let stream = connector.call(uri).await.map_err(|e| chain(&e))?;
        let stream = stream.into_inner();
        let local = stream.local_addr().ok();
        let Heard { bytes, closed } = converse(stream, &bytes).await;
        Ok(Outcome::Raw {
            raw: STANDARD.encode(bytes),
            closed,
            local,
        })
    }

    async fn exchange(&self, request: Request) -> Result<Response, String> {
        let client = match request.connection {
            Connection::Fresh => &self.fresh,
            Connection::Reuse => &self.reuse,
        };
        let answer = client
            .request(http_request(request)?)
            .await
            .map_err(|e| chain(&e))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|e| chain(&*e))?;
        Ok(Response {
            status: head.status.as_u16(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect(),
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

fn http_request(request: Request) -> Result<hyper::Request<Full<Bytes>>, String> {
    let uri: Uri = request.url.parse().map_err(|e| format!("url: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("url: must begin with http://, as inside a mesh".to_owned());
    }
    let body = request.body.map(Bytes::from).unwrap_or_default();
    let mut out = hyper::Request::new(Full::new(body));
    *out.method_mut() = request.method.parse().map_err(|e| format!("method: {e}"))?;
    *out.uri_mut() = uri;
    for (name, value) in request.headers {
        let value = HeaderValue::try_from(value).map_err(|e| format!("header {name}: {e}"))?;
        let name: HeaderName = name.parse().map_err(|e| format!("header {name:?}: {e}"))?;
        out.headers_mut().append(name, value);
    }
    Ok(out)
}

/// A port in the URL would go before the one that the resolver answers with.
fn without_port(uri: Uri) -> Uri {
    let host = uri.host().map(str::to_owned);
    let mut parts = uri.into_parts();
    if let Some(host) = host.and_then(|host| host.parse().ok()) {
        parts.authority = Some(host);
    }
    Uri::from_parts(parts).expect("a URI without its port must be one")
}

#[derive(Clone)]
enum Dns {
    /// Name resolution without libc, which a static binary in an empty image
    /// has not got.
    System(Arc<tokio::sync::OnceCell<TokioResolver>>),
    Fixed(ConnectTo),
}

type Addresses = std::vec::IntoIter<SocketAddr>;
type Resolving = Pin<Box<dyn Future<Output = Result<Addresses, std::io::Error>> + Send>>;

impl tower::Service<Name> for Dns {
    type Response = Addresses;
    type Error = std::io::Error;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let cell = match self {
            Self::System(cell) => cell.clone(),
            Self::Fixed(ConnectTo(address)) => {
                return Box::pin(ready(Ok(vec![*address].into_iter())));
            }
        };
        Box::pin(async move {
            let resolver = cell.get_or_try_init(async || resolver()).await?;
            let found = resolver
                .lookup_ip(name.as_str())
                .await
                .map_err(std::io::Error::other)?;
            // The port is the connector's affair.
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

fn resolver() -> Result<TokioResolver, std::io::Error> {
    let mut builder = TokioResolver::builder_tokio().map_err(std::io::Error::other)?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(std::io::Error::other)
}

// === A whole batch ===

/// Reads requests, one JSON object a line, and writes an [`Answer`] a line as
/// each comes in, up to `in_flight` at a time. Returns when the input has
/// ended and every request is answered.
///
/// A line that is no request is answered with a failure that names the line;
/// the run goes on. Fails only if input or output do.
pub async fn run(
    input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Unpin,
    in_flight: usize,
) -> std::io::Result<()> {
    let (answers, answered) = mpsc::channel(in_flight.max(1));
    tokio::try_join!(
        read_and_send(input, answers, in_flight),
        write(answered, output)
    )?;
    Ok(())
}

async fn read_and_send(
    input: impl AsyncBufRead + Unpin,
    answers: mpsc::Sender<Answer>,
    in_flight: usize,
) -> std::io::Result<()> {
    let sender = Sender::new();
    let slots = Arc::new(Semaphore::new(in_flight.max(1)));
    let mut lines = input.split(b'\n');
    let mut number = 0;
    while let Some(line) = lines.next_segment().await? {
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("must stay open: nobody closes it");
        let (sender, answers) = (sender.clone(), answers.clone());
        tokio::spawn(async move {
            let answer = match serde_json::from_slice(&line) {
                Ok(request) => sender.send(request).await,
                Err(error) => Answer::failure(None, format!("line {number}: {}", unquoted(&error))),
            };
            drop(slot);
            // Nobody listens once the output has failed.
            let _ = answers.send(answer).await;
        });
    }
    Ok(())
}

/// What is wrong with a line, without the values that serde quotes: one of them
/// may be a credential.
fn unquoted(error: &serde_json::Error) -> String {
    let text = error
        .to_string()
        .replace(" at line 1 column ", " at column ");
    let parts = text.split('"').enumerate();
    parts
        .map(|(i, part)| if i % 2 == 0 { part } else { "\"…\"" })
        .collect()
}

async fn write(
    mut answers: mpsc::Receiver<Answer>,
    mut output: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    while let Some(answer) = answers.recv().await {
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        output.write_all(&line).await?;
        output.flush().await?;
    }
    Ok(())
}
