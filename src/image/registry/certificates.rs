//! Certificates: the authorities of this machine, and those of `certs.d` for one registry.
//!
//!     ~/.config/containers/certs.d/HOST[:PORT]/*.crt           an authority
//!     ~/.config/containers/certs.d/HOST[:PORT]/*.cert, *.key   a certificate of ours, and its key
//!     /etc/containers/certs.d, /etc/docker/certs.d             the same for all users

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

use super::files::config_directory;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::{printed, text, text_with};

/// Where distributions have the authorities that they trust.
const ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];

/// What belongs to one registry.
#[derive(Default)]
pub(super) struct Certificates {
    pub(super) authorities: Vec<Certificate<'static>>,
    pub(super) client: Option<ClientCert>,
}

impl Certificates {
    /// Those of a host. `chosen` is the directory that the command line names.
    pub(super) fn of(host: &str, chosen: Option<&Path>) -> Result<Certificates> {
        let places = match chosen {
            Some(directory) => vec![directory.to_owned()],
            None => directories().into_iter().map(|directory| directory.join(host)).collect(),
        };
        let mut found = Certificates::default();
        // The first directory that exists is used, as podman does.
        let Some(directory) = places.into_iter().find(|place| place.is_dir()) else { return Ok(found) };
        let entries = fs::read_dir(&directory).map_err(|error| unread(&directory, io_text(&error)))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|end| end.to_str()) {
                Some("crt") => found.authorities.extend(read(&file)?.0),
                Some("cert") => {
                    let key_file = file.with_extension("key");
                    let (chain, key) = (read(&file)?.0, read(&key_file)?.1);
                    let key = key.ok_or_else(|| unread(&key_file, text("registry.certs.key")))?;
                    check(&chain, &key).map_err(|error| unread(&file, printed(error.to_string())))?;
                    found.client = Some(ClientCert::new_with_certs(&chain, key));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Whether this key belongs to this certificate, and both can be used. The client of HTTP would panic otherwise.
fn check(
    chain: &[Certificate<'static>],
    key: &PrivateKey<'static>,
) -> std::result::Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let key = PrivateKeyDer::try_from(key.der().to_vec())
        .map_err(|error| rustls::Error::General(error.to_owned()))?;
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .map(drop)
}

fn directories() -> Vec<PathBuf> {
    let own = config_directory().map(|directory| directory.join("containers/certs.d"));
    let all = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    own.into_iter().chain(all).collect()
}

fn unread(path: &Path, why: String) -> Error {
    Error::new(ExitKind::Refused, text_with("registry.certs", &[("path", &printed(path))])).why(why)
}

/// The certificates and the key in a file.
fn read(path: &Path) -> Result<(Vec<Certificate<'static>>, Option<PrivateKey<'static>>)> {
    let bytes = fs::read(path).map_err(|error| unread(path, io_text(&error)))?;
    let (mut certificates, mut key) = (Vec::new(), None);
    for item in parse_pem(&bytes) {
        match item.map_err(|error| unread(path, printed(error.to_string())))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            PemItem::PrivateKey(found) => key = Some(found),
            _ => {}
        }
    }
    Ok((certificates, key))
}

/// The authorities that this machine trusts. None at all: no certificate is accepted.
pub(super) fn system_roots() -> &'static [Certificate<'static>] {
    static FOUND: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let chosen = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let places = chosen.map_or_else(|| ROOTS.map(PathBuf::from).to_vec(), |chosen| vec![chosen]);
        places.iter().find_map(|place| read(place).ok()).unwrap_or_default().0
    })
}
