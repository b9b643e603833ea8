//! Which files the container sees, and where its writes go.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{printed, text};
use crate::value::bytes;
use crate::value::mount::default_size;
use crate::value::units::Size;

/// Which files the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Rootfs {
    /// `host`: the files of this machine, under a temporary overlay.
    Host,
    /// `./dir`: the files of a directory.
    Dir(PathBuf),
}

impl Rootfs {
    /// The same with an absolute path. `base` is the directory of the file that it was read from.
    pub fn resolve(self, base: &Path) -> Rootfs {
        match self {
            Rootfs::Dir(path) => Rootfs::Dir(base.join(path)),
            Rootfs::Host => Rootfs::Host,
        }
    }
}

impl FromStr for Rootfs {
    type Err = String;

    /// A directory begins with `.` or `/`. Any other string could be the name of an image.
    fn from_str(rootfs: &str) -> Result<Self, String> {
        match rootfs {
            "host" => Ok(Rootfs::Host),
            path if path.starts_with(['.', '/']) => Ok(Rootfs::Dir(path.into())),
            path if path.starts_with('~') => Err(text("spec.tilde")),
            _ => Err(text("rootfs.form")),
        }
    }
}

impl TryFrom<String> for Rootfs {
    type Error = String;

    fn try_from(rootfs: String) -> Result<Self, String> {
        rootfs.parse()
    }
}

impl Rootfs {
    /// As a spec has it. A relative path that does not begin with a dot gets one, so that it is read as a path again.
    fn written(&self) -> PathBuf {
        match self {
            Rootfs::Host => "host".into(),
            Rootfs::Dir(path) if path.starts_with(".") || path.starts_with("..") || path.is_absolute() => {
                path.clone()
            }
            Rootfs::Dir(path) => Path::new(".").join(path),
        }
    }
}

impl Rootfs {
    /// Reads what [`Serialize`] has written. Unlike in a spec, the path can be bytes.
    fn read_back<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rootfs, D::Error> {
        let path: PathBuf = bytes::deserialize(deserializer)?;
        Ok(if path == Path::new("host") { Rootfs::Host } else { Rootfs::Dir(path) })
    }
}

impl Serialize for Rootfs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(self.written(), serializer)
    }
}

impl fmt::Display for Rootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printed(self.written()))
    }
}

/// The root filesystem of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootFilesystem {
    /// Where its files come from: `host`, or an absolute path.
    #[serde(deserialize_with = "Rootfs::read_back")]
    #[schemars(with = "bytes::Form")]
    pub path: Rootfs,
    /// Whether it is read-only.
    pub readonly: bool,
    /// Whether it stays unchanged: writes go to an upper layer in memory. For `host` they always do.
    pub overlay: bool,
    /// The maximum size of the filesystem in memory.
    pub size: Size,
    /// Directories whose files the container does not get.
    pub hidden: Vec<HiddenDirectory>,
}

/// A directory of the host that is empty in the container. An empty tmpfs is mounted on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenDirectory {
    /// Its name in `/`.
    pub name: String,
    /// The mode that it has in the container.
    pub mode: u32,
    /// The maximum size of the tmpfs.
    pub size: Size,
}

impl RootFilesystem {
    /// The root filesystem that a spec asks for. `overlay` is whether a directory stays unchanged. All of it that can be
    /// written without a change of the host is in memory, so writes use no disk.
    pub fn of(rootfs: &Rootfs, overlay: bool, readonly: bool) -> RootFilesystem {
        let is_hosts = *rootfs == Rootfs::Host;
        let hidden =
            |(name, mode): (&str, u32)| HiddenDirectory { name: name.into(), mode, size: default_size() };
        RootFilesystem {
            path: rootfs.clone(),
            readonly,
            overlay: is_hosts || overlay,
            size: default_size(),
            hidden: if is_hosts { HIDDEN.map(hidden).into() } else { Vec::new() },
        }
    }
}

/// The directories of the host whose files a container does not get, each with its mode.
const HIDDEN: [(&str, u32); 4] = [("home", 0o755), ("root", 0o700), ("run", 0o755), ("tmp", 0o1777)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rootfs_is_host_or_a_path() {
        assert_eq!("host".parse(), Ok(Rootfs::Host));
        assert_eq!("./host".parse(), Ok(Rootfs::Dir("./host".into())));
        assert!("alpine".parse::<Rootfs>().is_err());
        let resolved = Rootfs::Dir("./dir".into()).resolve(Path::new("/specs"));
        assert_eq!(resolved, Rootfs::Dir("/specs/dir".into()));
        assert_eq!(Rootfs::Dir("dir".into()).to_string().parse(), Ok(Rootfs::Dir("./dir".into())));
    }
}
