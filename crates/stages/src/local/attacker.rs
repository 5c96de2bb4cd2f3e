//! An attacker on the local stage: connects straight to a sidecar, with whatever
//! certificate, and sends whatever bytes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use secrecy::ExposeSecret as _;
use token_client::raw::{Heard, converse};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::state::{Sidecar, State, read_lines};
use envoy::{Authority, Certificate};
use harness::attack::{AppLine, Origin, RawAnswer, Shot};
use harness::suite::Suite;

/// Sends an attack and reads until the sidecar closes the connection or says
/// nothing more. `member` is the identity whose certificate is misused as an
/// authority's.
pub async fn attack(state: &State, member: Option<&str>, shot: &Shot) -> Result<RawAnswer> {
    let target = state.sidecar(&shot.to.name)?;
    let target = target
        .inbound
        .as_ref()
        .context("the target has no port")?
        .address;
    let (stream, local) = connect(source(state, &shot.from), target).await?;
    let heard = |heard: Heard| RawAnswer {
        local: Some(local),
        local_at_own_proxy: None,
        bytes: heard.bytes,
        closed: heard.closed,
    };
    if matches!(&shot.from, Origin::Caller(caller) if caller.principal.is_none()) {
        return Ok(heard(converse(stream, &shot.bytes).await));
    }
    let connector = TlsConnector::from(Arc::new(tls(state, member, shot)?));
    let name = match &shot.server_name {
        Some(name) => ServerName::try_from(name.clone())?,
        None => ServerName::from(target.ip()),
    };
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(heard(converse(stream, &shot.bytes).await)),
        Err(error) => Ok(heard(Heard {
            bytes: Vec::new(),
            closed: Some(format!("TLS handshake: {error}")),
        })),
    }
}

/// From the caller's own address, if it has one.
fn source(state: &State, from: &Origin) -> IpAddr {
    sidecar_of(state, from).map_or(Ipv4Addr::LOCALHOST.into(), |sidecar| sidecar.outbound.ip())
}

fn sidecar_of<'a>(state: &'a State, from: &Origin) -> Option<&'a Sidecar> {
    let Origin::Caller(caller) = from else {
        return None;
    };
    of_identity(state, caller.principal.as_deref()?)
}

fn of_identity<'a>(state: &'a State, principal: &str) -> Option<&'a Sidecar> {
    let mut sidecars = state.sidecars.iter();
    sidecars.find(|sidecar| sidecar.principal == principal)
}

async fn connect(source: IpAddr, target: SocketAddr) -> Result<(TcpStream, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket
        .connect(target)
        .await
        .with_context(|| format!("connecting to Envoy at {target}"))?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

// === Certificates ===

fn tls(state: &State, member: Option<&str>, shot: &Shot) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(state.root_pem.as_bytes())?)?;
    let verifier = AnyMember {
        roots,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificate(state, member, &shot.from)? {
        None => config.with_no_client_auth(),
        Some(certificate) => {
            let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()?;
            let key =
                PrivateKeyDer::from_pem_slice(certificate.key_pem.expose_secret().as_bytes())?;
            config.with_client_auth_cert(chain, key)?
        }
    };
    config.alpn_protocols = shot
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn certificate(state: &State, member: Option<&str>, from: &Origin) -> Result<Option<Certificate>> {
    Ok(match from {
        Origin::NoCertificate => None,
        Origin::Caller(caller) => {
            let sidecar = sidecar_of(state, from);
            let sidecar = sidecar.with_context(|| format!("{} has no sidecar", caller.name))?;
            Some(state.certificate_of(sidecar)?)
        }
        Origin::ForeignAuthority(principal) => Some(Authority::generate()?.issue(principal, &[])?),
        Origin::SelfSigned(principal) => {
            let key = KeyPair::generate()?;
            let chain_pem = named(principal)?.self_signed(&key)?.pem();
            Some(Certificate {
                chain_pem,
                key_pem: key.serialize_pem().into(),
            })
        }
        Origin::LeafAsAuthority(principal) => {
            let member = member.and_then(|member| of_identity(state, member));
            let member = member.context("the usual attacker has no certificate")?;
            Some(signed_by_a_leaf(state, member, principal)?)
        }
    })
}

/// What every certificate of the mesh looks like, for this SPIFFE name.
fn named(principal: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let name = format!("spiffe://{principal}").try_into()?;
    params.subject_alt_names.push(SanType::URI(name));
    Ok(params)
}

/// The member's certificate is good; here it is an authority's.
fn signed_by_a_leaf(state: &State, member: &Sidecar, principal: &str) -> Result<Certificate> {
    let leaf = state.certificate_of(member)?;
    let leaf_key = KeyPair::from_pem(leaf.key_pem.expose_secret())?;
    // Certificates of the mesh have the subject that is the default here.
    let issuer = Issuer::new(CertificateParams::default(), leaf_key);
    let key = KeyPair::generate()?;
    let forged = named(principal)?.signed_by(&key, &issuer)?;
    Ok(Certificate {
        chain_pem: forged.pem() + &leaf.chain_pem,
        key_pem: key.serialize_pem().into(),
    })
}

/// Takes any server that the mesh's authority vouches for: sidecars have SPIFFE
/// names, which are no server names.
#[derive(Debug)]
struct AnyMember {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyMember {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

// === Witnesses ===

/// The connections that Envoy's counters say were refused: for the certificate,
/// or for want of one, or because they were not in the protocol.
pub fn refused_connections(stats: &str) -> Result<u64> {
    let is_one = |name: &str| {
        let of_listener = name.starts_with("listener.");
        name == "http.inbound.downstream_cx_protocol_error"
            || of_listener && name.ends_with(".ssl.fail_verify_error")
            || of_listener && name.ends_with(".ssl.fail_verify_no_cert")
    };
    let counted: Vec<u64> = stats
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| is_one(name))
        .filter_map(|(_, count)| count.trim().parse().ok())
        .collect();
    anyhow::ensure!(!counted.is_empty(), "Envoy counts no refused connections");
    Ok(counted.iter().sum())
}

/// The services' own logs, read from where they ended when this began.
#[derive(Debug)]
pub struct AppLogs {
    files: Vec<(String, PathBuf, u64)>,
    lines: Vec<AppLine>,
}

impl AppLogs {
    /// Follows the logs in a stage's folder.
    pub fn follow(suite: &Suite, folder: &Path) -> Self {
        let files = suite.workloads.iter().map(|workload| {
            let path = folder.join(format!("{}.log", workload.name));
            let end = fs::metadata(&path).map_or(0, |file| file.len());
            (workload.name.clone(), path, end)
        });
        Self {
            files: files.collect(),
            lines: Vec::new(),
        }
    }

    /// All lines since the beginning.
    pub fn read(&mut self) -> Vec<AppLine> {
        for (at, path, offset) in &mut self.files {
            let Ok(text) = read_lines(path, offset) else {
                continue;
            };
            self.lines.extend(text.lines().map(|line| AppLine {
                at: at.clone(),
                text: line.to_owned(),
            }));
        }
        self.lines.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::refused_connections;

    #[test]
    fn only_what_a_listener_refused_counts() {
        let stats = "cluster.a.ssl.fail_verify_no_cert: 9\n\
            listener.127.0.0.1_80.ssl.fail_verify_error: 2\n\
            listener.127.0.0.1_80.ssl.fail_verify_no_cert: 1\n\
            http.inbound.downstream_cx_protocol_error: 4\n\
            http.outbound.downstream_cx_protocol_error: 9\n\
            listener.127.0.0.1_80.ssl.handshake: 7\n";
        assert_eq!(refused_connections(stats).unwrap(), 7);
        assert!(refused_connections("cluster.a.ssl.fail_verify_no_cert: 9").is_err());
    }
}
