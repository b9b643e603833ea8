//! Ends a container whose `sandbox` was killed.
//!
//! The kernel kills the command with `sandbox` by the parent-death signal. But it clears that signal when the command
//! changes its user, executes a set-user-ID program, or asks for it by prctl(2). So the journal has the command's PID,
//! and the next `sandbox` of any kind kills what still runs. The children of the command have no such signal. When it
//! has ended, they are orphans, which are found by the namespaces that were made for the container.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup;
use crate::feature::Feature;
use crate::observe::processes::pids;
pub(super) use crate::observe::processes::started;
use crate::observe::{file, proc};
use crate::sys::{ns_ioctl, signal};
use crate::text::printed;

/// How many times the processes are listed again: each time, only those are left that were created meanwhile.
const ROUNDS: usize = 100;

/// The fields of /proc/PID/stat that are needed here. proc_pid_stat(5)
struct Found {
    parent: i32,
    /// When it started, in clock ticks since the machine started. With the PID it means one process for ever.
    started: u64,
    has_ended: bool,
    /// Its session: the PID of the session's leader.
    session: i32,
}

impl Found {
    fn read(pid: i32) -> Option<Found> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses, and may contain any byte.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields = file::text(stat[end + 1..].to_vec());
        let fields: Vec<&str> = fields.split_whitespace().collect();
        Some(Found {
            has_ended: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The `new` namespaces of a process, as the names of their files: `net:[4026532281]`. An ordinary user may not read
/// them where the process is undumpable. Then only the kind is known, as `net:`.
pub(super) fn namespaces_of(pid: i32, new: &[Feature]) -> Vec<String> {
    new.iter().map(|kind| link(pid, *kind).unwrap_or_else(|| format!("{kind}:"))).collect()
}

/// What a container has still running, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    /// Its command.
    Command,
    /// The command has ended. Children of it may run.
    Orphans,
    /// The command has ended. Children of it may run, and nothing identifies them.
    Unknown,
    /// Nothing: the kernel has ended all of it.
    Nothing,
}

/// What is left of a container whose `sandbox` was killed.
pub(super) fn remains(pid: i32, since: u64, namespaces: &[String]) -> Remains {
    let is_known = |name: &String| name.contains('[');
    match Found::read(pid) {
        Some(found) if found.started == since && !found.has_ended => Remains::Command,
        _ if namespaces.iter().any(|name| name.starts_with("pid:")) => Remains::Nothing,
        _ if namespaces.is_empty() || !namespaces.iter().all(is_known) => Remains::Unknown,
        _ => Remains::Orphans,
    }
}

/// Kills the orphans of a container whose command has ended: the processes that are in all of its namespaces, and the
/// descendants of these. Returns those that got SIGKILL, each with its start time.
///
/// When the last process of a namespace has ended, its inode can become that of another one. So a process is an orphan
/// only if it was started after the command, if all other namespaces of it are those of the caller, and if its nearest
/// ancestor outside adopts orphans, as far as that can be seen ([`is_adopted`]).
///
/// # Errors
/// Those of pidfd_send_signal(2).
pub(super) fn end_orphans(
    since: u64,
    namespaces: &[String],
    patience: Duration,
) -> io::Result<Vec<(i32, u64)>> {
    let mut killed = Vec::new();
    for _ in 0..ROUNDS {
        let all = orphans(since, namespaces);
        if all.is_empty() {
            break;
        }
        for (orphan, since) in all {
            if let Some(pidfd) = open(orphan, since) {
                send(&pidfd, libc::SIGKILL)?;
                cgroup::thaw(orphan);
                let _ = wait_for_end(&pidfd, patience);
                killed.push((orphan, since));
            }
        }
    }
    killed.dedup();
    Ok(killed)
}

/// The orphans that run, each with its start time.
fn orphans(since: u64, namespaces: &[String]) -> Vec<(i32, u64)> {
    let own = std::process::id().cast_signed();
    let wanted: Option<Vec<(Feature, String)>> = Feature::NAMESPACES
        .iter()
        .filter_map(|kind| {
            let new = namespaces.iter().find(|name| kind_of(name) == Some(*kind)).cloned();
            // A kernel may not have this kind.
            new.or_else(|| link(own, *kind)).map(|name| Some((*kind, name)))
        })
        .collect();
    let wanted = wanted.unwrap_or_default();
    let is_inside = |pid: i32| wanted.iter().all(|(kind, name)| link(pid, *kind).as_ref() == Some(name));
    let all: BTreeMap<i32, Found> =
        pids().into_iter().filter_map(|pid| Some((pid, Found::read(pid)?))).collect();
    let mut inside: BTreeSet<i32> = all
        .iter()
        .filter(|(pid, found)| !found.has_ended && found.started >= since && is_inside(**pid))
        .map(|(pid, _)| *pid)
        .collect();
    // Of a process whose parent is no orphan, the descendants are none either.
    loop {
        let known = inside.len();
        let kept: BTreeSet<i32> = inside
            .iter()
            .copied()
            .filter(|pid| {
                let found = &all[pid];
                inside.contains(&found.parent) || is_adopted(found, all.get(&found.parent))
            })
            .collect();
        inside = kept;
        if inside.len() == known {
            break;
        }
    }
    with_descendants(inside, &all)
        .into_iter()
        .filter(|pid| *pid != own && !all[pid].has_ended)
        .map(|pid| (pid, all[&pid].started))
        .collect()
}

/// Whether the parent of a process could have adopted it: it is process 1 of this PID namespace, or a process in another
/// session, as a manager of a user's session is. A shell is in the session of the jobs that it has started itself.
fn is_adopted(found: &Found, parent: Option<&Found>) -> bool {
    found.parent == 1 || parent.is_none_or(|parent| parent.session != found.session)
}

/// These processes, and their descendants.
fn with_descendants(mut ours: BTreeSet<i32>, all: &BTreeMap<i32, Found>) -> BTreeSet<i32> {
    // Each pass adds one generation.
    loop {
        let known = ours.len();
        let children: Vec<i32> =
            all.iter().filter(|(_, found)| ours.contains(&found.parent)).map(|(pid, _)| *pid).collect();
        ours.extend(children);
        if ours.len() == known {
            return ours;
        }
    }
}

/// Kills a container: its command `pid`, and before it everything that belongs to it. Those are the command's
/// descendants, and the processes in `namespaces`, which were made for this container. Waits at most `patience` for
/// the command's end.
///
/// If the command is process 1 of a PID namespace, the kernel kills all processes of that namespace with it.
///
/// # Errors
/// Those of pidfd_send_signal(2). ETIMEDOUT: it has not ended yet, because it waits for a disk.
pub(super) fn end(pid: i32, since: u64, namespaces: &[String], patience: Duration) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let command = open(pid, since).ok_or_else(gone)?;
    if !namespaces.iter().any(|name| name.starts_with("pid:")) {
        // Stopped, it creates no process meanwhile, and its namespaces stay its own.
        send(&command, libc::SIGSTOP)?;
        cgroup::thaw(pid);
        for _ in 0..ROUNDS {
            let members = members(pid, namespaces);
            if members.is_empty() {
                break;
            }
            for (member, since) in members {
                if let Some(pidfd) = open(member, since) {
                    send(&pidfd, libc::SIGKILL)?;
                    let _ = wait_for_end(&pidfd, patience);
                }
            }
        }
    }
    send(&command, libc::SIGKILL)?;
    cgroup::thaw(pid);
    wait_for_end(&command, patience)
}

/// Kills one process, and waits at most `patience` for its end.
///
/// # Errors
/// As [`end`].
pub(super) fn kill(pid: i32, since: u64, patience: Duration) -> io::Result<()> {
    let process = open(pid, since).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    send(&process, libc::SIGKILL)?;
    wait_for_end(&process, patience)
}

/// Sends a signal. A process that has ended and is reaped meanwhile needs none.
fn send(process: &OwnedFd, number: i32) -> io::Result<()> {
    match signal::send(process.as_fd(), number) {
        Err(Errno::ESRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

/// The descendants of a process that run, each with its name.
pub(super) fn descendants(ancestor: i32) -> BTreeMap<i32, String> {
    let named = |(pid, _)| Some((pid, name_of(pid)?));
    members(ancestor, &[]).into_iter().filter_map(named).collect()
}

/// The namespaces that were made for a container in a joined PID namespace. As long as they are open, their inodes mean no
/// other ones.
#[derive(Debug)]
pub(super) struct OwnNamespaces {
    all: Vec<(Feature, u64, fs::File)>,
    /// The depth of the joined PID namespace: how many PIDs a process in it has.
    depth: usize,
}

/// The maximum number of user namespaces between two. The kernel allows 32 levels.
const MAX_LEVELS: usize = 33;

impl OwnNamespaces {
    /// Opens those of a process. None: it has ended, or the caller may not open them.
    pub(super) fn open(pid: i32, kinds: &[Feature]) -> Option<OwnNamespaces> {
        let open = |kind: &Feature| {
            let file = fs::File::open(format!("/proc/{pid}/ns/{kind}")).ok()?;
            Some((*kind, file.metadata().ok()?.ino(), file))
        };
        let all: Vec<_> = kinds.iter().filter_map(open).collect();
        let depth = Lineage::of(pid)?.pids.len();
        (!all.is_empty()).then_some(OwnNamespaces { all, depth })
    }

    /// Whether a process belongs to the container: it is in one of its namespaces or in a user namespace below, and it was
    /// started in the PID namespace that the container has joined.
    fn has(&self, pid: i32) -> bool {
        self.all.iter().any(|(kind, inode, _)| is_in(pid, *kind, *inode)) && self.was_started_inside(pid)
    }

    /// Whether process 1 of the joined PID namespace is an ancestor. That of a process that was put into the namespaces from
    /// outside, as by nsenter(1) or `sandbox exec`, is outside, and it is not ours.
    fn was_started_inside(&self, pid: i32) -> bool {
        let mut at = Lineage::of(pid);
        while let Some(Lineage { parent, pids }) = at {
            match pids.len().cmp(&self.depth) {
                Ordering::Less => return false,
                // Process 1 itself is the other container's.
                Ordering::Equal if pids.last() == Some(&1) => return pids.first() != Some(&pid),
                _ => at = Lineage::of(parent),
            }
        }
        false
    }

    /// Sends SIGKILL to the processes of the container. Returns those that got it, each with its name.
    pub(super) fn kill_members(&self) -> BTreeMap<i32, String> {
        let killed = |pid: i32| {
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            // Looked at again: before it was opened, the PID could come to mean another process.
            let name = name_of(pid).filter(|_| self.has(pid))?;
            signal::send(pidfd.as_fd(), libc::SIGKILL).ok().map(|()| (pid, name))
        };
        pids().into_iter().filter(|pid| self.has(*pid)).filter_map(killed).collect()
    }
}

/// Whether a process is in this namespace. A user namespace also has those below it.
fn is_in(pid: i32, kind: Feature, inode: u64) -> bool {
    let path = format!("/proc/{pid}/ns/{kind}");
    let is_it = |found: fs::Metadata| found.ino() == inode;
    if kind != Feature::User {
        return fs::metadata(path).is_ok_and(is_it);
    }
    let mut at = fs::File::open(path).ok();
    for _ in 0..MAX_LEVELS {
        let Some(namespace) = at else { return false };
        if namespace.metadata().is_ok_and(is_it) {
            return true;
        }
        at = ns_ioctl::parent(&namespace).ok().map(fs::File::from);
    }
    false
}

/// The parent of a process, and its own PIDs: one for each PID namespace, from the caller's inwards.
struct Lineage {
    parent: i32,
    pids: Vec<i32>,
}

impl Lineage {
    fn of(pid: i32) -> Option<Lineage> {
        let status = file::read_text(format!("/proc/{pid}/status")).ok()?;
        let pids = proc::status_of(&status, "NSpid")?;
        let pids = pids.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Lineage { parent: proc::status_of(&status, "PPid")?.trim().parse().ok()?, pids })
    }
}

/// Sends SIGKILL to the descendants of a process. Returns those that got it, each with its name. The caller may not
/// send it to a process of another user.
pub(super) fn kill_descendants(ancestor: i32) -> BTreeMap<i32, String> {
    let killed = |(pid, since)| {
        let pidfd = open(pid, since)?;
        let name = name_of(pid)?;
        signal::send(pidfd.as_fd(), libc::SIGKILL).ok().map(|()| (pid, name))
    };
    members(ancestor, &[]).into_iter().filter_map(killed).collect()
}

fn name_of(pid: i32) -> Option<String> {
    let name = file::read_text(format!("/proc/{pid}/comm")).ok()?;
    Some(printed(name.trim_end()))
}

/// A pidfd of the process with this PID and start time. It never refers to another process.
fn open(pid: i32, since: u64) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (started(pid) == Some(since)).then_some(pidfd)
}

fn wait_for_end(pidfd: &OwnedFd, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Err(Errno::ETIMEDOUT.into()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// The processes that belong to the command, without itself, each with its start time.
fn members(command: i32, namespaces: &[String]) -> Vec<(i32, u64)> {
    // Only namespaces in which the command still is: they have existed since the start, so their names still mean them.
    let kept: Vec<(Feature, &String)> = namespaces
        .iter()
        .filter_map(|name| Some((kind_of(name)?, name)))
        .filter(|(kind, name)| link(command, *kind).as_ref() == Some(*name))
        .collect();
    let all: BTreeMap<i32, Found> = pids()
        .into_iter()
        .filter_map(|pid| Some((pid, Found::read(pid)?)))
        .filter(|(_, found)| !found.has_ended)
        .collect();
    let mut ours = BTreeSet::from([command]);
    ours.extend(
        all.keys()
            .copied()
            .filter(|pid| kept.iter().any(|(kind, name)| link(*pid, *kind).as_ref() == Some(*name))),
    );
    let ours = with_descendants(ours, &all);
    let own = std::process::id().cast_signed();
    let is_member = |pid: i32| ours.contains(&pid) && pid != command && pid != own;
    all.into_iter().filter(|(pid, _)| is_member(*pid)).map(|(pid, found)| (pid, found.started)).collect()
}

fn kind_of(namespace: &str) -> Option<Feature> {
    let kind = namespace.split(':').next()?;
    Feature::NAMESPACES.iter().copied().find(|feature| feature.name() == kind)
}

fn link(pid: i32, kind: Feature) -> Option<String> {
    proc::namespace_link(&format!("/proc/{pid}"), kind).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_pid_and_its_start() {
        let own = std::process::id().cast_signed();
        let since = started(own).unwrap();
        assert!(open(own, since).is_some());
        assert!(open(own, since + 1).is_none());
        let error = end(own, since + 1, &[], Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_process_that_is_reaped_meanwhile_needs_no_signal() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        assert_eq!(signal::send(pidfd.as_fd(), libc::SIGKILL), Err(Errno::ESRCH));
        assert!(send(&pidfd, libc::SIGKILL).is_ok());
    }

    #[test]
    fn the_members_are_the_descendants() {
        let mut shell = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let pid = shell.id().cast_signed();
        let deadline = Instant::now() + Duration::from_secs(10);
        while members(pid, &[]).is_empty() {
            assert!(Instant::now() < deadline, "the shell starts a process");
            std::thread::sleep(Duration::from_millis(5));
        }
        let child = members(pid, &[])[0];
        end(pid, started(pid).unwrap(), &[], Duration::from_secs(5)).unwrap();
        assert!(started(child.0) != Some(child.1));
        shell.wait().unwrap();
    }
}
