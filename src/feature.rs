//! The words that hold everywhere: one feature, one name, in the subcommand, the spec's key, the source file and the view.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A feature: one of the eight namespaces of namespaces(7), a controller of cgroups(7), or a restriction of what a process
/// may ask of the kernel.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Process IDs: pid_namespaces(7).
    Pid,
    /// The mount table: mount_namespaces(7).
    Mnt,
    /// Network devices, addresses, routes, ports: network_namespaces(7).
    Net,
    /// Hostname and domain name: uts_namespaces(7).
    Uts,
    /// System V IPC and POSIX message queues: ipc_namespaces(7).
    Ipc,
    /// User IDs, group IDs, capabilities: user_namespaces(7).
    User,
    /// The root of the cgroup tree that a process sees: cgroup_namespaces(7).
    Cgroup,
    /// The boot-time and monotonic clocks: time_namespaces(7).
    Time,
    /// Limits of memory and swap: cgroups(7), memory.
    Memory,
    /// Limits of CPU time, and the choice of CPUs: cgroups(7), cpu and cpuset.
    Cpu,
    /// Limits of disk reads and writes: cgroups(7), blkio (io in cgroup v2).
    Blkio,
    /// Access to devices: cgroups(7), devices; a BPF program in cgroup v2.
    Devices,
    /// The maximum number of processes: cgroups(7), pids.
    Pids,
    /// No feature but all of them together: what steps that serve a whole container stand for.
    #[value(skip)]
    Run,
    /// The capabilities of root inside: capabilities(7).
    Capabilities,
    /// The system calls that are allowed: seccomp(2).
    Seccomp,
    /// Resource limits of each process: getrlimit(2).
    Rlimits,
}

impl Feature {
    /// Every feature with a subcommand, in the order in which the course and the tables show them.
    pub const ALL: [Feature; 13] = [
        Feature::Pid,
        Feature::Mnt,
        Feature::Net,
        Feature::Uts,
        Feature::Ipc,
        Feature::User,
        Feature::Cgroup,
        Feature::Time,
        Feature::Memory,
        Feature::Cpu,
        Feature::Blkio,
        Feature::Devices,
        Feature::Pids,
    ];

    /// The namespaces, in that order.
    pub const NAMESPACES: [Feature; 8] = [
        Feature::Pid,
        Feature::Mnt,
        Feature::Net,
        Feature::Uts,
        Feature::Ipc,
        Feature::User,
        Feature::Cgroup,
        Feature::Time,
    ];

    /// The controllers of cgroups, in that order.
    pub const CONTROLLERS: [Feature; 5] =
        [Feature::Memory, Feature::Cpu, Feature::Blkio, Feature::Devices, Feature::Pids];

    /// What hardens a whole container. It comes with `run`: no subcommand shows one alone.
    pub const HARDENING: [Feature; 3] = [Feature::Capabilities, Feature::Seccomp, Feature::Rlimits];

    /// Whether it's a namespace; else it's a controller, or it hardens.
    pub fn is_namespace(self) -> bool {
        Feature::NAMESPACES.contains(&self)
    }

    /// The feature's one name. A namespace's is also the name of the link below `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Pid => "pid",
            Feature::Mnt => "mnt",
            Feature::Net => "net",
            Feature::Uts => "uts",
            Feature::Ipc => "ipc",
            Feature::User => "user",
            Feature::Cgroup => "cgroup",
            Feature::Time => "time",
            Feature::Memory => "memory",
            Feature::Cpu => "cpu",
            Feature::Blkio => "blkio",
            Feature::Devices => "devices",
            Feature::Pids => "pids",
            Feature::Run => "run",
            Feature::Capabilities => "capabilities",
            Feature::Seccomp => "seccomp",
            Feature::Rlimits => "rlimits",
        }
    }

    /// The manual page that describes it.
    pub fn man_page(self) -> &'static str {
        match self {
            Feature::Pid => "pid_namespaces(7)",
            Feature::Mnt => "mount_namespaces(7)",
            Feature::Net => "network_namespaces(7)",
            Feature::Uts => "uts_namespaces(7)",
            Feature::Ipc => "ipc_namespaces(7)",
            Feature::User => "user_namespaces(7)",
            Feature::Cgroup => "cgroup_namespaces(7)",
            Feature::Time => "time_namespaces(7)",
            Feature::Memory | Feature::Cpu | Feature::Blkio | Feature::Devices | Feature::Pids => {
                "cgroups(7)"
            }
            Feature::Run => "namespaces(7)",
            Feature::Capabilities => "capabilities(7)",
            Feature::Seccomp => "seccomp(2)",
            Feature::Rlimits => "getrlimit(2)",
        }
    }

    /// The link whose target names the namespace that a process's *children* will be in, where that can differ.
    pub fn link_for_children(self) -> Option<&'static str> {
        match self {
            Feature::Pid => Some("pid_for_children"),
            Feature::Time => Some("time_for_children"),
            _ => None,
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Feature;

    #[test]
    fn a_feature_is_a_namespace_or_a_controller() {
        let both = Feature::NAMESPACES.into_iter().chain(Feature::CONTROLLERS);
        assert_eq!(both.collect::<Vec<_>>(), Feature::ALL);
    }
}
