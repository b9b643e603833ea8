//! Facts about the machine and the caller, found by looking. Planning uses them: they are gathered once, and then
//! only read.

pub mod accounts;
pub mod caller;
pub mod cgroups;
pub mod command;
pub mod containers;
pub mod disk;
pub mod executable;
pub mod facts;
pub mod files;
pub mod home;
pub mod identity;
pub mod joined;
pub mod memory_directory;
pub mod nameservers;
pub mod own_run;
pub mod private_directory;
pub mod program;
pub mod resolver;
pub mod run_directory;
pub mod run_lock;
pub mod storage;
pub mod streams;
pub mod subordinate;
pub mod sysfs;
pub mod token;
pub mod untrusted;
pub mod zone;

use std::ffi::OsString;

use caps::{CapSet, Capability};

pub use self::cgroups::{Cgroups, counts_swap};
pub use self::disk::Disk;
pub use self::files::Files;
pub use self::joined::{JoinedNamespace, NetworkFiles};
pub use self::nameservers::Nameservers;
pub use self::program::ProgramFile;
pub use self::streams::StandardPipe;
pub use self::subordinate::Subordinate;
pub use self::sysfs::Sysfs;
use crate::error::Error;
use crate::feature::Feature;
use crate::observe::{Unread, file};

/// The caller of `sandbox` and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The effective user ID.
    pub uid: u32,
    /// The effective group ID.
    pub gid: u32,
    /// The caller's supplementary groups. They are read only if a spec drops them.
    pub groups: Groups,
    /// Whether CAP_SYS_ADMIN is effective. Then namespaces can be made without a user namespace. Root in a container
    /// may lack it.
    pub privileged: bool,
    /// Whether these facts are root's, although the caller is not root: for a plan that is only printed.
    pub stands_in: bool,
    /// The file of this program.
    pub program: ProgramFile,
    /// The newest capability of this kernel. It is read only if a spec drops capabilities.
    pub last_capability: Option<u8>,
    /// The subordinate IDs of the caller. They are read only if a spec maps ranges of IDs.
    pub subordinate: Option<Subordinate>,
    /// The host name.
    pub name: OsString,
    /// The type of the caller's terminal: $TERM.
    pub terminal: OsString,
    /// Where cgroups can be made. This is found only if a spec sets a limit.
    pub cgroups: Option<Cgroups>,
    /// The files of this machine. They are read only if a spec has a new root filesystem.
    pub files: Option<Files>,
    /// The CPUs that are online: `0-3`. They are read only if a spec chooses CPUs.
    pub online_cpus: Option<String>,
    /// The memory nodes: `0-1`. They are read only if a spec chooses some.
    pub memory_nodes: Option<String>,
    /// The namespaces that a spec joins, each with its kind; or why one cannot be joined.
    pub joins: Vec<(Feature, Result<JoinedNamespace, Error>)>,
    /// The files of the container whose network a spec joins.
    pub network_files: Option<NetworkFiles>,
    /// Whether a cgroup can be made for a container that needs it only to find its processes. It is looked at only then.
    pub can_group_pids: bool,
    /// What is mounted on /sys. It is read only if a spec has a new network, and keeps the root filesystem.
    pub sysfs: Option<Sysfs>,
    /// The DNS servers of this machine. They are read only if a container gets a file with them.
    pub nameservers: Option<Nameservers>,
    /// The disks that a spec names, by these names; or why a name means no disk.
    pub disks: Vec<(OsString, Result<Disk, String>)>,
    /// The disks on which weights have an effect, with the mechanism. They are read only if a spec sets a weight.
    pub weighers: Vec<(String, &'static str)>,
    /// The pipes among standard input, output and error. They are looked at only if a spec changes the user.
    pub pipes: Vec<StandardPipe>,
    /// The files that could not be read.
    pub unread: Unread,
}

impl Host {
    /// Reads the facts that every plan needs.
    pub fn gather() -> Host {
        let uid = nix::unistd::geteuid();
        Host {
            uid: uid.as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            groups: Groups::default(),
            // If the kernel does not report it, only root is taken to have it.
            privileged: caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
                .unwrap_or(uid.is_root()),
            stands_in: false,
            program: ProgramFile::gather(),
            last_capability: None,
            subordinate: None,
            name: nix::unistd::gethostname().unwrap_or_default(),
            terminal: std::env::var_os("TERM").unwrap_or_else(|| "xterm".into()),
            cgroups: None,
            files: None,
            online_cpus: None,
            memory_nodes: None,
            joins: Vec::new(),
            network_files: None,
            can_group_pids: false,
            sysfs: None,
            nameservers: None,
            disks: Vec::new(),
            weighers: Vec::new(),
            pipes: Vec::new(),
            unread: Unread::default(),
        }
    }
}

impl Host {
    /// The namespace of this kind that is joined, if it can be.
    pub fn joined(&self, kind: Feature) -> Option<&JoinedNamespace> {
        self.joins.iter().find(|(of, _)| *of == kind).and_then(|(_, found)| found.as_ref().ok())
    }
}

/// The caller's supplementary groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    /// Whether there are any besides the effective group. getgroups(2)
    pub has_others: bool,
    /// Whether they cannot be dropped: setgroups(2) is denied in the caller's user namespace, and so in all its
    /// descendants. user_namespaces(7)
    pub are_fixed: bool,
}

impl Groups {
    /// Reads the groups of the caller.
    pub fn gather() -> Groups {
        let own = nix::unistd::getegid().as_raw();
        let all = rustix::process::getgroups().unwrap_or_default();
        let setgroups = file::read_text("/proc/self/setgroups").unwrap_or_default();
        Groups {
            has_others: all.iter().any(|group| group.as_raw() != own),
            are_fixed: setgroups.trim() == "deny",
        }
    }
}

/// The newest capability of this kernel; none without /proc. The crate `caps` reads this file too, but leaves out
/// capabilities that are newer than the crate, and those must be dropped as well. capabilities(7)
pub fn last_capability() -> Option<u8> {
    file::read_text("/proc/sys/kernel/cap_last_cap").ok()?.trim().parse().ok()
}
