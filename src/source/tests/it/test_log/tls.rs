//! A certificate authority of one server, for clients that read logs over TLS only.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// The authority's certificate, which clients are to trust.
    pub(crate) ca_pem: String,
}

impl Tls {
    /// A new authority and a certificate for `localhost` and this address.
    pub(crate) fn new(address: IpAddr) -> io::Result<Self> {
        let ca_key = KeyPair::generate().map_err(io::Error::other)?;
        let mut ca = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Not that of the leaf, which would look self-signed.
        ca.distinguished_name.push(DnType::CommonName, "Test Log Server CA");
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_pem = ca.self_signed(&ca_key).map_err(io::Error::other)?.pem();

        let key = KeyPair::generate().map_err(io::Error::other)?;
        let names = vec!["localhost".to_owned(), address.to_string()];
        let leaf = CertificateParams::new(names).map_err(io::Error::other)?;
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key))
            .map_err(io::Error::other)?;
        Ok(Self { config: Arc::new(config), ca_pem })
    }
}
