//! The file of a seccomp profile: Docker's and Podman's JSON, which is that of the OCI runtime specification with
//! conditions about the container and the machine.

use caps::Capability;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::profile::{
    ArgumentTest, FilterAction, FilterArchitecture, FilterFlag, SeccompProfile, SeccompRule,
};
use super::table;
use crate::text::{text, text_with, word};

/// A profile as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileFile {
    default_action: FilterAction,
    #[serde(default)]
    default_errno_ret: Option<ErrnoValue>,
    /// Podman's name of the errno. It is used instead of the number.
    #[serde(default)]
    default_errno: Option<ErrnoName>,
    #[serde(default, deserialize_with = "or_nothing")]
    architectures: Vec<FilterArchitecture>,
    #[serde(default, deserialize_with = "or_nothing")]
    arch_map: Vec<MappedArchitecture>,
    #[serde(default, deserialize_with = "or_nothing")]
    flags: Vec<FilterFlag>,
    #[serde(default, deserialize_with = "or_nothing")]
    syscalls: Vec<FileRule>,
    #[serde(default, rename = "comment")]
    _comment: Option<Value>,
    #[serde(default, rename = "$schema")]
    _schema: Option<Value>,
    /// The two keys of SCMP_ACT_NOTIFY, which is refused where it is used.
    #[serde(default, rename = "listenerPath")]
    _listener_path: Option<Value>,
    #[serde(default, rename = "listenerMetadata")]
    _listener_metadata: Option<Value>,
}

/// A native architecture, and the others that its kernel can run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MappedArchitecture {
    architecture: FilterArchitecture,
    #[serde(default, deserialize_with = "or_nothing")]
    sub_architectures: Vec<FilterArchitecture>,
}

/// A rule, and where it applies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, try_from = "WrittenRule")]
struct FileRule {
    rule: SeccompRule,
    includes: RuleScope,
    excludes: RuleScope,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    names: Vec<String>,
    action: FilterAction,
    #[serde(default)]
    errno_ret: Option<ErrnoValue>,
    #[serde(default)]
    errno: Option<ErrnoName>,
    #[serde(default, deserialize_with = "or_nothing")]
    args: Vec<ArgumentTest>,
    #[serde(default)]
    includes: Option<RuleScope>,
    #[serde(default)]
    excludes: Option<RuleScope>,
    #[serde(default, rename = "comment")]
    _comment: Option<Value>,
}

/// A condition about the container and the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleScope {
    #[serde(default, deserialize_with = "or_nothing")]
    caps: Vec<CapabilityWord>,
    /// The names of Go: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "or_nothing")]
    arches: Vec<String>,
    #[serde(default)]
    min_kernel: Option<KernelVersion>,
}

/// A capability with its `CAP_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CapabilityWord(Capability);

/// A number of an errno: at most MAX_ERRNO of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ErrnoValue(u16);

/// The name of an errno: `EPERM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ErrnoName(u16);

/// The first two numbers of a kernel's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(u32, u32);

/// What the conditions of a profile are compared with.
#[derive(Debug, Clone, Copy)]
pub struct ProfilePlace<'a> {
    /// The bounding set of the container.
    pub bounding: &'a [Capability],
    /// This kernel.
    pub kernel: KernelVersion,
}

impl KernelVersion {
    /// The version of this kernel.
    pub fn of_this_machine() -> KernelVersion {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        KernelVersion::read(&release).unwrap_or(KernelVersion(0, 0))
    }

    /// Reads `4.8`, `4.8.0` or `6.1.0-13-amd64`.
    fn read(release: &str) -> Option<KernelVersion> {
        let mut parts = release.splitn(3, ['.', '-', '+']);
        Some(KernelVersion(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl ProfileFile {
    /// The profile without its conditions, for this container and this machine.
    pub fn resolve(&self, place: ProfilePlace<'_>) -> SeccompProfile {
        let mut architectures = self.architectures.clone();
        for mapped in self.arch_map.iter().filter(|mapped| mapped.architecture == table::NATIVE).take(1) {
            architectures.push(mapped.architecture);
            architectures.extend(&mapped.sub_architectures);
        }
        let applies = |rule: &&FileRule| !rule.excludes.excludes(place) && rule.includes.includes(place);
        SeccompProfile {
            default_action: self.default_action,
            default_errno_ret: errno(self.default_errno, self.default_errno_ret),
            architectures,
            flags: self.flags.clone(),
            syscalls: self.syscalls.iter().filter(applies).map(|rule| rule.rule.clone()).collect(),
            other_architectures: FilterAction::Kill,
            other_x32: None,
        }
    }

    /// The key that contradicts another one, with what is wrong.
    pub fn contradiction(&self) -> Option<(&'static str, String)> {
        let both = !self.architectures.is_empty() && !self.arch_map.is_empty();
        let values = [("one", "architectures"), ("other", "archMap")];
        both.then(|| ("archMap", text_with("seccomp.both", &values)))
    }
}

impl RuleScope {
    fn has_native(&self) -> bool {
        let native = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        self.arches.iter().any(|arch| arch == native)
    }

    /// Whether all that it names holds.
    fn includes(&self, place: ProfilePlace<'_>) -> bool {
        (self.arches.is_empty() || self.has_native())
            && self.caps.iter().all(|capability| place.bounding.contains(&capability.0))
            && self.min_kernel.is_none_or(|least| least <= place.kernel)
    }

    /// Whether anything that it names holds.
    fn excludes(&self, place: ProfilePlace<'_>) -> bool {
        self.has_native()
            || self.caps.iter().any(|capability| place.bounding.contains(&capability.0))
            || self.min_kernel.is_some_and(|least| least <= place.kernel)
    }
}

impl TryFrom<WrittenRule> for FileRule {
    type Error = String;

    fn try_from(written: WrittenRule) -> Result<FileRule, String> {
        let names = match (written.name, written.names) {
            (Some(name), names) if names.is_empty() => vec![name],
            (Some(_), _) => return Err(text_with("seccomp.both", &[("one", "name"), ("other", "names")])),
            (None, names) if names.is_empty() => return Err(text("seccomp.nameless")),
            (None, names) => names,
        };
        let (action, args) = (written.action, written.args);
        let rule = SeccompRule { names, action, errno_ret: errno(written.errno, written.errno_ret), args };
        Ok(FileRule {
            rule,
            includes: written.includes.unwrap_or_default(),
            excludes: written.excludes.unwrap_or_default(),
        })
    }
}

fn errno(name: Option<ErrnoName>, value: Option<ErrnoValue>) -> Option<u16> {
    name.map(|ErrnoName(errno)| errno).or(value.map(|ErrnoValue(errno)| errno))
}

/// Reads a list; `null` is an empty one.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

impl<'de> Deserialize<'de> for CapabilityWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = |_| D::Error::custom(text_with("capabilities.unknown", &[("name", &word(&name))]));
        name.parse().map(CapabilityWord).map_err(unknown)
    }
}

impl<'de> Deserialize<'de> for ErrnoValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u16::deserialize(deserializer)? {
            errno @ ..=4095 => Ok(ErrnoValue(errno)),
            _ => Err(D::Error::custom(text_with("spec.range", &[("least", "0"), ("most", "4095")]))),
        }
    }
}

impl<'de> Deserialize<'de> for ErrnoName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let all = (1..=133).map(nix::errno::Errno::from_raw);
        let found = all.into_iter().find(|errno| format!("{errno:?}") == name);
        let unknown = || D::Error::custom(text_with("seccomp.errno", &[("name", &name)]));
        found.map(|errno| ErrnoName(errno as i32 as u16)).ok_or_else(unknown)
    }
}

impl<'de> Deserialize<'de> for KernelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = String::deserialize(deserializer)?;
        KernelVersion::read(&version).ok_or_else(|| D::Error::custom(text("seccomp.kernel")))
    }
}
