//! A question to a server that speaks TLS itself, as istiod asks Keycloak for its
//! keys.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

/// More than any key set has, in bytes.
const MAX_BODY: usize = 1 << 20;

/// The body of a GET over a connection that leads to the URL's host. Fails unless
/// the certificate is for that host and by one of these authorities (PEM), and the
/// answer is 200.
pub async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
    authorities: &[&str],
) -> Result<String> {
    let host = url.host_str().context("a URL without a host")?;
    let connector = TlsConnector::from(Arc::new(config(authorities)?));
    let name = ServerName::try_from(host.to_owned())?;
    let stream = connector.connect(name, stream).await;
    let stream = stream.with_context(|| format!("TLS with {host}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&url[url::Position::BeforePath..])
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let answer = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        ensure!(head.status == 200, "{url} answers {}", head.status);
        Ok(String::from_utf8(body.to_vec())?)
    };
    // What goes wrong with the connection goes wrong with the answer, too.
    tokio::join!(answer, connection).0
}

fn config(authorities: &[&str]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pem in authorities {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use envoy::{Authority, Certificate};
    use secrecy::ExposeSecret as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys";

    /// A server's certificate, and the authority that vouches for it.
    fn certificate() -> (Certificate, String) {
        let authority = Authority::generate().unwrap();
        let certificate = authority.issue_to_server("keycloak.test").unwrap();
        (certificate, authority.root_pem().to_owned())
    }

    fn server(certificate: &Certificate, answer: &'static [u8]) -> DuplexStream {
        let (here, there) = duplex(1 << 16);
        let chain = CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes());
        let key = certificate.key_pem.expose_secret().as_bytes();
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain.unwrap()], key)
            .unwrap();
        tokio::spawn(async move {
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(there).await?;
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).await?;
            assert!(asked[..read].starts_with(b"GET /certs?a=b HTTP/1.1\r\n"));
            stream.write_all(answer).await?;
            stream.shutdown().await
        });
        here
    }

    async fn ask(
        certificate: &Certificate,
        url: &str,
        authority: &str,
        answer: &'static [u8],
    ) -> Result<String> {
        let stream = server(certificate, answer);
        get(stream, &url.parse().unwrap(), &[authority]).await
    }

    #[tokio::test]
    async fn keys_come_from_a_server_that_its_authority_vouches_for_and_no_other() {
        let (own, authority) = certificate();
        let (_, other) = certificate();
        let url = "https://keycloak.test/certs?a=b";
        let keys = ask(&own, url, &authority, ANSWER).await;
        assert_eq!(keys.unwrap(), "keys");
        let stranger = ask(&own, url, &other, ANSWER).await;
        let error = format!("{:#}", stranger.unwrap_err());
        assert!(error.contains("certificate"), "{error}");
        let elsewhere = "https://elsewhere.test/certs?a=b";
        let error = ask(&own, elsewhere, &authority, ANSWER).await;
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("not valid for name"), "{error}");
    }

    #[tokio::test]
    async fn only_200_brings_keys() {
        let (own, authority) = certificate();
        let url = "https://keycloak.test/certs?a=b";
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let error = ask(&own, url, &authority, answer).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{url} answers 404 Not Found"));
        let cut_off = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nkeys";
        assert!(ask(&own, url, &authority, cut_off).await.is_err());
    }
}
