//! The features: what can be isolated, limited or restricted. A feature has the same name as a subcommand, as a key of
//! the spec, as a source file and as a view.
//!
//! The table below is the only list of features. A macro makes from it everything that needs one item for each feature:
//! the keys of the spec, the subcommands, the readers of a view, the demonstrations, the files of messages. A new
//! feature is a row here, its page (the file that the row names) and its messages.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Calls the macro `$with` with the table of features. The columns of a row are:
///
/// 1. what the feature is, as the help prints it,
/// 2. its variant of [`Feature`], which is also the name of the type of its options,
/// 3. its name, which is also the name of its file,
/// 4. the directory of that file,
/// 5. its manual page,
/// 6. other names of the subcommand.
macro_rules! features {
    ($with:ident) => {
        $with! {
            namespaces {
                "PID namespace: process IDs, and a process 1", Pid, pid, namespaces, "pid_namespaces(7)", [];
                "Mount namespace: the mount table", Mnt, mnt, namespaces, "mount_namespaces(7)", ["mount"];
                "Network namespace: devices, addresses, routes, ports", Net, net, namespaces, "network_namespaces(7)", ["network"];
                "UTS namespace: hostname and domain name", Uts, uts, namespaces, "uts_namespaces(7)", [];
                "IPC namespace: System V IPC and POSIX message queues", Ipc, ipc, namespaces, "ipc_namespaces(7)", [];
                "User namespace: user IDs, group IDs, capabilities", User, user, namespaces, "user_namespaces(7)", [];
                "Cgroup namespace: the root of the cgroup tree", Cgroup, cgroup, namespaces, "cgroup_namespaces(7)", [];
                "Time namespace: the boot-time and monotonic clocks", Time, time, namespaces, "time_namespaces(7)", [];
            }
            controllers {
                "Limit memory and swap", Memory, memory, cgroups, "cgroups(7)", ["mem"];
                "Limit CPU time, and choose CPUs", Cpu, cpu, cgroups, "cgroups(7)", [];
                "Limit disk reads and writes", Blkio, blkio, cgroups, "cgroups(7)", ["io"];
                "Allow or deny access to devices", Devices, devices, cgroups, "cgroups(7)", [];
                "Limit the number of processes", Pids, pids, cgroups, "cgroups(7)", [];
            }
            hardening {
                "Capabilities that the command keeps: default (docker's) or { keep: [...] }", Capabilities, capabilities, security, "capabilities(7)", [];
                "Seccomp filter of system calls: default, none, or a profile of docker or OCI (./profile.json)", Seccomp, seccomp, security, "seccomp(2)", [];
                "Resource limits of each process", Rlimits, rlimits, security, "getrlimit(2)", [];
            }
        }
    };
}
pub(crate) use features;

macro_rules! define {
    (
        namespaces { $($n_about:literal, $n:ident, $n_name:ident, $n_dir:ident, $n_page:literal, $n_also:tt;)* }
        controllers { $($c_about:literal, $c:ident, $c_name:ident, $c_dir:ident, $c_page:literal, $c_also:tt;)* }
        hardening { $($h_about:literal, $h:ident, $h_name:ident, $h_dir:ident, $h_page:literal, $h_also:tt;)* }
    ) => {
        /// One thing that can be isolated (one of the eight namespaces of namespaces(7)), limited (a controller of
        /// cgroups(7)), or taken away (what a process may still ask of the kernel).
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
            $(#[doc = $n_about] $n,)*
            $(#[doc = $c_about] $c,)*
            $(#[doc = $h_about] $h,)*
        }

        impl Feature {
            /// The namespaces.
            pub const NAMESPACES: &[Feature] = &[$(Feature::$n),*];

            /// The controllers of cgroups.
            pub const CONTROLLERS: &[Feature] = &[$(Feature::$c),*];

            /// The restrictions of a process. They belong to `run` and have no subcommands.
            pub const HARDENING: &[Feature] = &[$(Feature::$h),*];

            /// Every feature with a subcommand, in the order in which the course and the tables show them.
            pub const WITH_SUBCOMMAND: &[Feature] = &[$(Feature::$n,)* $(Feature::$c,)*];

            /// Every feature.
            pub const ALL: &[Feature] = &[$(Feature::$n,)* $(Feature::$c,)* $(Feature::$h,)*];

            /// The name. The name of a namespace is also the name of its link in `/proc/PID/ns`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Feature::$n => stringify!($n_name),)*
                    $(Feature::$c => stringify!($c_name),)*
                    $(Feature::$h => stringify!($h_name),)*
                }
            }

            /// The manual page of the feature.
            pub fn man_page(self) -> &'static str {
                match self {
                    $(Feature::$n => $n_page,)*
                    $(Feature::$c => $c_page,)*
                    $(Feature::$h => $h_page,)*
                }
            }

            /// Other names of the subcommand.
            pub fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(Feature::$n => &$n_also,)*
                    $(Feature::$c => &$c_also,)*
                    $(Feature::$h => &$h_also,)*
                }
            }
        }
    };
}
features!(define);

impl Feature {
    /// Whether the feature is a namespace. Otherwise it is a controller or a restriction.
    pub fn is_namespace(self) -> bool {
        Feature::NAMESPACES.contains(&self)
    }

    /// Whether the feature is a controller of cgroups.
    pub fn is_controller(self) -> bool {
        Feature::CONTROLLERS.contains(&self)
    }

    /// The flag of a namespace for clone(2), unshare(2) and setns(2): CLONE_NEWNET. Zero for all other features.
    pub fn clone_flag(self) -> i32 {
        match self {
            Feature::Pid => libc::CLONE_NEWPID,
            Feature::Mnt => libc::CLONE_NEWNS,
            Feature::Net => libc::CLONE_NEWNET,
            Feature::Uts => libc::CLONE_NEWUTS,
            Feature::Ipc => libc::CLONE_NEWIPC,
            Feature::User => libc::CLONE_NEWUSER,
            Feature::Cgroup => libc::CLONE_NEWCGROUP,
            Feature::Time => libc::CLONE_NEWTIME,
            _ => 0,
        }
    }

    /// The link in `/proc/PID/ns` to the namespace of the process's later children, for the namespaces where it can
    /// differ.
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
        f.pad(self.name())
    }
}

/// The purpose of a plan, a step or a view: one feature, or a whole container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// One feature, shown alone.
    Feature(Feature),
    /// A container, with all of its features.
    Container,
}

impl Purpose {
    /// The name of the subcommand: that of the feature, or `run`.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Feature(feature) => feature.name(),
            Purpose::Container => "run",
        }
    }

    /// All purposes.
    pub fn all() -> impl Iterator<Item = Purpose> {
        Feature::ALL.iter().copied().map(Purpose::Feature).chain([Purpose::Container])
    }

    /// The feature, if the purpose is a single one.
    pub fn feature(self) -> Option<Feature> {
        match self {
            Purpose::Feature(feature) => Some(feature),
            Purpose::Container => None,
        }
    }

    /// Whether the purpose includes namespaces: it is one, or a container.
    pub fn has_namespaces(self) -> bool {
        self.feature().is_none_or(Feature::is_namespace)
    }
}

impl From<Feature> for Purpose {
    fn from(feature: Feature) -> Purpose {
        Purpose::Feature(feature)
    }
}

impl PartialEq<Feature> for Purpose {
    fn eq(&self, feature: &Feature) -> bool {
        self.feature() == Some(*feature)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl JsonSchema for Purpose {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Purpose".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Purpose::all().map(Purpose::name).collect();
        json_schema!({ "type": "string", "enum": names, "description": "A feature, or run for a whole container." })
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Purpose::all()
            .find(|purpose| purpose.name() == name)
            .ok_or_else(|| serde::de::Error::custom(format!("no feature is called {name:?}")))
    }
}
