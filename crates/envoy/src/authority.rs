//! A throw-away certificate authority for SPIFFE identities.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use secrecy::SecretString;

/// Signs the certificates of one mesh; its key lives and dies with the process.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate with its private key, both in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate; the authority signed it itself, so it is the whole chain.
    pub chain_pem: String,
    /// PKCS#8.
    pub key_pem: SecretString,
}

impl Authority {
    /// A new authority.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "throw-away mesh root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let root_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            root_pem,
        })
    }

    /// The certificate to trust, in PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A certificate for a principal (`TRUSTDOMAIN/ns/NAMESPACE/sa/ACCOUNT`), for
    /// both ends of a connection. `names` are DNS names besides: meshes need
    /// none, but clients that are no sidecars do.
    pub fn issue(&self, principal: &str, names: &[&str]) -> Result<Certificate, rcgen::Error> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        let uri = format!("spiffe://{principal}").try_into()?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        self.sign(&params)
    }

    /// A certificate for a server of this DNS name, whose clients prove nothing.
    pub fn issue_to_server(&self, host: &str) -> Result<Certificate, rcgen::Error> {
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Certificate, rcgen::Error> {
        let key = KeyPair::generate()?;
        Ok(Certificate {
            chain_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem().into(),
        })
    }
}
