//! TLS with certificates on both sides, as Docker's `--tlsverify`: a client is answered only if a certificate authority has signed
//! its certificate. Access to the API is access as the user of the daemon, so there is no TLS without it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Result};
use crate::text::{printed, text_with};

/// The files with the certificates and the key, in the form PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// The certificates of the authorities that sign those of the other side.
    pub authorities: PathBuf,
    /// The own certificate, of the daemon or of the client, and those between it and its authority.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::failed(text_with("daemon.tls.file", &[("path", &printed(path))])).why(printed(why.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<_> = read.map_err(|error| unusable(path, &error))?;
    match all.is_empty() {
        true => Err(unusable(path, &crate::text::text("daemon.tls.none"))),
        false => Ok(all),
    }
}

/// The certificates of the authorities.
fn authorities(files: &TlsFiles) -> Result<RootCertStore> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(&files.authorities)? {
        authorities.add(certificate).map_err(|error| unusable(&files.authorities, &error))?;
    }
    Ok(authorities)
}

/// The own certificate, and its key.
fn identity(files: &TlsFiles) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
    Ok((chain, key))
}

/// What accepts connections of clients with a certificate.
///
/// # Errors
/// A file cannot be read, or has not what is expected.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let provider = Arc::new(default_provider());
    let authorities = Arc::new(authorities(files)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider.clone());
    let verifier = verifier.build().map_err(|error| unusable(&files.authorities, &error))?;
    let (chain, key) = identity(files)?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(&files.certificate, &error))?;
    let config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| unusable(&files.certificate, &error))?)))
}

/// The client's side of a connection to a daemon at this address. The certificate of the daemon must have the address.
///
/// # Errors
/// As [`acceptor`].
pub(super) fn client(files: &TlsFiles, at: IpAddr) -> Result<ClientConnection> {
    let wrong = |error: rustls::Error| unusable(&files.certificate, &error);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(wrong)?;
    let (chain, key) = identity(files)?;
    let config = config.with_root_certificates(authorities(files)?).with_client_auth_cert(chain, key);
    ClientConnection::new(Arc::new(config.map_err(wrong)?), ServerName::IpAddress(at.into())).map_err(wrong)
}
