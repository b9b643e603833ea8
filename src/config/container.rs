//! What a container is: complete and explicit. Every default is filled in, and nothing depends on the version of `sandbox`
//! that reads it. A plan is made from it, and a running container has it in RUN/ID/config.json.
//!
//! It has two halves. The [`Environment`] is what several processes share: namespaces, root filesystem, limits. The
//! [`Process`] is what belongs to one process. The terms and the shape are those of the OCI runtime specification
//! (config.md, config-linux.md), with two exceptions. A namespace has its options beside it, because a feature of the spec
//! is one struct everywhere. A limit is written as in a spec, because its values differ between cgroup v1 and v2.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::inherited::Inherited;
use crate::cgroups::blkio::Blkio;
use crate::cgroups::cpu::Cpu;
use crate::cgroups::devices::DeviceRules;
use crate::cgroups::memory::Memory;
use crate::cgroups::pids::Pids;
use crate::feature::Feature;
use crate::namespaces::cgroup::Cgroup;
use crate::namespaces::ipc::Ipc;
use crate::namespaces::mnt::Mnt;
use crate::namespaces::net::Net;
use crate::namespaces::pid::Pid;
use crate::namespaces::sysctls::Sysctls;
use crate::namespaces::time::Time;
use crate::namespaces::uts::Uts;
use crate::observe::hierarchy::Controller;
use crate::plan::call::terminal::TerminalSize;
use crate::plan::call::user::IdMaps;
use crate::rootfs::RootFilesystem;
use crate::rootfs::dev::DeviceFile;
use crate::rootfs::kernel::MaskedPath;
use crate::rootfs::mount::ContainerMount;
use crate::security::capabilities::CapabilitySets;
use crate::security::rlimits::Rlimits;
use crate::security::run_as::RunAs;
use crate::security::seccomp::SeccompProfile;
use crate::value::bytes;
use crate::value::join::JoinTarget;
use crate::value::units::Length;

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The version of this format.
    pub version: ConfigVersion,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What its processes share.
    pub environment: Environment,
    /// Its first process.
    pub process: Process,
}

/// The version of the format of a config. It is the same in all configs that this `sandbox` writes and reads. A change by which
/// another `sandbox` would read something else in a config, or nothing, takes another number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "u64")]
pub struct ConfigVersion;

impl ConfigVersion {
    const NUMBER: u64 = 1;

    /// The number in a config, if this `sandbox` does not read such a config. A config without a number is older than this
    /// key. What is no config at all has no version.
    pub fn other(config: &[u8]) -> Option<String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: Option<u64>,
        }
        match serde_json::from_slice::<Versioned>(config).ok()?.version {
            Some(ConfigVersion::NUMBER) => None,
            Some(other) => Some(other.to_string()),
            None => Some("0".into()),
        }
    }
}

impl fmt::Display for ConfigVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ConfigVersion::NUMBER.fmt(f)
    }
}

impl Serialize for ConfigVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(ConfigVersion::NUMBER)
    }
}

impl<'de> Deserialize<'de> for ConfigVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            ConfigVersion::NUMBER => Ok(ConfigVersion),
            other => {
                let expected = ConfigVersion.to_string();
                Err(D::Error::invalid_value(Unexpected::Unsigned(other), &expected.as_str()))
            }
        }
    }
}

/// What the processes of a container share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Environment {
    /// The namespaces, with the options of each.
    pub namespaces: ContainerNamespaces,
    /// The root filesystem. None: the root of the host is kept.
    pub root: Option<RootFilesystem>,
    /// The mounts, in their order. With a root filesystem, /proc, /sys and /dev are among them.
    pub mounts: Vec<ContainerMount>,
    /// The paths of the root filesystem that are masked.
    pub masked_paths: Vec<MaskedPath>,
    /// The paths of the root filesystem that are read-only.
    #[serde(with = "bytes::list")]
    #[schemars(with = "Vec<bytes::Form>")]
    pub readonly_paths: Vec<PathBuf>,
    /// The device files in /dev of the root filesystem.
    pub devices: Vec<DeviceFile>,
    /// Further lines of its /etc/hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The DNS servers of its /etc/resolv.conf. Empty: those of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<IpAddr>,
    /// Kernel parameters of its new namespaces. All others have the kernel's defaults.
    pub sysctls: Sysctls,
    /// The limits.
    pub resources: Resources,
}

/// The namespaces of a container, each under the name of its link in /proc/PID/ns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // Each is the namespace of that name.
pub struct ContainerNamespaces {
    pub pid: Namespace<Pid>,
    pub mnt: Namespace<Mnt>,
    pub net: Namespace<Net>,
    pub uts: Namespace<Uts>,
    pub ipc: Namespace<Ipc>,
    pub user: Namespace<IdMaps>,
    pub cgroup: Namespace<Cgroup>,
    pub time: Namespace<Time>,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "NamespaceOf{T}")]
pub enum Namespace<T> {
    /// It is the caller's.
    #[default]
    Host,
    /// It is a new one, with these options.
    New(T),
    /// It is one that exists already.
    Join {
        /// Which one.
        target: JoinTarget,
        /// Its name, as the kernel shows it: `net:[4026532281]`. None: it could not be opened.
        namespace: Option<String>,
        /// The options.
        options: T,
    },
}

impl<T> Namespace<T> {
    /// The options of a namespace that is not the caller's.
    pub fn options(&self) -> Option<&T> {
        match self {
            Namespace::New(options) | Namespace::Join { options, .. } => Some(options),
            Namespace::Host => None,
        }
    }

    /// Whether it is a new one.
    pub fn is_new(&self) -> bool {
        matches!(self, Namespace::New(_))
    }

    /// What is joined, and the name of the namespace, to be changed.
    fn joined_mut(&mut self) -> Option<(&JoinTarget, &mut Option<String>)> {
        match self {
            Namespace::Join { target, namespace, .. } => Some((target, namespace)),
            _ => None,
        }
    }

    /// What is joined, and the name of the namespace.
    fn joined(&self) -> Option<(&JoinTarget, Option<&str>)> {
        match self {
            Namespace::Join { target, namespace, .. } => Some((target, namespace.as_deref())),
            _ => None,
        }
    }
}

impl<T> From<Option<T>> for Namespace<T> {
    fn from(options: Option<T>) -> Namespace<T> {
        options.map_or(Namespace::Host, Namespace::New)
    }
}

impl ContainerNamespaces {
    /// The namespaces that are joined: the kind, what is joined, and its name, if it is known.
    pub fn joins(&self) -> Vec<(Feature, &JoinTarget, Option<&str>)> {
        let ContainerNamespaces { pid, mnt, net, uts, ipc, user, cgroup, time } = self;
        let all = [
            (Feature::Pid, pid.joined()),
            (Feature::Mnt, mnt.joined()),
            (Feature::Net, net.joined()),
            (Feature::Uts, uts.joined()),
            (Feature::Ipc, ipc.joined()),
            (Feature::User, user.joined()),
            (Feature::Cgroup, cgroup.joined()),
            (Feature::Time, time.joined()),
        ];
        let joined = |(kind, joined): (Feature, Option<_>)| {
            let (target, name) = joined?;
            Some((kind, target, name))
        };
        all.into_iter().filter_map(joined).collect()
    }

    /// Changes the names of the namespaces that are joined.
    pub fn rename_joined(&mut self, mut change: impl FnMut(Feature, &JoinTarget, &mut Option<String>)) {
        let ContainerNamespaces { pid, mnt, net, uts, ipc, user, cgroup, time } = self;
        let all = [
            (Feature::Pid, pid.joined_mut()),
            (Feature::Mnt, mnt.joined_mut()),
            (Feature::Net, net.joined_mut()),
            (Feature::Uts, uts.joined_mut()),
            (Feature::Ipc, ipc.joined_mut()),
            (Feature::User, user.joined_mut()),
            (Feature::Cgroup, cgroup.joined_mut()),
            (Feature::Time, time.joined_mut()),
        ];
        for (kind, joined) in all {
            joined.into_iter().for_each(|(target, name)| change(kind, target, name));
        }
    }
}

/// The limits of a container. None: the controller is not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // Each is the controller of that name.
pub struct Resources {
    pub memory: Option<Memory>,
    pub cpu: Option<Cpu>,
    pub blkio: Option<Blkio>,
    pub devices: Option<DeviceRules>,
    pub pids: Option<Pids>,
}

impl Resources {
    /// The cgroup controllers that the limits need.
    pub fn controllers(&self) -> Vec<Controller> {
        let Resources { memory, cpu, blkio, devices, pids } = self;
        let mut all = Vec::new();
        all.extend(memory.iter().flat_map(Memory::controllers));
        all.extend(cpu.iter().flat_map(Cpu::controllers));
        all.extend(blkio.iter().flat_map(Blkio::controllers));
        all.extend(devices.iter().flat_map(DeviceRules::controllers));
        all.extend(pids.iter().flat_map(Pids::controllers));
        all
    }
}

/// One process of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Process {
    /// The command and its arguments. Empty for a process of a demonstration.
    #[serde(with = "bytes::list")]
    #[schemars(with = "Vec<bytes::Form>")]
    pub args: Vec<OsString>,
    /// The whole environment, as `NAME=VALUE`. None: that of the caller.
    #[serde(with = "bytes::optional_list")]
    #[schemars(with = "Option<Vec<bytes::Form>>")]
    pub env: Option<Vec<OsString>>,
    /// The working directory. None: that of the caller.
    #[serde(with = "bytes::option")]
    #[schemars(with = "Option<bytes::Form>")]
    pub cwd: Option<PathBuf>,
    /// The user. None: the one that has made the container, or root of a new user namespace.
    #[schemars(with = "Option<String>")]
    pub user: Option<RunAs>,
    /// Its supplementary groups, in ascending order. They are set only together with a user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
    /// The capability sets. None: all that the user has.
    pub capabilities: Option<CapabilitySets>,
    /// The seccomp filter. None: there is no filter.
    pub seccomp: Option<SeccompProfile>,
    /// The resource limits that are set. All others are in `inherited`.
    pub rlimits: Rlimits,
    /// Whether execve(2) gives no new privileges.
    pub no_new_privileges: bool,
    /// Whether it has a new terminal.
    pub terminal: bool,
    /// The size of that terminal at the start. None: that of the terminal of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_size: Option<TerminalSize>,
    /// Its maximum running time. None: there is no limit.
    pub timeout: Option<Length>,
    /// What it has from the process that starts it. None: it is not known.
    pub inherited: Option<Inherited>,
}

impl Config {
    /// As JSON, in one line.
    pub fn to_json(&self) -> String {
        // It has only maps with string keys, lists and scalars, all of which JSON has.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Process {
    /// The value of a variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut entries = self.env.iter().flatten().map(|entry| entry.as_bytes());
        let value = entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        value.map(OsStr::from_bytes)
    }
}
