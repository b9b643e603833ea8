//! The names of images: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
//!
//! A name without a registry is one of docker.io, and one without a `/` is in `library/` there, as Docker reads it.
//! The first part is a registry if it has a dot or a colon, or is `localhost`. The store always has the whole name.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;
use crate::text::{printed, text, text_with};

/// The registry of names that have none.
pub const DOCKER: &str = "docker.io";

/// Where docker.io has the images without an owner.
const LIBRARY: &str = "library/";

/// The tag of names that have none.
const LATEST: &str = "latest";

/// The maximum length of a name without its tag, in bytes: Docker's.
const MAX_NAME: usize = 255;

/// The maximum length of a tag, in bytes.
const MAX_TAG: usize = 128;

/// The whole name of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The host of the registry, with a port if there is one: `docker.io`.
    pub registry: String,
    /// The name there: `library/ubuntu`.
    pub repository: String,
    /// The tag, if there is one.
    pub tag: Option<String>,
    /// The digest of the manifest, if there is one.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The same, with the tag `latest` if it has neither a tag nor a digest.
    pub fn or_latest(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(LATEST.to_owned());
        }
        self
    }

    /// The whole name without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as Docker prints it, without tag and digest: `ubuntu`.
    pub fn familiar_name(&self) -> String {
        let is_library = |rest: &&str| !rest.contains('/');
        match self.registry.as_str() {
            DOCKER => self
                .repository
                .strip_prefix(LIBRARY)
                .filter(is_library)
                .unwrap_or(&self.repository)
                .to_owned(),
            _ => self.name(),
        }
    }

    /// The name as Docker prints it: `ubuntu:15.10`.
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.end()
    }

    fn end(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}"))).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name(), self.end())
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(written: &str) -> Result<Reference, String> {
        let wrong = |why: &str| {
            Err(text_with("image.name.form", &[("name", &printed(written)), ("why", &text(why))]))
        };
        let (name, digest) = match written.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (written, None),
        };
        // A colon before the last slash is that of a port.
        let (name, tag) = match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((name, tag)) => (name, Some(tag)),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return wrong("image.name.tag");
        }
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DOCKER, name),
        };
        let registry = if registry == "index.docker.io" { DOCKER } else { registry };
        let repository = match registry == DOCKER && !rest.contains('/') {
            true => format!("{LIBRARY}{rest}"),
            false => rest.to_owned(),
        };
        if !is_registry(registry) {
            return wrong("image.name.registry");
        }
        if rest.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return wrong("image.name.case");
        }
        if rest.is_empty() || !repository.split('/').all(is_component) {
            return wrong("image.name.repository");
        }
        // So that an ID is never taken for a name.
        if digest.is_none() && tag.is_none() && Digest::of_hex(name).is_some() {
            return wrong("image.name.id");
        }
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return wrong("image.name.long");
        }
        Ok(Reference { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

/// `[\w][\w.-]{0,127}`
pub fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_other = |byte: u8| is_word(byte) || b".-".contains(&byte);
    tag.len() <= MAX_TAG && tag.bytes().next().is_some_and(is_word) && tag.bytes().all(is_other)
}

/// Lower-case letters and digits, with separators between them: `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators =
        component.split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit());
    let has_ends =
        component.bytes().next().is_some_and(is_plain) && component.bytes().last().is_some_and(is_plain);
    let is_separator =
        |between: &str| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-');
    has_ends && separators.all(is_separator)
}

/// A host name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, end)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", end)
        }
        None => registry.split_at(registry.find(':').unwrap_or(registry.len())),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => port.is_empty(),
    };
    is_port && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_one_of_docker_io() {
        for (written, whole, familiar) in [
            ("ubuntu:15.10", "docker.io/library/ubuntu:15.10", "ubuntu:15.10"),
            ("training/webapp", "docker.io/training/webapp:latest", "training/webapp:latest"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("index.docker.io/library/a", "docker.io/library/a:latest", "a:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a/b:v1", "localhost:5000/a/b:v1", "localhost:5000/a/b:v1"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("quay.io/a/b-c__d.e", "quay.io/a/b-c__d.e:latest", "quay.io/a/b-c__d.e:latest"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ] {
            let read: Reference = written.parse().unwrap();
            let read = read.or_latest();
            assert_eq!((&*read.to_string(), &*read.familiar()), (whole, familiar), "{written}");
            assert_eq!(whole.parse(), Ok(read), "{written}");
        }
        let digest = Digest::of(b"x");
        let by_digest: Reference = format!("a:b@{digest}").parse().unwrap();
        assert_eq!(by_digest.to_string(), format!("docker.io/library/a:b@{digest}"));
        assert_eq!(by_digest.clone().or_latest(), by_digest);
    }

    #[test]
    fn what_no_registry_has_is_no_name() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        for wrong in [
            "",
            "/",
            "a/",
            "/a",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a/../b",
            "../a",
            "A",
            "a:B C",
            "a:",
            ":b",
            "a\nb",
            "a b",
            "a:-t",
            "a@sha256:00",
            "ä",
            "a.b/",
            "x:0/a",
            "x:99999/a",
            "-x.y/a",
            "[::g]/a",
            "a//b",
            &long,
            &tag,
            &"ab".repeat(32),
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong:?}");
        }
    }
}
