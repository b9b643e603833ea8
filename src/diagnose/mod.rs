//! Why a system call failed. The cause follows from three things: the facts about this machine, the call and its errno.
//! [`explain`] reads nothing itself, so recorded facts give the same answer on any machine. `remedy` writes the
//! explanation.
//!
//! Several rules of the kernel return the same errno, so the result is the *likely* cause. The rules are checked in the
//! order in which the kernel checks them. A rule is named only if a fact supports it.

pub mod arguments;
pub mod executable;
pub(crate) mod remedy;
mod requirements;

use std::io::ErrorKind;
use std::path::PathBuf;

use caps::Capability;
use nix::errno::Errno;

use self::requirements::{needs, needs_version};
use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::host::facts::{APPARMOR_SWITCH, CHILDS_PROFILE, Facts};
use crate::plan::Call;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::file::FileCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::net::NetCall;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::call::user::{IdKind, IdRange, MapOwner, UserCall};
use crate::text::text_with;

/// A call that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// The feature, or a whole container. The commands that the remedy suggests name it.
    pub purpose: Purpose,
    /// The call.
    pub call: &'a Call,
    /// The errno that it returned.
    pub errno: Errno,
    /// The new namespaces of the whole plan. In a new user namespace, a process has every capability.
    pub own: &'a [Feature],
}

/// The cause of the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// WSL 1. It translates system calls to Windows, and implements no namespaces.
    Wsl1,
    /// The kernel is older than the call or the flag, which needs this version.
    OldKernel(u32, u32),
    /// This kernel was built without this kind of namespace.
    NotBuilt(Feature),
    /// The sysctl user.max_*_namespaces is 0, or its limit is reached.
    Limit(Feature, u64),
    /// RLIMIT_NPROC, pids.max of a cgroup, or the memory is exhausted.
    Processes,
    /// RLIMIT_NOFILE: this process has too many open files.
    OpenFiles,
    /// The machine has too many open files: fs.file-max.
    FileTable,
    /// /sys is not mounted, or only parts of it are visible.
    NoSys,
    /// Debian's sysctl kernel.unprivileged_userns_clone is 0.
    DebianSwitch,
    /// The caller is in a chroot. The kernel makes no user namespace there, and the root is not a mount point.
    Chroot,
    /// The caller's user ID or group ID is not mapped in its user namespace.
    Unmapped,
    /// The map contains IDs that are not mapped in the caller's own user namespace. This file lists those that are.
    RangeUnmapped(&'static str),
    /// The user or the group of the process has no ID in the user namespace that owns the filesystem.
    NoOwner,
    /// Ubuntu's restriction: a program without an AppArmor profile has no capabilities in a new user namespace.
    AppArmorUserns,
    /// The caller's AppArmor profile.
    AppArmorProfile,
    /// SELinux is enforcing.
    Selinux,
    /// A seccomp filter.
    Seccomp,
    /// no_new_privs is set, so a set-user-ID program such as newuidmap gets no privileges.
    NoNewPrivs,
    /// newuidmap or newgidmap refused the map.
    Helper,
    /// Something is mounted over parts of /proc, as in a container. The kernel then refuses a new mount of proc.
    MaskedProc,
    /// /proc is not mounted.
    NoProc,
    /// /proc is mounted with subset=pid, so it has no /proc/sys.
    PartOfProc,
    /// Nothing can be written to the filesystem with this path, or the file would be too large.
    Storage,
    /// The mount namespace has as many mounts as fs.mount-max allows.
    Mounts,
    /// The machine has as many pseudoterminals as kernel.pty.max allows.
    Terminals,
    /// This kernel does not have the filesystem.
    NoFilesystem,
    /// This capability is missing.
    Capability(Capability),
    /// The permissions of an ordinary file or directory.
    Permissions,
    /// The call was refused, and no fact supports any of the rules.
    Unknown,
}

/// The name of the cause where no rule explains a failure.
pub const UNKNOWN: &str = "unknown";

/// Checks that /proc is mounted, for this subcommand. Every comparison reads it.
///
/// # Errors
/// /proc is not mounted.
pub fn need_proc(command: &str, purpose: Purpose) -> Result<()> {
    // After another error, the files that are read next tell more.
    if std::fs::metadata("/proc/self/ns").map_or_else(|error| error.kind() != ErrorKind::NotFound, |_| true) {
        return Ok(());
    }
    let error = Error::failed(text_with("doctor.noproc.what", &[("command", command)]));
    Err(without_proc(error, &Facts::read(), purpose))
}

/// Adds the cause to an error about a file in /proc, if /proc is not mounted, or has only processes.
pub fn without_proc(error: Error, facts: &Facts, purpose: Purpose) -> Error {
    let call = Call::from(FileCall::Write { path: "/proc/self/status".into(), content: String::new() });
    explain(error, facts, &Failed { purpose, call: &call, errno: Errno::ENOENT, own: &[] })
}

/// Adds to an error the likely cause, the reason and what to do. `facts` describe the machine. If the errno explains
/// enough by itself, the error stays unchanged.
pub fn explain(error: Error, facts: &Facts, failed: &Failed<'_>) -> Error {
    match reason(facts, failed) {
        Some(reason) => self::remedy::explain(error, reason, facts, failed),
        None => error,
    }
}

fn reason(facts: &Facts, failed: &Failed<'_>) -> Option<Reason> {
    if is_exec(failed.call) {
        // The user chose this program. The errno describes the file, not the machine.
        return None;
    }
    if facts.wsl() == Some(1) {
        return Some(Reason::Wsl1);
    }
    if matches!(failed.call, Call::Cgroup(CgroupCall::Set { setting, .. }) if setting.file.starts_with("devices."))
    {
        // The message of the step explains the rule of the devices controller.
        return None;
    }
    match failed.errno {
        Errno::ENOSYS => Some(not_there(facts, failed.call)),
        Errno::EINVAL => invalid(facts, failed.call),
        // Before Linux 4.9, clone(2) returned EUSERS instead of ENOSPC.
        Errno::ENOSPC | Errno::EUSERS => limit(facts, failed.call),
        Errno::EMFILE => Some(Reason::OpenFiles),
        Errno::ENFILE => Some(Reason::FileTable),
        Errno::EAGAIN | Errno::ENOMEM if is_new_process(failed.call) => Some(Reason::Processes),
        Errno::ENOENT | Errno::ENOTDIR if !facts.proc_is_mounted && is_in_proc(failed.call) => {
            Some(Reason::NoProc)
        }
        Errno::ENOENT if facts.proc_is_mounted && facts.proc_is_partial && is_in_proc(failed.call) => {
            Some(Reason::PartOfProc)
        }
        Errno::EROFS | Errno::EDQUOT if file_of(failed.call).is_some() => Some(Reason::Storage),
        Errno::EFBIG => Some(Reason::Storage),
        // fsuidgid_has_mapping() of linux/fs.h.
        Errno::EOVERFLOW if failed.own.contains(&Feature::User) => Some(Reason::NoOwner),
        Errno::ENODEV
            if matches!(
                failed.call,
                Call::Mount(MountCall::Filesystem { .. })
                    | Call::DetachedMount(DetachedMountCall::Make { .. })
            ) =>
        {
            Some(Reason::NoFilesystem)
        }
        Errno::EPERM | Errno::EACCES => Some(refused(facts, failed)),
        _ => None,
    }
}

/// ENOSYS: the kernel is older than the call, or a seccomp filter hides the call. Docker's filter returns ENOSYS for
/// clone3(2): its flags are in memory, where a filter cannot read them. Programs then use clone(2), whose flags it can.
fn not_there(facts: &Facts, call: &Call) -> Reason {
    let needs = needs_version(call);
    if facts.version() < needs {
        return Reason::OldKernel(needs.0, needs.1);
    }
    if facts.is_filtered() { Reason::Seccomp } else { Reason::Unknown }
}

/// EINVAL: the kernel does not know a flag. Or `/` is not a mount point, so its propagation cannot be changed.
fn invalid(facts: &Facts, call: &Call) -> Option<Reason> {
    if let Some(asked) = new_namespaces(call) {
        let needs = needs_version(call);
        if facts.version() < needs {
            return Some(Reason::OldKernel(needs.0, needs.1));
        }
        let built = |feature: &Feature| facts.namespaces.iter().any(|name| name == feature.name());
        return asked
            .features()
            .into_iter()
            .find(|feature| facts.proc_is_mounted && !built(feature))
            .map(Reason::NotBuilt);
    }
    let on_root = matches!(call, Call::Mount(MountCall::Propagation { .. } | MountCall::PivotRoot { .. }));
    (on_root && facts.is_chrooted).then_some(Reason::Chroot)
}

/// ENOSPC of a mount or of a terminal: their limits are of the whole machine. ENOSPC of a clone: a limit of user.max_*_namespaces, which counts per user. The result names the lowest limit of the
/// requested namespaces. (User namespaces nested more than 32 levels deep give ENOSPC too.)
fn limit(facts: &Facts, call: &Call) -> Option<Reason> {
    if file_of(call).is_some() {
        return Some(Reason::Storage);
    }
    match call {
        Call::Terminal(_) => return Some(Reason::Terminals),
        Call::Mount(_) | Call::DetachedMount(_) if call.to_string().contains("mount(") => {
            return Some(Reason::Mounts);
        }
        _ => {}
    }
    let limits = new_namespaces(call)?
        .features()
        .into_iter()
        .filter_map(|feature| Some(Reason::Limit(feature, facts.limit(feature)?)));
    limits.min_by_key(|limit| if let Reason::Limit(_, value) = limit { *value } else { u64::MAX })
}

/// EPERM and EACCES. Which of the two it is proves little: under Ubuntu's AppArmor restriction, an open fails with
/// EACCES and a mount with EPERM.
fn refused(facts: &Facts, failed: &Failed<'_>) -> Reason {
    let makes_user = new_namespaces(failed.call).is_some_and(|asked| asked.contains(Feature::User));
    let in_own_user = failed.own.contains(&Feature::User);
    let is_admin = facts.has(Capability::CAP_SYS_ADMIN);
    if makes_user {
        if facts.number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) && !is_admin {
            return Reason::DebianSwitch;
        }
        if facts.is_chrooted {
            return Reason::Chroot;
        }
        if is_unmapped(facts, "/proc/self/uid_map", facts.uid)
            || is_unmapped(facts, "/proc/self/gid_map", facts.gid)
        {
            return Reason::Unmapped;
        }
    }
    // A process in a new user namespace has every capability there, unless a security module denies them.
    let is_restricted = facts.number(APPARMOR_SWITCH) == Some(1);
    let has_changed = facts.files.get(CHILDS_PROFILE).is_some_and(|label| label.starts_with(UBUNTU_PROFILE));
    if in_own_user && !is_admin && is_restricted && (has_changed || is_unconfined(facts)) {
        return Reason::AppArmorUserns;
    }
    if let Call::File(call) = failed.call {
        return refused_file(call).unwrap_or_else(|| refused_by_policy(facts, failed));
    }
    if let Call::User(call) = failed.call {
        return refused_map(facts, call).unwrap_or_else(|| refused_by_policy(facts, failed));
    }
    if let Call::Cgroup(CgroupCall::Set { .. }) = failed.call {
        return Reason::Permissions;
    }
    if let Call::Restrict(RestrictCall::Capabilities { keep, .. }) = failed.call
        && let Some(missing) = keep.iter().find(|kept| !facts.has(**kept))
    {
        return Reason::Capability(*missing);
    }
    if let Some(missing) = needs(failed.call).filter(|needed| !in_own_user && !facts.has(*needed)) {
        return Reason::Capability(missing);
    }
    if is_proc_mount(failed.call) {
        // A new mount of proc may not show more than a mount that is visible already: mount_too_revealing() of
        // fs/namespace.c.
        if !facts.proc_is_mounted {
            return Reason::NoProc;
        }
        if !facts.over_proc.is_empty() {
            return Reason::MaskedProc;
        }
    }
    // The same rule as for proc.
    if is_new_mount_of(failed.call, "sysfs") && facts.sys_is_missing {
        return Reason::NoSys;
    }
    match refused_by_policy(facts, failed) {
        // All other rules for user namespaces are excluded. A chroot to a mount point cannot always be detected.
        Reason::Unknown if makes_user && failed.errno == Errno::EPERM => Reason::Chroot,
        reason => reason,
    }
}

/// An ordinary file is refused by its permissions. Files in /proc have their own rules.
fn refused_file(call: &FileCall) -> Option<Reason> {
    let is_in_proc = matches!(call, FileCall::Write { path, .. } if path.starts_with("/proc/"));
    (!is_in_proc).then_some(Reason::Permissions)
}

/// The rules of user_namespaces(7) for writing an ID map.
fn refused_map(facts: &Facts, call: &UserCall) -> Option<Reason> {
    match call {
        UserCall::DenySetgroups => None,
        UserCall::RunMapHelper { .. } if facts.number("/proc/self/status NoNewPrivs") == Some(1) => {
            Some(Reason::NoNewPrivs)
        }
        UserCall::RunMapHelper { .. } => Some(Reason::Helper),
        UserCall::WriteIdMap { process, kind, map } => {
            let (file, capability) = match kind {
                IdKind::User => ("/proc/self/uid_map", Capability::CAP_SETUID),
                IdKind::Group => ("/proc/self/gid_map", Capability::CAP_SETGID),
            };
            let is_known = |range: &IdRange| {
                let (first, count) = (u64::from(range.outside), u64::from(range.count));
                facts.files.get(file).is_none_or(|map| {
                    ids_inside(map).any(|(start, length)| start <= first && first + count <= start + length)
                })
            };
            if !map.iter().all(is_known) {
                return Some(Reason::RangeUnmapped(file));
            }
            // A process in the parent user namespace needs this capability there. A process that maps only its own
            // ID needs none.
            if *process == MapOwner::Child && !facts.has(capability) {
                return Some(Reason::Capability(capability));
            }
            // Since Linux 5.12, only a process with CAP_SETFCAP may map root of the parent user namespace.
            let maps_root = *kind == IdKind::User && map.iter().any(|range| range.outside == 0);
            (maps_root && !facts.has(Capability::CAP_SETFCAP))
                .then_some(Reason::Capability(Capability::CAP_SETFCAP))
        }
    }
}

/// A refusal by a security module or a seccomp filter.
fn refused_by_policy(facts: &Facts, failed: &Failed<'_>) -> Reason {
    let is_mount = matches!(failed.call, Call::Mount(_) | Call::DetachedMount(_));
    if is_mount && !is_unconfined(facts) {
        // Container engines allow mount(2) in their seccomp filter if an AppArmor profile denies it.
        return Reason::AppArmorProfile;
    }
    // A seccomp filter sees the numbers of system calls, but not which files they write to.
    if facts.is_filtered() && !matches!(failed.call, Call::File(_) | Call::User(_) | Call::Time(_)) {
        return Reason::Seccomp;
    }
    if !is_unconfined(facts) {
        return Reason::AppArmorProfile;
    }
    if facts.number("/sys/fs/selinux/enforce") == Some(1) {
        return Reason::Selinux;
    }
    // mount(2): EACCES if a directory in the path of the source or of the target cannot be searched.
    if is_mount && failed.errno == Errno::EACCES { Reason::Permissions } else { Reason::Unknown }
}

/// On Ubuntu, a program without a profile changes to this profile when it makes a user namespace.
const UBUNTU_PROFILE: &str = "unprivileged_userns";

fn is_unconfined(facts: &Facts) -> bool {
    facts
        .profile()
        .is_none_or(|(_, label)| label.starts_with("unconfined") || label.starts_with(UBUNTU_PROFILE))
}

/// Whether an ID map does not contain this ID.
fn is_unmapped(facts: &Facts, file: &str, id: u32) -> bool {
    let id = u64::from(id);
    // The caller's ID, as getuid(2) returns it, is in the first column of its own map.
    let has = |map: &String| ids_inside(map).any(|(first, count)| (first..first + count).contains(&id));
    facts.files.get(file).is_some_and(|map| !has(map))
}

/// The first and the third column of an ID map: the first ID inside, and the count. (The second is the ID outside.)
fn ids_inside(map: &str) -> impl Iterator<Item = (u64, u64)> {
    let numbers: Vec<u64> = map.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.chunks_exact(3).map(|line| (line[0], line[2])).collect::<Vec<_>>().into_iter()
}

/// The namespaces that a call makes.
pub(super) fn new_namespaces(call: &Call) -> Option<&Namespaces> {
    match call {
        Call::Process(
            ProcessCall::Clone { namespaces, .. }
            | ProcessCall::CloneHelper { namespaces, .. }
            | ProcessCall::Unshare { namespaces },
        ) => Some(namespaces),
        _ => None,
    }
}

/// Whether a call makes a process, or namespaces, whose number has limits too.
fn is_new_process(call: &Call) -> bool {
    let makes = matches!(call, Call::Process(ProcessCall::ForkCommand | ProcessCall::CloneRelay));
    makes || new_namespaces(call).is_some()
}

/// The file on a disk, or on a tmpfs, that a call writes or creates.
pub(super) fn file_of(call: &Call) -> Option<PathBuf> {
    match call {
        Call::File(
            FileCall::LockShared { path, .. }
            | FileCall::Write { path, .. }
            | FileCall::MakeDirectory { path, .. }
            | FileCall::LockDirectory { path }
            | FileCall::CopyOpaque { upper: path, .. },
        ) => Some(path.clone()),
        Call::User(UserCall::DenySetgroups | UserCall::WriteIdMap { .. }) | Call::Time(_) => {
            Some("/proc".into())
        }
        _ => None,
    }
}

fn is_proc_mount(call: &Call) -> bool {
    is_new_mount_of(call, "proc")
}

fn is_new_mount_of(call: &Call, filesystem: &str) -> bool {
    match call {
        Call::Mount(MountCall::Filesystem { kind, .. })
        | Call::DetachedMount(DetachedMountCall::Make { kind, .. }) => kind == filesystem,
        _ => false,
    }
}

fn is_in_proc(call: &Call) -> bool {
    match call {
        Call::File(FileCall::Write { path, .. }) => path.starts_with("/proc/"),
        Call::User(UserCall::DenySetgroups | UserCall::WriteIdMap { .. }) | Call::Time(_) => true,
        Call::Mount(MountCall::Bind { source, .. }) => source.starts_with("/proc"),
        Call::Net(NetCall::Enable { .. }) => true,
        call => is_proc_mount(call),
    }
}

fn is_exec(call: &Call) -> bool {
    matches!(call, Call::Process(ProcessCall::Exec { .. }))
}
