//! Registries: servers with images, and how they are spoken to (the OCI distribution specification).
//!
//!     GET /v2/NAME/manifests/TAG        the manifest, or an index with a manifest for each platform
//!     GET /v2/NAME/blobs/DIGEST         the config and the layers
//!
//! Content that a registry sends is checked against the digest in the request. Only the digest of a tag cannot be
//! checked.
//!
//! | file | what |
//! |---|---|
//! | `endpoint` | which servers have an image |
//! | `conf` | registries.conf |
//! | `url` | addresses |
//! | `transport` | one request, within limits |
//! | `resolve` | the addresses of hosts, for a static program |
//! | `certificates` | the authorities of this machine, and certs.d |
//! | `client` | requests with redirects, authentication and further attempts |
//! | `challenge` | what a registry wants when it answers 401 |
//! | `authorize` | how it gets that: a password, or a token for it |
//! | `credentials` | the passwords that the user has stored |
//! | `helper` | programs that keep passwords |
//! | `download` | a blob, from where an interrupted download has ended |
//! | `layers` | three downloads at a time, and the unpacking |
//! | `pull` | from the name to the layers |
//! | `push` | from the layers to the name |
//! | `compress` | layers that were made here, for a push |
//! | `tags` | all tags of a repository |
//! | `login` | stores passwords |
//! | `fetch` | one file of any server |
//! | `search` | the index of Docker Hub |

mod authorize;
mod certificates;
mod challenge;
mod client;
mod compress;
mod conf;
mod credentials;
mod download;
mod endpoint;
pub mod fetch;
mod files;
mod helper;
mod layers;
pub mod login;
pub mod pull;
pub mod push;
mod resolve;
pub mod search;
pub mod tags;
mod transport;
mod url;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

pub use self::credentials::Login;
pub use self::endpoint::resolve;

/// Where the steps are told, by any thread.
pub type TellAll<'t> = &'t (dyn Fn(&dyn Display, &str) + Sync);

/// How a registry is spoken to.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Whether certificates are checked. None: unless registries.conf says otherwise.
    pub tls_verify: Option<bool>,
    /// How long a server may send nothing.
    pub timeout: Duration,
    /// How many further attempts are made.
    pub retries: u32,
    /// The time before the first of them. It doubles.
    pub retry_delay: Duration,
    /// The user and the password, instead of those that are stored.
    pub login: Option<Login>,
    /// The file with credentials, instead of the usual ones.
    pub auth_file: Option<PathBuf>,
    /// The directory with certificates, instead of the usual ones.
    pub certificates: Option<PathBuf>,
    /// Prints a note for the user.
    pub note: fn(&str),
}

impl Default for RegistryOptions {
    fn default() -> RegistryOptions {
        RegistryOptions {
            tls_verify: None,
            timeout: Duration::from_secs(30),
            retries: 3,
            retry_delay: Duration::from_secs(1),
            login: None,
            auth_file: None,
            certificates: None,
            note: |_| {},
        }
    }
}

impl RegistryOptions {
    /// Whether any certificate is accepted, where registries.conf says this.
    fn insecure(&self, configured: bool) -> bool {
        self.tls_verify.map_or(configured, |verify| !verify)
    }
}
