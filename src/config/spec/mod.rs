//! The spec: what is wanted, in types. The flags of a single-feature subcommand and the keys of a YAML file are the same
//! structs.

mod contradictions;
mod fields;
mod mistake;
mod reader;
pub mod schema;
pub mod shipped;
mod tree;
pub mod yaml;

use std::collections::BTreeMap;
use std::ops::Not;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cgroups::{self, blkio::Blkio, cpu::Cpu, devices::Devices, memory::Memory, pids::Pids};
use crate::feature::Feature;
use crate::host::cgroups::Controller;
use crate::namespaces::cgroup::Cgroup;
use crate::namespaces::ipc::Ipc;
use crate::namespaces::mnt::Mnt;
use crate::namespaces::net::Net;
use crate::namespaces::pid::Pid;
use crate::namespaces::time::Time;
use crate::namespaces::user::User;
use crate::namespaces::uts::Uts;
use crate::rootfs::Rootfs;
use crate::security::capabilities::Capabilities;
use crate::security::rlimits::Rlimits;
use crate::security::run_as::RunAs;
use crate::security::seccomp::Seccomp;
use crate::value::parse;
use crate::value::units::Length;
pub use mistake::{MOST as MOST_MISTAKES, Mistake};

/// A description of a container. A feature is on if its key is present, even without a value. Otherwise it is off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Name of the container; several running containers may have the same name
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::label")]
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9_.-]{0,62}$"), example = &"box")]
    pub name: Option<String>,
    /// The command to run inside, and its arguments
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "fields::arguments")]
    #[schemars(with = "Vec<parse::Word>", example = ["sh"])]
    pub command: Vec<String>,
    /// Root filesystem: `host` (the host's files under a temporary overlay) or a directory
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<parse::Word>", example = &"host")]
    pub rootfs: Option<Rootfs>,
    /// Whether a directory as rootfs stays unchanged: writes go to a temporary overlay
    #[serde(skip_serializing_if = "Not::not")]
    pub overlay: bool,
    /// Working directory of the command
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "fields::absolute")]
    #[schemars(regex(pattern = "^/"), example = &"/")]
    pub workdir: Option<PathBuf>,
    /// Environment variables, in addition to PATH, HOME, TERM and HOSTNAME
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "fields::variables")]
    #[schemars(with = "BTreeMap<String, parse::Word>", example = BTreeMap::from([("GREETING", "hello")]))]
    pub env: BTreeMap<String, String>,
    /// Whether the command gets a new terminal
    #[serde(skip_serializing_if = "Not::not")]
    pub tty: bool,
    /// Whether a small init is process 1; it reaps orphans and forwards signals (same as pid.init)
    #[serde(skip_serializing_if = "Not::not")]
    pub init: bool,
    /// Maximum running time of the command; then it is ended
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub timeout: Option<Length>,
    /// Features that may be missing: if this machine lacks one, the container starts without it and a note is printed
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = [Feature::Memory])]
    pub optional: Vec<Feature>,
    /// Process IDs, and a process 1: pid_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub pid: Option<Pid>,
    /// The mount table: mount_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub mnt: Option<Mnt>,
    /// Network devices, addresses, routes, ports: network_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub net: Option<Net>,
    /// Hostname and domain name: uts_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub uts: Option<Uts>,
    /// System V IPC and POSIX message queues: ipc_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub ipc: Option<Ipc>,
    /// User IDs, group IDs, capabilities: user_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub user: Option<User>,
    /// The root of the cgroup tree: cgroup_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub cgroup: Option<Cgroup>,
    /// The boot-time and monotonic clocks: time_namespaces(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub time: Option<Time>,
    /// Limits of memory and swap: cgroups(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub memory: Option<Memory>,
    /// Limits of CPU time, and the choice of CPUs: cgroups(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub cpu: Option<Cpu>,
    /// Limits of disk reads and writes: cgroups(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub blkio: Option<Blkio>,
    /// Access to devices: cgroups(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub devices: Option<Devices>,
    /// The maximum number of processes: cgroups(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub pids: Option<Pids>,
    /// Capabilities that the command keeps: default (docker's) or { keep: [...] }: capabilities(7)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    #[schemars(with = "Option<serde_json::Value>", example = &"default")]
    pub capabilities: Option<Capabilities>,
    /// Seccomp filter of system calls: default or none: seccomp(2)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    #[schemars(with = "Option<parse::Word>", example = &"default")]
    pub seccomp: Option<Seccomp>,
    /// Resource limits of each process: getrlimit(2)
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    #[schemars(with = "Option<BTreeMap<String, parse::Word>>", example = BTreeMap::from([("nofile", 1024)]))]
    pub rlimits: Option<Rlimits>,
    /// Whether execve gives no new privileges, for example by set-user-ID programs: prctl(2)
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "yaml::flag")]
    pub no_new_privileges: bool,
    /// Numeric user ID and group ID of the command: UID or UID:GID
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<parse::Word>", example = &"1000:1000")]
    pub run_as: Option<RunAs>,
}

impl Spec {
    /// The spec with this one feature, everything in it as it is without flags.
    pub fn of(feature: Feature) -> Spec {
        let mut spec = Spec::default();
        spec.add(feature);
        spec
    }

    /// Turns a feature on, as it is without flags.
    pub fn add(&mut self, feature: Feature) {
        match feature {
            Feature::Pid => self.pid = Some(Pid::default()),
            Feature::Mnt => self.mnt = Some(Mnt::default()),
            Feature::Net => self.net = Some(Net::default()),
            Feature::Uts => self.uts = Some(Uts::default()),
            Feature::Ipc => self.ipc = Some(Ipc::default()),
            Feature::User => self.user = Some(User::default()),
            Feature::Cgroup => self.cgroup = Some(Cgroup::default()),
            Feature::Time => self.time = Some(Time::default()),
            Feature::Memory => self.memory = Some(Memory::default()),
            Feature::Cpu => self.cpu = Some(Cpu::default()),
            Feature::Blkio => self.blkio = Some(Blkio::default()),
            Feature::Devices => self.devices = Some(Devices::default()),
            Feature::Pids => self.pids = Some(Pids::default()),
            Feature::Capabilities => self.capabilities = Some(Capabilities::default()),
            Feature::Seccomp => self.seccomp = Some(Seccomp::default()),
            Feature::Rlimits => self.rlimits = Some(Rlimits::default()),
        }
    }

    /// Whether a feature is on.
    pub fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Pid => self.pid.is_some(),
            Feature::Mnt => self.mnt.is_some(),
            Feature::Net => self.net.is_some(),
            Feature::Uts => self.uts.is_some(),
            Feature::Ipc => self.ipc.is_some(),
            Feature::User => self.user.is_some(),
            Feature::Cgroup => self.cgroup.is_some(),
            Feature::Time => self.time.is_some(),
            Feature::Memory => self.memory.is_some(),
            Feature::Cpu => self.cpu.is_some(),
            Feature::Blkio => self.blkio.is_some(),
            Feature::Devices => self.devices.is_some(),
            Feature::Pids => self.pids.is_some(),
            Feature::Capabilities => self.capabilities.is_some(),
            Feature::Seccomp => self.seccomp.is_some(),
            Feature::Rlimits => self.rlimits.is_some(),
        }
    }

    /// The controllers of cgroups that the features which are on take.
    pub fn controllers(&self) -> Vec<Controller> {
        let mut all = Vec::new();
        all.extend(self.memory.iter().flat_map(|_| cgroups::memory::CONTROLLERS));
        all.extend(self.cpu.iter().flat_map(Cpu::controllers));
        all.extend(self.blkio.iter().flat_map(|_| cgroups::blkio::CONTROLLERS));
        all.extend(self.devices.iter().flat_map(|_| cgroups::devices::CONTROLLERS));
        all.extend(self.pids.iter().flat_map(|_| cgroups::pids::CONTROLLERS));
        all
    }

    /// The features that are on.
    pub fn features(&self) -> Vec<Feature> {
        Feature::ALL.iter().copied().filter(|feature| self.has(*feature)).collect()
    }
}
