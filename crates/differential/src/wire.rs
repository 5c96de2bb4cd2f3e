//! HTTP/1.1 as it stands: no client library comes between the scene's bytes and
//! Envoy, because one that tidies paths or headers up would hide what is asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::scene::{Connection, PRINCIPALS, Request, SOURCE};
use envoy::Authority;

/// From a request to its whole answer; Envoy decides in well under a millisecond.
const ANSWER: Duration = Duration::from_secs(20);

/// The header that names a call in the access log.
pub const CASE_HEADER: &str = "x-case";

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// An answer.
    Response(Response),
    /// Envoy closed the connection instead; the port is that of
    /// [`Response::line`], if the connection came about at all.
    Closed(Option<u16>),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
    /// `www-authenticate`.
    pub www_authenticate: Option<String>,
    /// `grpc-status`.
    pub grpc_status: Option<String>,
    /// `grpc-message`.
    pub grpc_message: Option<String>,
    /// The source port of the connection, as the PROXY header tells it.
    pub line: u16,
}

/// Connects as each of the callers.
#[derive(Debug)]
pub struct Client {
    tls: BTreeMap<&'static str, Arc<ClientConfig>>,
    /// How many connections were opened.
    opened: AtomicU16,
}

impl Client {
    /// A client with a certificate for each of [`PRINCIPALS`].
    pub fn new(authority: &Authority) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(
            authority.root_pem().as_bytes(),
        )?)?;
        let config = |principal: &&'static str| {
            let certificate = authority.issue(principal, &[])?;
            let chain = CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes())?;
            let key = certificate.key_pem.expose_secret();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
            let mut config = ClientConfig::builder()
                .with_root_certificates(roots.clone())
                .with_client_auth_cert(vec![chain], key)?;
            config.alpn_protocols = ["istio-http/1.1", "istio", "http/1.1"]
                .map(|name| name.as_bytes().to_vec())
                .to_vec();
            // A resumed session would carry the identity of another listener's.
            config.resumption = Resumption::disabled();
            anyhow::Ok((*principal, Arc::new(config)))
        };
        Ok(Self {
            tls: PRINCIPALS.iter().map(config).collect::<Result<_>>()?,
            opened: AtomicU16::new(0),
        })
    }

    /// Opens a connection to the sidecar that listens on `port` of loopback.
    async fn connect(&self, port: u16, connection: &Connection) -> Result<Line> {
        let address = SocketAddr::new(SOURCE, port);
        let mut stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to Envoy at {address}"))?;
        stream.set_nodelay(true)?;
        let line = self.opened.fetch_add(1, Ordering::Relaxed);
        stream
            .write_all(connection.proxy_header(line).as_bytes())
            .await?;
        let Some(principal) = &connection.principal else {
            return Ok(Line::new(line, Box::new(stream)));
        };
        let config = self
            .tls
            .get(principal.as_str())
            .with_context(|| format!("nobody has a certificate for {principal}"))?;
        // An address is no server name, so none is sent for one.
        let name = match &connection.server_name {
            Some(name) => ServerName::try_from(name.clone())?,
            None => ServerName::from(IpAddr::from([127, 0, 0, 1])),
        };
        let stream = TlsConnector::from(config.clone())
            .connect(name, stream)
            .await?;
        Ok(Line::new(line, Box::new(stream)))
    }

    /// Sends requests one after the other over one connection, and over a new
    /// one where Envoy closed it.
    pub async fn ask(
        &self,
        port: u16,
        connection: &Connection,
        requests: &[(String, Request)],
    ) -> Result<Vec<Received>> {
        let mut received = Vec::with_capacity(requests.len());
        let mut line: Option<Line> = None;
        for (case, request) in requests {
            let bytes = render(request, case);
            let is_head = request.method == "HEAD";
            let mut answer = match &mut line {
                None => None,
                Some(line) => line.exchange(&bytes, is_head).await?,
            };
            // A kept connection may have been closed since its last answer.
            if answer.is_none() {
                line = self.open(port, connection).await?;
                if let Some(line) = &mut line {
                    answer = line.exchange(&bytes, is_head).await?;
                }
            }
            let number = line.as_ref().map(|line| line.port);
            line = line.filter(|line| !line.done && answer.is_some());
            received.push(answer.map_or(Received::Closed(number), Received::Response));
        }
        Ok(received)
    }

    /// `None` if Envoy does not want the connection.
    async fn open(&self, port: u16, connection: &Connection) -> Result<Option<Line>> {
        match self.connect(port, connection).await {
            Ok(line) => Ok(Some(line)),
            Err(error) if error.downcast_ref().is_some_and(is_closed) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the other side ended the connection: outright, by a TLS alert, or by
/// answering a handshake in plain text.
fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | InvalidData | UnexpectedEof
    )
}

fn render(request: &Request, case: &str) -> Vec<u8> {
    let Request {
        method, path, host, ..
    } = request;
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{CASE_HEADER}: {case}\r\n");
    for (name, value) in &request.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("content-length: 0\r\n\r\n");
    text.into_bytes()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to Envoy.
struct Line {
    port: u16,
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// Envoy said that it is the last answer.
    done: bool,
}

impl Line {
    fn new(port: u16, stream: Box<dyn Stream>) -> Self {
        Self {
            port,
            stream,
            buffer: Vec::with_capacity(4096),
            done: false,
        }
    }

    async fn exchange(&mut self, request: &[u8], is_head: bool) -> Result<Option<Response>> {
        match timeout(ANSWER, self.converse(request, is_head)).await {
            Err(_) => anyhow::bail!("Envoy gave no answer within {ANSWER:?}"),
            Ok(Ok(response)) => Ok(Some(response)),
            Ok(Err(error)) if is_closed(&error) => Ok(None),
            Ok(Err(error)) => Err(error.into()),
        }
    }

    async fn converse(&mut self, request: &[u8], is_head: bool) -> io::Result<Response> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            if let Some((response, done)) = parse(&self.buffer, self.port, is_head)? {
                self.done = done;
                return Ok(response);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The response, and whether it is the connection's last; `None` as long as there
/// is more to come.
fn parse(bytes: &[u8], line: u16, is_head: bool) -> io::Result<Option<(Response, bool)>> {
    let invalid = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("not an HTTP/1.1 response: {error}"))
    };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let head = response.parse(bytes).map_err(|error| invalid(&error))?;
    let httparse::Status::Complete(start) = head else {
        return Ok(None);
    };
    let header = |wanted: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(wanted))
            .map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let length = match header("content-length") {
        // The length is that of the answer to GET.
        Some(_) if is_head => 0,
        Some(length) => length.parse().map_err(|error| invalid(&error))?,
        None => 0,
    };
    let Some(body) = bytes.get(start..start + length) else {
        return Ok(None);
    };
    let done = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let answer = Response {
        status: response.code.unwrap_or_default(),
        body: String::from_utf8_lossy(body).into_owned(),
        www_authenticate: header("www-authenticate"),
        grpc_status: header("grpc-status"),
        grpc_message: header("grpc-message"),
        line,
    };
    Ok(Some((answer, done)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_whole_only_with_its_body() {
        let bytes =
            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\nWWW-Authenticate: Bearer\r\n\r\nstop";
        for end in 0..bytes.len() {
            assert!(
                parse(&bytes[..end], 7, false).unwrap().is_none(),
                "{end} bytes"
            );
        }
        let (response, done) = parse(bytes, 7, false).unwrap().unwrap();
        assert_eq!(response.status, 403);
        assert_eq!(response.body, "stop");
        assert_eq!(response.www_authenticate.as_deref(), Some("Bearer"));
        assert!(!done);
    }

    #[test]
    fn request_is_sent_byte_for_byte() {
        let request = Request {
            path: "/a/../b\\c#d".to_owned(),
            headers: vec![("X-A".to_owned(), " 1".to_owned())],
            ..Request::default()
        };
        assert_eq!(
            String::from_utf8(render(&request, "7")).unwrap(),
            "GET /a/../b\\c#d HTTP/1.1\r\nhost: x\r\nx-case: 7\r\nX-A:  1\r\n\
             content-length: 0\r\n\r\n"
        );
    }
}
