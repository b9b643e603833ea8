//! The spec: what is wanted, in types. The flags of a single-feature subcommand and the keys of a YAML file are the same
//! structs.

pub mod compose;
pub mod enter;
pub mod units;
pub mod yaml;

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

/// A container. A key that stands is a feature that is on, also with no value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // Each field is the feature, or the key, of that name.
pub struct Spec {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<Rootfs>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overlay: bool,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub pid: Option<Pid>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub mnt: Option<Mnt>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub net: Option<Net>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub uts: Option<Uts>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub ipc: Option<Ipc>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub cgroup: Option<Cgroup>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub blkio: Option<Blkio>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub devices: Option<Devices>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub pids: Option<Pids>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub capabilities: Option<Capabilities>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub seccomp: Option<Seccomp>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "yaml::on")]
    pub rlimits: Option<Rlimits>,
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "yaml::flag")]
    pub no_new_privileges: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
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
            Feature::Run => {}
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
            Feature::Run => false,
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
        Feature::ALL.into_iter().chain(Feature::HARDENING).filter(|feature| self.has(*feature)).collect()
    }
}
