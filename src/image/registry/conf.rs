//! registries.conf(5) of podman and skopeo: mirrors, registries without TLS, registries that are blocked, aliases of
//! short names. Files of its first version are read too.
//!
//!     ~/.config/containers/registries.conf, or /etc/containers/registries.conf
//!     /etc/containers/registries.conf.d/*.conf, ~/.config/containers/registries.conf.d/*.conf

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::files::config_directory;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::reference::Reference;
use crate::text::{printed, text, text_with, word};

/// The maximum size of a file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What all files say together.
#[derive(Debug, Default)]
pub(super) struct RegistriesConf {
    registry: Vec<ConfiguredRegistry>,
    aliases: BTreeMap<String, String>,
}

/// What a file says, with the places of it.
#[derive(Deserialize)]
struct ConfFile {
    #[serde(default)]
    registry: Vec<Spanned<ConfiguredRegistry>>,
    #[serde(default)]
    aliases: BTreeMap<String, Spanned<String>>,
    registries: Option<Spanned<FirstVersion>>,
}

/// `[registries.search]`, `[registries.insecure]` and `[registries.block]` of the first version. The list of the first one is for
/// short names, which are always those of docker.io here.
#[derive(Deserialize)]
struct FirstVersion {
    #[serde(default)]
    insecure: RegistryList,
    #[serde(default)]
    block: RegistryList,
}

#[derive(Default, Deserialize)]
struct RegistryList {
    #[serde(default)]
    registries: Vec<Spanned<String>>,
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

/// The values of `pull-from-mirror`.
const PULLS: [&str; 4] = ["", "all", "digest-only", "tag-only"];

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
    /// Checks the locations, which have no scheme, and the words that have one of a few values.
    fn check(&self) -> std::result::Result<(), String> {
        let mirrors = self.mirror.iter().map(|mirror| &mirror.location);
        for location in [&self.prefix, &self.location].into_iter().chain(mirrors) {
            if location.contains("://") {
                return Err(text_with("registry.conf.scheme", &[("location", &word(&printed(location)))]));
            }
        }
        if self.location.is_empty() && !self.prefix.starts_with("*.")
            || self.mirror.iter().any(|mirror| mirror.location.is_empty())
        {
            return Err(text("registry.conf.location"));
        }
        let other =
            self.mirror.iter().map(|mirror| &*mirror.pull_from_mirror).find(|one| !PULLS.contains(one));
        match other {
            Some(other) => Err(text_with("registry.conf.pulls", &[("value", &word(&printed(other)))])),
            None => Ok(()),
        }
    }

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
            conf.add(RegistriesConf::of_file(&content).map_err(|why| unread(&file, why))?);
        }
        Ok(conf)
    }

    /// What a file says. The error is a sentence with the line.
    fn of_file(content: &str) -> std::result::Result<RegistriesConf, String> {
        let file: ConfFile =
            toml::from_str(content).map_err(|error| printed(error.to_string().trim_end()))?;
        let wrong = |at: usize, why: String| {
            let line = content[..at.min(content.len())].matches('\n').count() + 1;
            text_with("registry.conf.line", &[("line", &line.to_string()), ("why", &why)])
        };
        let mut conf = RegistriesConf::default();
        if let Some(first) = file.registries {
            if !file.registry.is_empty() || !file.aliases.is_empty() {
                return Err(wrong(first.span().start, text("registry.conf.mixed")));
            }
            let FirstVersion { insecure, block } = first.into_inner();
            for (list, is_blocked) in [(insecure, false), (block, true)] {
                for registry in list.registries {
                    let location = registry.as_ref().trim_end_matches('/').to_owned();
                    let own = conf.of_location(&location);
                    own.insecure |= !is_blocked;
                    own.blocked |= is_blocked;
                    own.check().map_err(|why| wrong(registry.span().start, why))?;
                }
            }
        }
        for registry in file.registry {
            registry.as_ref().check().map_err(|why| wrong(registry.span().start, why))?;
            conf.registry.push(registry.into_inner());
        }
        for (short, name) in file.aliases {
            let value = name.as_ref();
            // An empty one takes back what another file says.
            let is_whole = |name: Reference| name.tag.is_none() && name.digest.is_none();
            if !value.is_empty() && !value.parse().is_ok_and(is_whole) {
                let values = [("alias", &*word(&printed(&short))), ("name", &word(&printed(value)))];
                return Err(wrong(name.span().start, text_with("registry.conf.alias", &values)));
            }
            conf.aliases.insert(short, name.into_inner());
        }
        Ok(conf)
    }

    /// The entry of a registry, which may be new.
    fn of_location(&mut self, location: &str) -> &mut ConfiguredRegistry {
        let place = self.registry.iter().position(|registry| registry.location == location);
        let place = place.unwrap_or_else(|| {
            self.registry.push(ConfiguredRegistry { location: location.to_owned(), ..Default::default() });
            self.registry.len() - 1
        });
        &mut self.registry[place]
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
        let conf = RegistriesConf::of_file(
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

    #[test]
    fn the_first_version_says_the_same_in_other_tables() {
        let conf = RegistriesConf::of_file(
            r#"
            [registries.search]
            registries = ["docker.io", "quay.io"]
            [registries.insecure]
            registries = ["a.test:5000/", "b.test"]
            [registries.block]
            registries = ["b.test", "c.test/team"]
            "#,
        )
        .unwrap();
        let about = |name: &str| conf.about(name).map(|about| (about.insecure, about.blocked));
        assert_eq!(about("a.test:5000/x"), Some((true, false)));
        assert_eq!(about("b.test/x"), Some((true, true)));
        assert_eq!(about("c.test/team/x"), Some((false, true)));
        assert_eq!((about("c.test/x"), about("quay.io/x")), (None, None));
        assert!(RegistriesConf::of_file("[registries.search]\nregistries = []").is_ok());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (content, line, part) in [
            ("[aliases]\na = 'x.test/a'\ntool = 'a.test/tool:v1'", 3, "tag"),
            (&format!("[aliases]\ntool = 'a.test/tool@{}'", crate::image::digest::Digest::of(b"")), 2, "tag"),
            ("[aliases]\ntool = 'A'", 2, "is for A."),
            ("[[registry]]\nlocation = 'a.test'\n[[registry]]\nlocation = 'https://b.test'", 3, "https"),
            ("[[registry]]\nlocation = 'a.test'\n[[registry.mirror]]\nlocation = 'http://b.test'", 1, "http"),
            ("[[registry]]\nprefix = 'a.test'", 1, "location"),
            (
                "[[registry]]\nlocation = 'a'\nmirror = [{ location = 'b', pull-from-mirror = 'x' }]",
                1,
                "is x.",
            ),
            ("[registries.block]\nregistries = [\n'a.test',\n'http://b.test']", 4, "http"),
            ("[[registry]]\nlocation = 'a'\n[registries.block]\nregistries = ['b.test']", 3, "version"),
        ] {
            let why = RegistriesConf::of_file(content).unwrap_err();
            assert!(why.contains(&format!("line {line}")) && why.contains(part), "{content}: {why}");
        }
        assert!(RegistriesConf::of_file("[aliases]\ntool = ''\n[[registry]]\nprefix = '*.a.test'").is_ok());
    }
}
