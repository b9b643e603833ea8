//! The words that hold everywhere: one feature, one name, in the subcommand, the spec's key, the source file and the view.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that can be isolated. For now the eight namespaces of namespaces(7).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Feature {
    /// Process numbers: pid_namespaces(7).
    Pid,
    /// The mount table: mount_namespaces(7).
    Mnt,
    /// Network devices, addresses, routes, ports: network_namespaces(7).
    Net,
    /// Hostname and domain name: uts_namespaces(7).
    Uts,
    /// System V IPC and POSIX message queues: ipc_namespaces(7).
    Ipc,
    /// User and group ids, and the capabilities over all the others: user_namespaces(7).
    User,
    /// The root of the cgroup tree that a process sees: cgroup_namespaces(7).
    Cgroup,
    /// The boot-time and monotonic clocks: time_namespaces(7).
    Time,
}

impl Feature {
    /// Every feature, in the order in which the course and the tables show them.
    pub const ALL: [Feature; 8] = [
        Feature::Pid,
        Feature::Mnt,
        Feature::Net,
        Feature::Uts,
        Feature::Ipc,
        Feature::User,
        Feature::Cgroup,
        Feature::Time,
    ];

    /// The feature's one name. It is also the name of the link below `/proc/PID/ns`.
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
