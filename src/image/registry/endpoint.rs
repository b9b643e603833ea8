//! Which servers have an image: the mirrors of registries.conf in their order, then the registry itself.

use super::RegistryOptions;
use super::conf::RegistriesConf;
use crate::error::{Error, ExitKind, Result};
use crate::image::reference::{DOCKER, Reference};
use crate::text::{text, text_with};

/// The host with the registry of docker.io.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// A server, and what it calls the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `HOST[:PORT]`, to which requests are sent.
    pub(super) host: String,
    /// The name there: `library/ubuntu`.
    pub(super) repository: String,
    /// The registry as it is called in files with credentials: `docker.io`.
    pub(super) registry: String,
    /// Whether any certificate is accepted, and HTTP without TLS.
    pub(super) is_insecure: bool,
    /// Whether it has copies of another registry. A password on the command line is not for it.
    pub(super) is_mirror: bool,
}

impl Endpoint {
    fn of(name: &str, is_insecure: bool) -> Option<Endpoint> {
        let (registry, repository) = name.split_once('/')?;
        Some(Endpoint {
            host: if registry == DOCKER { DOCKER_HOST } else { registry }.to_owned(),
            repository: repository.to_owned(),
            registry: registry.to_owned(),
            is_insecure,
            is_mirror: false,
        })
    }

    /// A registry without a repository.
    ///
    /// # Errors
    /// It is no host name; registries.conf cannot be read.
    pub(super) fn registry(registry: &str, options: &RegistryOptions) -> Result<Endpoint> {
        let conf = RegistriesConf::read()?;
        let is_insecure = conf.about(registry).is_some_and(|about| about.insecure);
        let endpoint = Endpoint::of(&format!("{registry}/"), options.insecure(is_insecure));
        endpoint.ok_or_else(|| Error::new(ExitKind::Refused, text("image.name.registry")))
    }

    /// The servers with an image, in the order in which they are asked. `is_push`: mirrors are not written to.
    ///
    /// # Errors
    /// The registry is blocked; registries.conf cannot be read.
    pub(super) fn all(
        reference: &Reference,
        is_push: bool,
        options: &RegistryOptions,
    ) -> Result<Vec<Endpoint>> {
        let conf = RegistriesConf::read()?;
        let name = reference.name();
        let Some(about) = conf.about(&name) else {
            return Ok(Endpoint::of(&name, options.insecure(false)).into_iter().collect());
        };
        if about.blocked {
            let what = text_with("registry.blocked", &[("registry", &reference.registry)]);
            return Err(Error::new(ExitKind::Refused, what).why(text("registry.blocked.reason")));
        }
        let is_by_digest = reference.digest.is_some();
        let mirrors = about.mirror.iter().filter(|mirror| match mirror.pull_from_mirror.as_str() {
            "digest-only" => is_by_digest,
            "tag-only" => !is_by_digest,
            _ => is_by_digest || !about.mirror_by_digest_only,
        });
        let mirrors = mirrors.map(|mirror| (about.moved(&name, &mirror.location), mirror.insecure, true));
        let own = (about.moved(&name, &about.location), about.insecure, false);
        let all = mirrors.filter(|_| !is_push).chain([own]);
        let endpoint = |(name, insecure, is_mirror): (String, bool, bool)| {
            Some(Endpoint { is_mirror, ..Endpoint::of(&name, options.insecure(insecure))? })
        };
        Ok(all.filter_map(endpoint).collect())
    }
}

/// The whole name of an image that a person writes: aliases of registries.conf stand for names without a registry.
///
/// # Errors
/// It is no name; registries.conf cannot be read.
pub fn resolve(written: &str) -> Result<Reference> {
    let refused = |why: String| Error::new(ExitKind::Refused, why);
    let own: Reference = written.parse().map_err(refused)?;
    let name_end = written.find(['@']).unwrap_or(written.len());
    let name_end = written[..name_end]
        .rfind(':')
        .filter(|colon| !written[*colon..name_end].contains('/'))
        .unwrap_or(name_end);
    let (short, end) = written.split_at(name_end);
    let is_short =
        own.registry == DOCKER && !short.starts_with("docker.io/") && !short.starts_with("index.docker.io/");
    let conf = if is_short { RegistriesConf::read()? } else { RegistriesConf::default() };
    match conf.alias(short) {
        Some(whole) => format!("{whole}{end}").parse().map_err(refused),
        None => Ok(own),
    }
}
