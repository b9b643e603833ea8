//! An additional mount of a container: an item of the key `mnt.mounts`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bytes;
use super::units::Size;
use crate::text::{text, text_with};

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ExtraMount {
    /// A bind mount of a path on the host, with all mounts below it.
    Bind {
        /// The path on the host.
        #[serde(serialize_with = "bytes::serialize")]
        source: PathBuf,
        /// The mount point in the container.
        #[serde(serialize_with = "bytes::serialize")]
        target: PathBuf,
        /// Whether it is read-only, including the mounts below it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        readonly: bool,
        /// Whether mount points that further mounts need are made in it. They stay on the host.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mountpoints: bool,
    },
    /// An empty filesystem in memory.
    Tmpfs {
        /// The mount point in the container.
        #[serde(serialize_with = "bytes::serialize")]
        target: PathBuf,
        /// Maximum size.
        #[serde(default = "default_size")]
        size: Size,
        /// Further options: `ro`, `noexec`, `suid`, `dev`, `noatime`, `mode=0700`, `uid=1000`, `gid=1000`, `nr_inodes=1k`. Without
        /// `mode`, it is that of the directory which is covered, or 1777.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(with = "Vec<String>")]
        options: Vec<TmpfsOption>,
    },
}

/// An option of a filesystem in memory, in the words of tmpfs(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TmpfsOption {
    /// `ro`
    ReadOnly,
    /// `noexec`
    NoExec,
    /// `suid`: the set-user-ID bit of a program has an effect.
    Suid,
    /// `dev`: device files can be opened.
    Dev,
    /// `noatime`, `nodiratime` or `strictatime`: when the time of the last access is updated.
    AccessTime(&'static str),
    /// `nr_inodes=1k` or `nr_blocks=1k`: the maximum number of files, or of pages.
    Count(&'static str, Size),
    /// `mode=0700`: the mode of its directory.
    Mode(u32),
    /// `uid=1000`: the owner of its directory.
    Uid(u32),
    /// `gid=1000`
    Gid(u32),
}

const ACCESS_TIMES: [&str; 3] = ["noatime", "nodiratime", "strictatime"];
const COUNTS: [&str; 2] = ["nr_inodes", "nr_blocks"];

impl TmpfsOption {
    /// Whether both options set the same property. Then the last one counts.
    pub fn is_about_same(&self, other: &TmpfsOption) -> bool {
        match (self, other) {
            (TmpfsOption::Count(one, _), TmpfsOption::Count(other, _)) => one == other,
            // `nodiratime` is about directories alone, and the kernel takes it together with each of the others.
            (TmpfsOption::AccessTime(one), TmpfsOption::AccessTime(other)) => {
                (*one == "nodiratime") == (*other == "nodiratime")
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for TmpfsOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TmpfsOption::ReadOnly => f.write_str("ro"),
            TmpfsOption::NoExec => f.write_str("noexec"),
            TmpfsOption::Suid => f.write_str("suid"),
            TmpfsOption::Dev => f.write_str("dev"),
            TmpfsOption::AccessTime(word) => f.write_str(word),
            TmpfsOption::Count(name, number) => write!(f, "{name}={}", number.0),
            TmpfsOption::Mode(mode) => write!(f, "mode={mode:o}"),
            TmpfsOption::Uid(uid) => write!(f, "uid={uid}"),
            TmpfsOption::Gid(gid) => write!(f, "gid={gid}"),
        }
    }
}

impl FromStr for TmpfsOption {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let read = match written.split_once('=') {
            None if written == "ro" => Some(TmpfsOption::ReadOnly),
            None if written == "noexec" => Some(TmpfsOption::NoExec),
            None if written == "suid" => Some(TmpfsOption::Suid),
            None if written == "dev" => Some(TmpfsOption::Dev),
            None => ACCESS_TIMES.into_iter().find(|word| *word == written).map(TmpfsOption::AccessTime),
            Some(("mode", mode)) => {
                u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777).map(TmpfsOption::Mode)
            }
            Some(("uid", uid)) => uid.parse().ok().map(TmpfsOption::Uid),
            Some(("gid", gid)) => gid.parse().ok().map(TmpfsOption::Gid),
            Some((name, number)) => {
                let name = COUNTS.into_iter().find(|known| *known == name);
                name.zip(number.parse().ok()).map(|(name, number)| TmpfsOption::Count(name, number))
            }
        };
        read.ok_or_else(|| text_with("docker.tmpfs.option", &[("option", written)]))
    }
}

impl Serialize for TmpfsOption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TmpfsOption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The fields as they are read. serde's own representation of a tagged enum would lose the place of a wrong value.
#[derive(Deserialize)]
#[serde(rename = "Mount", deny_unknown_fields)]
struct Fields {
    #[serde(rename = "type")]
    kind: MountType,
    #[serde(default, deserialize_with = "optional_path")]
    source: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    target: PathBuf,
    readonly: Option<bool>,
    mountpoints: Option<bool>,
    size: Option<Size>,
    options: Option<Vec<TmpfsOption>>,
}

/// Reads a path. The error is at the value, and not at the mount.
fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    match path.as_os_str().as_encoded_bytes() {
        [] => Err(D::Error::custom(text("spec.nopath"))),
        path if path.contains(&0) => Err(D::Error::custom(text("spec.path.nul"))),
        [b'~', ..] => Err(D::Error::custom(text("spec.tilde"))),
        _ => Ok(path),
    }
}

fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    /// A path in an option, which keeps the place of a wrong value.
    #[derive(Deserialize)]
    struct Written(#[serde(deserialize_with = "path")] PathBuf);
    Ok(Option::<Written>::deserialize(deserializer)?.map(|written| written.0))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum MountType {
    Bind,
    Tmpfs,
}

impl<'de> Deserialize<'de> for ExtraMount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Fields::deserialize(deserializer)? {
            Fields { kind: MountType::Bind, size: Some(_), .. } => {
                Err(D::Error::unknown_field("size", &["source", "target", "readonly", "mountpoints"]))
            }
            Fields { kind: MountType::Bind, options: Some(_), .. } => {
                Err(D::Error::unknown_field("options", &["source", "target", "readonly", "mountpoints"]))
            }
            Fields { kind: MountType::Bind, source: None, .. } => Err(D::Error::missing_field("source")),
            Fields { kind: MountType::Bind, source: Some(source), target, readonly, mountpoints, .. } => {
                let (readonly, mountpoints) = (readonly.unwrap_or_default(), mountpoints.unwrap_or_default());
                Ok(ExtraMount::Bind { source, target, readonly, mountpoints })
            }
            Fields { kind: MountType::Tmpfs, source: Some(_), .. } => {
                Err(D::Error::unknown_field("source", &["target", "size", "options"]))
            }
            Fields { kind: MountType::Tmpfs, readonly: Some(_), .. } => {
                Err(D::Error::unknown_field("readonly", &["target", "size", "options"]))
            }
            Fields { kind: MountType::Tmpfs, mountpoints: Some(_), .. } => {
                Err(D::Error::unknown_field("mountpoints", &["target", "size", "options"]))
            }
            Fields { kind: MountType::Tmpfs, target, size, options, .. } => Ok(ExtraMount::Tmpfs {
                target,
                size: size.unwrap_or_else(default_size),
                options: options.unwrap_or_default(),
            }),
        }
    }
}

/// The maximum size of a tmpfs whose size is not given.
pub(crate) fn default_size() -> Size {
    Size(64 << 20)
}

impl ExtraMount {
    /// A bind mount in which no mount points are made.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>, readonly: bool) -> ExtraMount {
        ExtraMount::Bind { source: source.into(), target: target.into(), readonly, mountpoints: false }
    }

    /// An empty filesystem in memory, without further options.
    pub fn tmpfs(target: impl Into<PathBuf>, size: Size) -> ExtraMount {
        ExtraMount::Tmpfs { target: target.into(), size, options: Vec::new() }
    }

    /// The same with an absolute source. `base` is the directory of the file that it was read from.
    pub fn resolve(self, base: &Path) -> ExtraMount {
        match self {
            ExtraMount::Bind { source, target, readonly, mountpoints } => {
                ExtraMount::Bind { source: base.join(source), target, readonly, mountpoints }
            }
            tmpfs @ ExtraMount::Tmpfs { .. } => tmpfs,
        }
    }

    /// The mount point, a path in the container.
    pub fn target(&self) -> &Path {
        match self {
            ExtraMount::Bind { target, .. } | ExtraMount::Tmpfs { target, .. } => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_from_a_spec() {
        let yaml = "[{ type: bind, source: ./site, target: /srv, readonly: true }, { type: tmpfs, target: /x, size: 16MiB }]";
        let read: Vec<ExtraMount> = serde_yaml::from_str(yaml).unwrap();
        let bind = ExtraMount::bind("./site", "/srv", true);
        assert_eq!(read, [bind.clone(), ExtraMount::tmpfs("/x", Size(16 << 20))]);
        assert_eq!(bind.resolve(Path::new("/specs")), ExtraMount::bind("/specs/site", "/srv", true));
        let open = "{ type: bind, source: /a, target: /b, mountpoints: true }";
        let open: ExtraMount = serde_yaml::from_str(open).unwrap();
        assert!(matches!(open, ExtraMount::Bind { mountpoints: true, readonly: false, .. }));
        for wrong in [
            "[{ type: bind, source: a, target: /b, size: 1 }]",
            "[{ type: tmpfs, target: /b, mountpoints: true }]",
            "[{ type: nfs, target: /b }]",
        ] {
            assert!(serde_yaml::from_str::<Vec<ExtraMount>>(wrong).is_err(), "{wrong}");
        }
    }
}
