//! registries.conf(5) of podman and skopeo: mirrors, registries without TLS, registries that are blocked, aliases of
//! short names.
//!
//!     ~/.config/containers/registries.conf, or /etc/containers/registries.conf
//!     /etc/containers/registries.conf.d/*.conf, ~/.config/containers/registries.conf.d/*.conf

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::config_directory;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::{printed, text_with};

/// The maximum size of a file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What all files say together.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RegistriesConf {
    #[serde(default)]
    pub(super) registry: Vec<ConfiguredRegistry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

/// A registry, or a part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ConfiguredRegistry {
    #[serde(default)]
    pub(super) prefix: String,
    #[serde(default)]
    pub(super) location: String,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default)]
    pub(super) blocked: bool,
    #[serde(default)]
    pub(super) mirror_by_digest_only: bool,
    #[serde(default)]
    pub(super) mirror: Vec<ConfiguredMirror>,
}

/// A server that has copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ConfiguredMirror {
    pub(super) location: String,
    #[serde(default)]
    pub(super) insecure: bool,
    #[serde(default)]
    pub(super) pull_from_mirror: String,
}

impl ConfiguredRegistry {
    /// What names begin with.
    fn start(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    /// The number of characters of a name to which this applies. None: it does not.
    fn fits(&self, name: &str) -> Option<usize> {
        let start = self.start();
        let length = match start.strip_prefix('*') {
            Some(domain) => {
                let host = name.split(['/', ':']).next().unwrap_or_default();
                host.ends_with(domain).then_some(host.len())?
            }
            None => name.starts_with(start).then_some(start.len())?,
        };
        let rest = &name[length..];
        (length > 0 && (rest.is_empty() || rest.starts_with(['/', ':', '@']))).then_some(length)
    }

    /// The name with another beginning.
    pub(super) fn moved(&self, name: &str, location: &str) -> String {
        match self.fits(name) {
            Some(length) if !location.is_empty() => format!("{location}{}", &name[length..]),
            _ => name.to_owned(),
        }
    }
}

impl RegistriesConf {
    /// Reads all files. A file that does not exist says nothing.
    pub(super) fn read() -> Result<RegistriesConf> {
        let mut conf = RegistriesConf::default();
        for file in files() {
            match fs::metadata(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Ok(about) if about.len() > MAX_FILE => {
                    return Err(unread(&file, text_with("image.document.large", &[("most", "1")])));
                }
                _ => {}
            }
            let content = fs::read_to_string(&file).map_err(|error| unread(&file, io_text(&error)))?;
            let one = toml::from_str(&content)
                .map_err(|error| unread(&file, printed(error.to_string().trim_end())))?;
            conf.add(one);
        }
        Ok(conf)
    }

    /// Adds what a later file says. It replaces what is said about the same names.
    fn add(&mut self, later: RegistriesConf) {
        for registry in later.registry {
            self.registry.retain(|other| other.start() != registry.start());
            self.registry.push(registry);
        }
        self.aliases.extend(later.aliases);
    }

    /// What is said about a name: the entry with the longest beginning.
    pub(super) fn about(&self, name: &str) -> Option<&ConfiguredRegistry> {
        let known = self.registry.iter().filter(|registry| registry.fits(name).is_some());
        known.max_by_key(|registry| registry.start().len())
    }

    /// What a short name stands for. Such a name has no registry.
    pub(super) fn alias(&self, short: &str) -> Option<&str> {
        self.aliases.get(short).map(String::as_str).filter(|name| !name.is_empty())
    }
}

fn unread(path: &Path, why: String) -> Error {
    Error::new(ExitKind::Refused, text_with("registry.conf", &[("path", &printed(path))])).why(why)
}

fn files() -> Vec<PathBuf> {
    if let Some(chosen) = std::env::var_os("CONTAINERS_REGISTRIES_CONF") {
        return vec![chosen.into()];
    }
    let own = config_directory().map(|directory| directory.join("containers"));
    let of_all = PathBuf::from("/etc/containers");
    let main = own.iter().chain([&of_all]).map(|directory| directory.join("registries.conf"));
    let mut files: Vec<PathBuf> = main.into_iter().find(|file| file.exists()).into_iter().collect();
    for directory in [Some(of_all), own].into_iter().flatten() {
        let entries = fs::read_dir(directory.join("registries.conf.d")).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.retain(|file| file.extension().is_some_and(|end| end == "conf"));
        found.sort();
        files.extend(found);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_decides() {
        let conf: RegistriesConf = toml::from_str(
            r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "a.test"
            [[registry]]
            prefix = "a.test/team"
            location = "b.test:5000/x"
            [[registry]]
            prefix = "*.c.test"
            blocked = true
            [aliases]
            tool = "a.test/team/tool"
            "#,
        )
        .unwrap();
        let about = |name: &str| conf.about(name).map(ConfiguredRegistry::start);
        assert_eq!(about("a.test/other"), Some("a.test"));
        assert_eq!(about("a.test/team/tool"), Some("a.test/team"));
        assert_eq!(about("a.test/teams"), Some("a.test"));
        assert_eq!(about("x.c.test/y"), Some("*.c.test"));
        for none in ["a.test.evil/x", "c.test/x", "b.test/x"] {
            assert_eq!(about(none), None, "{none}");
        }
        let team = conf.about("a.test/team/tool").unwrap();
        assert_eq!(team.moved("a.test/team/tool", &team.location), "b.test:5000/x/tool");
        assert_eq!(conf.alias("tool"), Some("a.test/team/tool"));
    }
}
