//! Why the kernel said no: a pure function of the facts, the call that failed and its errno. `remedy` has the words.
//!
//! Several rules end in one errno, so this is the *likely* cause: the rules are asked in the kernel's own order, and
//! one is named only where a fact speaks for it.

pub(crate) mod remedy;

use caps::Capability;
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::host::facts::{APPARMOR_SWITCH, CHILDS_PROFILE, Facts};
use crate::plan::Call;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::file::FileCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::call::user::{IdKind, IdRange, MapOwner, UserCall};
use crate::text::text_with;

/// A call that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// What was asked for, for the remedy's command lines.
    pub purpose: Purpose,
    /// The call.
    pub call: &'a Call,
    /// What it gave.
    pub errno: Errno,
    /// The namespaces that the whole plan makes anew. In one's own user namespace one has every capability.
    pub own: &'a [Feature],
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Windows's first Linux: it translates system calls, and has none of these.
    Wsl1,
    /// The call came with this version.
    OldKernel(u32, u32),
    /// This kernel was built without the namespace.
    NotBuilt(Feature),
    /// The sysctl user.max_*_namespaces is 0, or reached.
    Limit(Feature, u64),
    /// RLIMIT_NPROC, a cgroup's pids.max, or memory.
    Processes,
    /// Debian's switch kernel.unprivileged_userns_clone is 0.
    DebianSwitch,
    /// A user namespace can't be made in a chroot; and its root is no mount point.
    Chroot,
    /// The caller's own id has no name in its user namespace.
    Unmapped,
    /// A map names ids that the caller's own user namespace doesn't have, by this file.
    RangeUnmapped(&'static str),
    /// Ubuntu's rule: a program without a profile gets no capabilities in a new user namespace.
    AppArmorUserns,
    /// The AppArmor profile that the caller runs under.
    AppArmorProfile,
    /// SELinux is enforcing.
    Selinux,
    /// A system call filter.
    Seccomp,
    /// A set-user-id program gets no privilege.
    NoNewPrivs,
    /// newuidmap refused.
    Helper,
    /// A container's /proc is covered in places: the kernel won't show the whole in a new mount.
    MaskedProc,
    /// /proc isn't mounted here.
    NoProc,
    /// No such filesystem in this kernel.
    NoFilesystem,
    /// This capability is missing.
    Capability(Capability),
    /// A plain file's permissions.
    Permissions,
    /// Refused, and no fact speaks for any rule.
    Unknown,
}

/// Whoever shows what the kernel shows needs /proc: without it every comparison would fail, and none would be true.
///
/// # Errors
/// There is none.
pub fn need_proc(feature: Feature) -> Result<()> {
    if std::fs::metadata("/proc/self/ns").is_ok() {
        return Ok(());
    }
    let error = Error::failed(text_with("doctor.noproc.what", &[("feature", feature.name())]));
    Err(without_proc(error, &Facts::read(), feature.into()))
}

/// Adds the cause to an error about a file of /proc, where /proc isn't mounted.
pub fn without_proc(error: Error, facts: &Facts, purpose: Purpose) -> Error {
    let call = Call::from(FileCall::Write { path: "/proc/self/status".into(), content: String::new() });
    explain(error, facts, &Failed { purpose, call: &call, errno: Errno::ENOENT, own: &[] })
}

/// Adds the likely cause, why and what to do, on the machine that `facts` describe. Where the errno says all, the error
/// stays as it is.
pub fn explain(error: Error, facts: &Facts, failed: &Failed<'_>) -> Error {
    match reason(facts, failed) {
        Some(reason) => self::remedy::explain(error, reason, facts, failed),
        None => error,
    }
}

fn reason(facts: &Facts, failed: &Failed<'_>) -> Option<Reason> {
    if is_exec(failed.call) {
        // What is wrong with a file of the user's is no matter of the machine's.
        return None;
    }
    if facts.wsl() == Some(1) {
        return Some(Reason::Wsl1);
    }
    match failed.errno {
        Errno::ENOSYS => Some(not_there(facts, failed.call)),
        Errno::EINVAL => invalid(facts, failed.call),
        // EUSERS: the same before Linux 4.9.
        Errno::ENOSPC | Errno::EUSERS => limit(facts, failed.call),
        Errno::EAGAIN | Errno::ENOMEM if isolated(failed.call).is_some() => Some(Reason::Processes),
        Errno::ENOENT | Errno::ENOTDIR if !facts.proc_is_mounted && is_in_proc(failed.call) => {
            Some(Reason::NoProc)
        }
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

/// ENOSYS: the kernel is older than the call, or a filter hides it: Docker's does that to clone3(2), whose flags it
/// can't see, so that programs fall back on clone(2), whose flags it can.
fn not_there(facts: &Facts, call: &Call) -> Reason {
    let needs = needs_version(call);
    if facts.version() < needs {
        return Reason::OldKernel(needs.0, needs.1);
    }
    if facts.is_filtered() { Reason::Seccomp } else { Reason::Unknown }
}

/// EINVAL: a flag that this kernel doesn't know; or `/` is no mount point, whose propagation nobody can set.
fn invalid(facts: &Facts, call: &Call) -> Option<Reason> {
    if let Some(asked) = isolated(call) {
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

/// ENOSPC of a clone: a limit that counts per user. The lowest of those asked for; a user namespace also can't be
/// nested more than 32 deep.
fn limit(facts: &Facts, call: &Call) -> Option<Reason> {
    let limits = isolated(call)?
        .features()
        .into_iter()
        .filter_map(|feature| Some(Reason::Limit(feature, facts.limit(feature)?)));
    limits.min_by_key(|limit| if let Reason::Limit(_, value) = limit { *value } else { u64::MAX })
}

/// EPERM and EACCES. Whoever says the second is no rule: AppArmor's user gets EACCES from an open, EPERM from a mount.
fn refused(facts: &Facts, failed: &Failed<'_>) -> Reason {
    let makes_user = isolated(failed.call).is_some_and(|asked| asked.contains(Feature::User));
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
    // From here on a process in its own user namespace has every capability, unless a security module takes them.
    let is_switched_on = facts.number(APPARMOR_SWITCH) == Some(1);
    let was_moved = facts.files.get(CHILDS_PROFILE).is_some_and(|label| label.starts_with(MOVED));
    if in_own_user && !is_admin && is_switched_on && (was_moved || is_unconfined(facts)) {
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
    if let Call::Restrict(RestrictCall::Capabilities { keep }) = failed.call
        && let Some(missing) = keep.iter().find(|kept| !facts.has(**kept))
    {
        return Reason::Capability(*missing);
    }
    if let Some(missing) = needs(failed.call).filter(|needed| !in_own_user && !facts.has(*needed)) {
        return Reason::Capability(missing);
    }
    if is_proc_mount(failed.call) {
        // The kernel shows a whole /proc only to who sees a whole one already: mount_too_revealing() of fs/namespace.c.
        if !facts.proc_is_mounted {
            return Reason::NoProc;
        }
        if !facts.over_proc.is_empty() {
            return Reason::MaskedProc;
        }
    }
    match refused_by_policy(facts, failed) {
        // Of the rules for user namespaces only this one is left. A chroot to a mount point doesn't show itself.
        Reason::Unknown if makes_user && failed.errno == Errno::EPERM => Reason::Chroot,
        reason => reason,
    }
}

/// A file in /proc has rules of its own, any other has its permissions.
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
                    insides_of(map).any(|(start, length)| start <= first && first + count <= start + length)
                })
            };
            if !map.iter().all(is_known) {
                return Some(Reason::RangeUnmapped(file));
            }
            // A process outside needs this capability there; a process that maps its own ID needs none.
            (*process == MapOwner::Child && !facts.has(capability)).then_some(Reason::Capability(capability))
        }
    }
}

/// What a security module or a filter may have refused.
fn refused_by_policy(facts: &Facts, failed: &Failed<'_>) -> Reason {
    let is_mount = matches!(failed.call, Call::Mount(_) | Call::DetachedMount(_));
    if is_mount && !is_unconfined(facts) {
        // Engines let a filter pass mount(2) where they have AppArmor to refuse it.
        return Reason::AppArmorProfile;
    }
    // A filter sees the numbers of calls, not the files that they write to.
    if facts.is_filtered() && !matches!(failed.call, Call::File(_) | Call::User(_) | Call::Time(_)) {
        return Reason::Seccomp;
    }
    if !is_unconfined(facts) {
        return Reason::AppArmorProfile;
    }
    if facts.number("/sys/fs/selinux/enforce") == Some(1) {
        return Reason::Selinux;
    }
    // mount(2), EACCES: a directory on the way to the source or the target can't be entered.
    if is_mount && failed.errno == Errno::EACCES { Reason::Permissions } else { Reason::Unknown }
}

/// Ubuntu moves a program without a profile into this one once it has made a user namespace.
const MOVED: &str = "unprivileged_userns";

fn is_unconfined(facts: &Facts) -> bool {
    facts.profile().is_none_or(|(_, label)| label.starts_with("unconfined") || label.starts_with(MOVED))
}

/// Whether no line of an id map has this id.
fn is_unmapped(facts: &Facts, file: &str, id: u32) -> bool {
    let id = u64::from(id);
    // What we are called is the inside of our own map.
    let has = |map: &String| insides_of(map).any(|(first, count)| (first..first + count).contains(&id));
    facts.files.get(file).is_some_and(|map| !has(map))
}

/// The first column of an id map's lines (inside, outside, count), with the third: the ids that there are here.
fn insides_of(map: &str) -> impl Iterator<Item = (u64, u64)> {
    let numbers: Vec<u64> = map.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.chunks_exact(3).map(|line| (line[0], line[2])).collect::<Vec<_>>().into_iter()
}

/// The namespaces that a call makes.
pub(super) fn isolated(call: &Call) -> Option<&Namespaces> {
    match call {
        Call::Process(
            ProcessCall::Clone { namespaces, .. }
            | ProcessCall::CloneHelper { namespaces, .. }
            | ProcessCall::Unshare { namespaces },
        ) => Some(namespaces),
        _ => None,
    }
}

/// The version that a call came with: the manual pages' HISTORY.
fn needs_version(call: &Call) -> (u32, u32) {
    let of_call = match call {
        Call::Process(
            ProcessCall::Clone { into_cgroup: true, .. } | ProcessCall::CloneHelper { into_cgroup: true, .. },
        ) => (5, 7),
        Call::Process(
            ProcessCall::Clone { .. } | ProcessCall::CloneHelper { .. } | ProcessCall::ForkCommand,
        ) => (5, 3),
        Call::Process(ProcessCall::Join { .. }) => (5, 8),
        _ => (0, 0),
    };
    let of_kind = |feature| match feature {
        Feature::Time => (5, 6),
        Feature::Cgroup => (4, 6),
        Feature::User => (3, 8),
        _ => (0, 0),
    };
    let asked = isolated(call).map(Namespaces::features).unwrap_or_default();
    asked.into_iter().map(of_kind).fold(of_call, std::cmp::max)
}

/// The capability that a call needs: capabilities(7).
fn needs(call: &Call) -> Option<Capability> {
    match call {
        // A user namespace needs none, and those made beside it are its own.
        Call::Process(_) if isolated(call).is_some_and(|asked| asked.contains(Feature::User)) => None,
        Call::Process(ProcessCall::ForkCommand) => None,
        Call::Process(_) if isolated(call).is_some_and(|asked| *asked == Namespaces::default()) => None,
        Call::Process(
            ProcessCall::Clone { .. }
            | ProcessCall::CloneHelper { .. }
            | ProcessCall::Unshare { .. }
            | ProcessCall::Join { .. },
        ) => Some(Capability::CAP_SYS_ADMIN),
        Call::Process(ProcessCall::SetGroup(_) | ProcessCall::DropGroups) => Some(Capability::CAP_SETGID),
        Call::Process(ProcessCall::SetUser(_)) => Some(Capability::CAP_SETUID),
        Call::Restrict(RestrictCall::Limit { .. }) => Some(Capability::CAP_SYS_RESOURCE),
        Call::Restrict(RestrictCall::Bound { .. }) => Some(Capability::CAP_SETPCAP),
        Call::Restrict(RestrictCall::Filter { .. }) => Some(Capability::CAP_SYS_ADMIN),
        Call::Mount(MountCall::Chdir { .. }) => None,
        Call::DetachedMount(DetachedMountCall::MakeNode { .. }) => Some(Capability::CAP_MKNOD),
        Call::DetachedMount(
            DetachedMountCall::Open { .. }
            | DetachedMountCall::MakeDirectory { .. }
            | DetachedMountCall::MakeFile { .. }
            | DetachedMountCall::MakeLink { .. }
            | DetachedMountCall::Enter,
        ) => None,
        Call::Mount(_) | Call::DetachedMount(_) | Call::Uts(_) => Some(Capability::CAP_SYS_ADMIN),
        Call::Net(_) | Call::Nftables(_) => Some(Capability::CAP_NET_ADMIN),
        Call::Cgroup(CgroupCall::AttachProgram { .. }) => Some(Capability::CAP_SYS_ADMIN),
        Call::Time(_) => Some(Capability::CAP_SYS_TIME),
        _ => None,
    }
}

fn is_proc_mount(call: &Call) -> bool {
    matches!(call, Call::Mount(MountCall::Filesystem { kind, .. }) | Call::DetachedMount(DetachedMountCall::Make { kind, .. }) if kind == "proc")
}

fn is_in_proc(call: &Call) -> bool {
    match call {
        Call::File(FileCall::Write { path, .. }) => path.starts_with("/proc/"),
        Call::User(UserCall::DenySetgroups | UserCall::WriteIdMap { .. }) | Call::Time(_) => true,
        Call::Mount(MountCall::Bind { source, .. }) => source.starts_with("/proc"),
        call => is_proc_mount(call),
    }
}

fn is_exec(call: &Call) -> bool {
    matches!(call, Call::Process(ProcessCall::Exec { .. }))
}
