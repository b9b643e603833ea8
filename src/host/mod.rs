//! Facts about the machine and the caller that planning needs: gathered once, then only read.

pub mod cgroups;
pub mod command;
pub mod disk;
pub mod facts;
pub mod files;
pub mod program;
pub mod resolver;
pub mod subordinate;
pub mod token;

use caps::{CapSet, Capability};

pub use self::cgroups::Cgroups;
pub use self::disk::Disk;
pub use self::files::Files;
pub use self::program::ProgramFile;
pub use self::subordinate::Subordinate;
use crate::observe::{Unread, file};

/// Who asks, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The caller's other groups: only looked up where a spec has them dropped.
    pub groups: Groups,
    /// Whether namespaces can be made without a user namespace: CAP_SYS_ADMIN is effective. Root in a container may lack it.
    pub privileged: bool,
    /// This program's file.
    pub program: ProgramFile,
    /// The newest capability that this kernel knows: only looked up where a spec drops some.
    pub last_capability: Option<u8>,
    /// Ids beyond their own that the caller may map: only looked up where a spec asks for ranges.
    pub subordinate: Option<Subordinate>,
    /// The machine's name.
    pub name: String,
    /// The kind of terminal that the caller has: $TERM.
    pub terminal: String,
    /// Where cgroups can be made: only looked up where a spec limits something.
    pub cgroups: Option<Cgroups>,
    /// This machine's files: only looked up where a spec has a root of its own.
    pub files: Option<Files>,
    /// The disks that a spec names, by its words; or why one is none.
    pub disks: Vec<(String, Result<Disk, String>)>,
    /// The disks that are shared out by weight, and by what: only looked up where a spec asks for a weight.
    pub weighers: Vec<(String, &'static str)>,
    /// What of all this couldn't be looked at.
    pub unread: Unread,
}

impl Host {
    /// Looks at the caller.
    pub fn gather() -> Host {
        let uid = nix::unistd::geteuid();
        Host {
            uid: uid.as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            groups: Groups::default(),
            // Where the kernel doesn't tell, root has it, and no one else.
            privileged: caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN)
                .unwrap_or(uid.is_root()),
            program: ProgramFile::gather(),
            last_capability: None,
            subordinate: None,
            name: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            terminal: std::env::var("TERM").unwrap_or_else(|_| "xterm".into()),
            cgroups: None,
            files: None,
            disks: Vec::new(),
            weighers: Vec::new(),
            unread: Unread::default(),
        }
    }
}

/// Groups that the caller is in beside its own one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    /// Whether there are any: getgroups(2).
    pub has_others: bool,
    /// Whether they can't be dropped: setgroups(2) was given up in the caller's user namespace, and so in all below.
    /// user_namespaces(7)
    pub are_fixed: bool,
}

impl Groups {
    /// Looks at the caller.
    pub fn gather() -> Groups {
        let own = nix::unistd::getegid().as_raw();
        let all = rustix::process::getgroups().unwrap_or_default();
        let word = file::read_text("/proc/self/setgroups").unwrap_or_default();
        Groups { has_others: all.iter().any(|group| group.as_raw() != own), are_fixed: word.trim() == "deny" }
    }
}

/// The newest capability that this kernel has. None without a /proc. `caps` reads this file too, but leaves out each capability
/// that is newer than itself, and those must be dropped as well. capabilities(7)
pub fn last_capability() -> Option<u8> {
    file::read_text("/proc/sys/kernel/cap_last_cap").ok()?.trim().parse().ok()
}
