//! Creates processes, makes and joins namespaces, changes IDs, and executes the command.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
use crate::feature::Feature;
use crate::observe::processes;
use crate::plan::gate::{Channel, Message};
use crate::plan::slots::{PortRelay, Slots};
use crate::sys;
use crate::sys::clone::Cloned;
use crate::sys::image::ProgramImage;
use crate::sys::signal::SignalSet;

/// A set of namespaces that a call makes or joins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Namespaces(Vec<Feature>);

impl Namespaces {
    /// The set of these namespaces.
    pub fn of(features: &[Feature]) -> Self {
        let mut set = Namespaces::default();
        features.iter().for_each(|feature| set.insert(*feature));
        set
    }

    /// Adds one.
    pub fn insert(&mut self, feature: Feature) {
        if !self.contains(feature) {
            self.0.push(feature);
            self.0.sort_unstable();
        }
    }

    /// Removes one. Returns whether the set contained it.
    pub fn remove(&mut self, feature: Feature) -> bool {
        let before = self.0.len();
        self.0.retain(|kept| *kept != feature);
        self.0.len() != before
    }

    /// Whether the set contains it.
    pub fn contains(&self, feature: Feature) -> bool {
        self.0.contains(&feature)
    }

    /// All of them, in the order of [`Feature::ALL`].
    pub fn features(&self) -> Vec<Feature> {
        self.0.clone()
    }

    /// The flags CLONE_NEW* of clone(2), unshare(2) and setns(2).
    pub fn flags(&self) -> CloneFlags {
        CloneFlags::from_bits_retain(self.0.iter().fold(0, |bits, feature| bits | feature.clone_flag()))
    }
}

/// The names of the flags, in the order in which strace(1) prints them.
const FLAGS: [(Feature, &str); 8] = [
    (Feature::Mnt, "CLONE_NEWNS"),
    (Feature::Cgroup, "CLONE_NEWCGROUP"),
    (Feature::Uts, "CLONE_NEWUTS"),
    (Feature::Ipc, "CLONE_NEWIPC"),
    (Feature::User, "CLONE_NEWUSER"),
    (Feature::Pid, "CLONE_NEWPID"),
    (Feature::Net, "CLONE_NEWNET"),
    (Feature::Time, "CLONE_NEWTIME"),
];

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = FLAGS.iter().filter(|(feature, _)| self.contains(*feature)).map(|(_, name)| *name);
        let names: Vec<&str> = names.collect();
        f.write_str(if names.is_empty() { "0".to_owned() } else { names.join("|") }.as_str())
    }
}

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessCall {
    /// clone3(2): creates `<child>`. The result is 0 in the child, as for the system call.
    Clone {
        /// Its new namespaces.
        namespaces: Namespaces,
        /// Whether the child becomes a sibling of the helper, which calls this (CLONE_PARENT). The host is then its
        /// parent.
        as_sibling: bool,
        /// Whether it is created in `<cgroup>` (CLONE_INTO_CGROUP, cgroup v2 only).
        #[serde(default)]
        into_cgroup: bool,
    },
    /// clone3(2): creates `<helper>`.
    CloneHelper {
        /// Its new namespaces.
        namespaces: Namespaces,
        /// As in `Clone`. The helper's child is then created in the same cgroup.
        #[serde(default)]
        into_cgroup: bool,
    },
    /// clone3(2): creates the relay of published ports, with its own socket pair to the host.
    CloneRelay,
    /// clone(2), like fork(2). The child stays as init, and the new process becomes the command. By its pidfd, the host
    /// knows it. It is not clone3(2), because the seccomp filter makes clone3 fail with ENOSYS.
    ForkCommand,
    /// unshare(2).
    Unshare {
        /// The new namespaces.
        namespaces: Namespaces,
    },
    /// pidfd_open(2): `<container>`. ESRCH: the process with this PID is another one, which was started later.
    OpenContainer {
        /// The process.
        pid: i32,
        /// When it was started, in clock ticks since the machine started.
        started: u64,
    },
    /// setns(2) with a pidfd: `<container>`, if it is open.
    Join {
        /// The process whose namespaces are joined. None: `<child>`.
        pid: Option<i32>,
        /// Which of its namespaces.
        namespaces: Namespaces,
    },
    /// setresgid(2): the real, effective and saved group ID.
    SetGroup(u32),
    /// setgroups(2): the supplementary groups. An empty list drops all.
    SetGroups(Vec<u32>),
    /// setpriority(2): the nice value.
    SetNice(i32),
    /// umask(2): the mode bits that new files do not get.
    SetUmask(u32),
    /// prctl(PR_SET_KEEPCAPS): the next change of the user ID from root to another keeps the permitted set.
    KeepCapabilities,
    /// setresuid(2): the real, effective and saved user ID.
    SetUser(u32),
    /// prctl(PR_SET_PDEATHSIG, SIGKILL): the kernel kills this process when its parent dies.
    DieWithParent,
    /// prctl(PR_SET_DUMPABLE, 0): no process in the container may trace this process, or open its memory, its
    /// descriptors, or its program by /proc/PID/exe.
    Undumpable,
    /// Closes the descriptors of the caller, and overwrites the strings of its environment in memory. A process with
    /// CAP_SYS_PTRACE could read both, although this one is undumpable.
    ForgetCaller,
    /// open_tree(2), mmap(2): the program's pages are mapped again, from a detached copy of its mount. The kernel treats that as
    /// another file. Without the right to make one, they become copies in memory, charged to the memory cgroup of this process.
    PrepareProgram,
    /// prctl(PR_SET_MM, PR_SET_MM_MAP): /proc/PID/exe no longer leads to the program of `sandbox`, but to an empty file
    /// in memory.
    LeaveProgram {
        /// Whether the program's pages were mapped again before. Its file is found through /proc, which is the container's if this
        /// process has joined one.
        prepared: bool,
    },
    /// execveat(2) of a sealed copy of this program in memory. /proc/PID/exe then leads to the copy, which nobody can
    /// change. If this process executes such a copy already, nothing is done.
    ExecuteCopy,
    /// close_range(2): marks every descriptor from 3 on as close-on-exec.
    CloseOnExec,
    /// Restores the signal dispositions and the mask that `sandbox` was started with. What the caller did not ignore has
    /// its default disposition.
    DefaultSignals,
    /// rt_sigaction(2) and rt_sigprocmask(2): these signals are ignored, and these are blocked. All others have their default
    /// action.
    SetSignals {
        /// The signals that are ignored.
        ignored: Vec<i32>,
        /// The signals that are blocked.
        blocked: Vec<i32>,
    },
    /// execve(2).
    Exec {
        /// The path of the program.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The arguments, the program's name first.
        #[serde(with = "crate::value::bytes::list")]
        arguments: Vec<OsString>,
        /// The environment, as `NAME=value`. None: the caller's own.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "crate::value::bytes::optional_list"
        )]
        environment: Option<Vec<OsString>>,
    },
}

impl fmt::Display for ProcessCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessCall::Clone { namespaces, as_sibling, into_cgroup } => {
                write_clone3(f, namespaces, *as_sibling, *into_cgroup)
            }
            ProcessCall::CloneHelper { namespaces, into_cgroup } => {
                write_clone3(f, namespaces, false, *into_cgroup)
            }
            ProcessCall::CloneRelay => {
                f.write_str("socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, [<gate>, <gate>]); ")?;
                write_clone3(f, &Namespaces::default(), false, false)
            }
            ProcessCall::ForkCommand => f.write_str("clone(child_stack=NULL, flags=CLONE_PIDFD|SIGCHLD)"),
            ProcessCall::Unshare { namespaces } => write!(f, "unshare({namespaces})"),
            ProcessCall::OpenContainer { pid, .. } => write!(f, "pidfd_open({pid}, 0)"),
            ProcessCall::Join { pid, namespaces } => {
                let pid = pid.map_or_else(|| "<child>".to_owned(), |pid| pid.to_string());
                write!(f, "setns(<pidfd of {pid}>, {namespaces})")
            }
            ProcessCall::SetGroup(id) => write!(f, "setresgid({id}, {id}, {id})"),
            ProcessCall::SetGroups(groups) if groups.is_empty() => f.write_str("setgroups(0, NULL)"),
            ProcessCall::SetGroups(groups) => {
                let list: Vec<String> = groups.iter().map(u32::to_string).collect();
                write!(f, "setgroups({}, [{}])", groups.len(), list.join(", "))
            }
            ProcessCall::SetUser(id) => write!(f, "setresuid({id}, {id}, {id})"),
            ProcessCall::SetNice(nice) => write!(f, "setpriority(PRIO_PROCESS, 0, {nice})"),
            ProcessCall::SetUmask(mask) => write!(f, "umask(0{mask:o})"),
            ProcessCall::KeepCapabilities => f.write_str("prctl(PR_SET_KEEPCAPS, 1)"),
            ProcessCall::DieWithParent => f.write_str("prctl(PR_SET_PDEATHSIG, SIGKILL)"),
            ProcessCall::Undumpable => f.write_str("prctl(PR_SET_DUMPABLE, 0)"),
            ProcessCall::ForgetCaller => {
                f.write_str("close(<each that no step needs>); [the strings of environ become zeros]")
            }
            ProcessCall::PrepareProgram => f.write_str(&sys::program::prepare_text()),
            ProcessCall::LeaveProgram { .. } => {
                let memfd = sys::program::memory_file_text("");
                write!(f, "{memfd}; prctl(PR_SET_MM, PR_SET_MM_MAP, {{exe_fd=<memfd>}}, 104)")
            }
            ProcessCall::ExecuteCopy => f.write_str(&sys::sealed::executed()),
            ProcessCall::CloseOnExec => f.write_str("close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC)"),
            ProcessCall::DefaultSignals => f.write_str(&sys::signal::restored()),
            ProcessCall::SetSignals { ignored, blocked } => {
                f.write_str(&sys::signal::set_all_text(SignalSet::of(ignored), SignalSet::of(blocked)))
            }
            ProcessCall::Exec { path, arguments, environment } => {
                let arguments: Vec<String> = arguments.iter().map(shortened).collect();
                let environment = match environment {
                    None => "environ".to_owned(),
                    Some(all) => format!("[/* {} vars */]", all.len()),
                };
                write!(f, "execve({}, [{}], {environment})", c_string(path), arguments.join(", "))
            }
        }
    }
}

/// An argument as strace(1) prints it. A very long one is cut off.
fn shortened(argument: &OsString) -> String {
    match argument.as_bytes().get(..200) {
        Some(start) if argument.len() > 400 => format!("{}...", c_string(OsStr::from_bytes(start))),
        _ => c_string(argument),
    }
}

fn write_clone3(
    f: &mut fmt::Formatter<'_>,
    namespaces: &Namespaces,
    as_sibling: bool,
    into_cgroup: bool,
) -> fmt::Result {
    let mut flags = String::from("CLONE_PIDFD");
    if as_sibling {
        flags.push_str("|CLONE_PARENT");
    }
    if *namespaces != Namespaces::default() {
        flags.push_str(&format!("|{namespaces}"));
    }
    let exit_signal = if as_sibling { "0" } else { "SIGCHLD" };
    if into_cgroup {
        flags.push_str("|CLONE_INTO_CGROUP");
        write!(f, "clone3({{flags={flags}, exit_signal={exit_signal}, cgroup=<cgroup>}}, 88)")
    } else {
        write!(f, "clone3({{flags={flags}, exit_signal={exit_signal}}}, 88)")
    }
}

impl ProcessCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            ProcessCall::Clone { namespaces, as_sibling: false, into_cgroup } => {
                clone(namespaces, 0, *into_cgroup, slots, |slots, pid| slots.child = Some(pid))
            }
            ProcessCall::Clone { namespaces, as_sibling: true, into_cgroup } => {
                let pid = clone(namespaces, libc::CLONE_PARENT, *into_cgroup, slots, |slots, pid| {
                    slots.child = Some(pid);
                })?;
                if pid != 0 {
                    let gate = slots.gate.as_ref().ok_or(Errno::EBADF)?;
                    gate.send(&Message::ChildPid(pid as i32), &[])?;
                }
                Ok(pid)
            }
            ProcessCall::CloneHelper { namespaces, into_cgroup } => {
                clone(namespaces, 0, *into_cgroup, slots, |slots, pid| slots.helper = Some(pid))
            }
            ProcessCall::CloneRelay => clone_relay(slots),
            ProcessCall::ForkCommand => {
                // The command keeps the slave of the terminal. The master belongs to the host.
                match sys::clone::fork()? {
                    Cloned::Child => {
                        slots.terminal = None;
                        slots.child = None;
                        Ok(0)
                    }
                    Cloned::Parent(command, pidfd) => {
                        slots.pts = None;
                        slots.fifo = None;
                        slots.child = Some(command);
                        slots.pidfd = Some(pidfd);
                        Ok(i64::from(command.as_raw()))
                    }
                }
            }
            ProcessCall::Unshare { namespaces } => nix::sched::unshare(namespaces.flags()).map(|()| 0),
            ProcessCall::OpenContainer { pid, started } => {
                let container = pidfd_of(*pid)?;
                // The pidfd and the PID mean the same process as long as that has not ended.
                let now = processes::read_started(*pid);
                if now.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))? != Some(*started)
                {
                    return Err(Errno::ESRCH);
                }
                slots.container = Some(container);
                Ok(0)
            }
            ProcessCall::Join { pid, namespaces } => {
                if let Some(container) = &slots.container {
                    return nix::sched::setns(container, namespaces.flags()).map(|()| 0);
                }
                let Some(pid) = pid else {
                    let pidfd = slots.pidfd.as_ref().ok_or(Errno::ESRCH)?;
                    return nix::sched::setns(pidfd, namespaces.flags()).map(|()| 0);
                };
                nix::sched::setns(pidfd_of(*pid)?, namespaces.flags()).map(|()| 0)
            }
            ProcessCall::SetGroup(id) => {
                let id = Gid::from_raw(*id);
                setresgid(id, id, id).map(|()| 0)
            }
            ProcessCall::SetGroups(groups) => {
                let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
                setgroups(&groups).map(|()| 0)
            }
            ProcessCall::SetUser(id) => {
                let id = Uid::from_raw(*id);
                setresuid(id, id, id).map(|()| 0)
            }
            ProcessCall::SetNice(nice) => {
                rustix::process::setpriority_process(None, *nice).map(|()| 0).map_err(errno)
            }
            ProcessCall::SetUmask(mask) => {
                nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(*mask));
                Ok(0)
            }
            ProcessCall::KeepCapabilities => nix::sys::prctl::set_keepcaps(true).map(|()| 0),
            ProcessCall::DieWithParent => nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map(|()| 0),
            ProcessCall::Undumpable => nix::sys::prctl::set_dumpable(false).map(|()| 0),
            ProcessCall::ForgetCaller => {
                sys::program::hide_environment();
                sys::close_others(&slots.descriptors()).map(|()| 0)
            }
            ProcessCall::PrepareProgram => sys::program::prepare().map(|()| 0),
            ProcessCall::LeaveProgram { prepared } => sys::program::leave(*prepared).map(|()| 0),
            ProcessCall::ExecuteCopy => sys::sealed::execute().map(|()| 0),
            ProcessCall::CloseOnExec => sys::close_on_exec_from(3).map(|()| 0),
            ProcessCall::DefaultSignals => sys::signal::restore().map(|()| 0),
            ProcessCall::SetSignals { ignored, blocked } => {
                sys::signal::set_all(SignalSet::of(ignored), SignalSet::of(blocked)).map(|()| 0)
            }
            ProcessCall::Exec { .. } => {
                self.prepare(slots)?;
                Err(slots.image.as_ref().map_or(Errno::EINVAL, ProgramImage::execute))
            }
        }
    }

    /// Prepares execve(2), so that the call itself makes no other. Other calls need no preparation.
    ///
    /// # Errors
    /// EINVAL: a string contains a null byte.
    pub fn prepare(&self, slots: &mut Slots) -> Result<(), Errno> {
        if let (ProcessCall::Exec { path, arguments, environment }, None) = (self, &slots.image) {
            let environment = environment.as_deref().map(c_strings).transpose()?;
            let path = nul_terminated(path.as_os_str())?;
            slots.image = Some(ProgramImage::new(path, c_strings(arguments)?, environment));
        }
        Ok(())
    }
}

fn pidfd_of(pid: i32) -> Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::ESRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(errno)
}

fn clone(
    namespaces: &Namespaces,
    extra_flags: i32,
    into_cgroup: bool,
    slots: &mut Slots,
    fill: impl Fn(&mut Slots, nix::unistd::Pid),
) -> Result<i64, Errno> {
    let cgroup = if into_cgroup { Some(slots.cgroup.as_ref().ok_or(Errno::EBADF)?.as_fd()) } else { None };
    match sys::clone::clone3((namespaces.flags().bits() | extra_flags) as u64, cgroup)? {
        Cloned::Child => {
            // The other end belongs to the host. If it stayed open here, the host's death would cause no end of file.
            if let Some(own) = slots.other_gate.take() {
                slots.gate = Some(own);
            }
            // Only the host may have the master, so that the terminal hangs up when the host closes it.
            slots.terminal = None;
            Ok(0)
        }
        Cloned::Parent(pid, pidfd) => {
            slots.other_gate = None;
            slots.pts = None;
            // As long as another process has it open, who releases the child is not told that it has gone.
            slots.fifo = None;
            slots.pidfd = Some(pidfd);
            fill(slots, pid);
            Ok(i64::from(pid.as_raw()))
        }
    }
}

/// The relay has its own socket pair to the host. It closes all other descriptors that it inherits when it starts to
/// serve.
fn clone_relay(slots: &mut Slots) -> Result<i64, Errno> {
    let (host, relay) = Channel::pair()?;
    match sys::clone::clone3(0, None)? {
        Cloned::Child => {
            slots.gate = Some(relay);
            Ok(0)
        }
        Cloned::Parent(pid, pidfd) => {
            slots.relay = Some(PortRelay { pid, pidfd, gate: host });
            // With a copy here, clients could still connect after the relay has ended.
            slots.published.clear();
            Ok(i64::from(pid.as_raw()))
        }
    }
}

/// NUL-terminated strings, as the kernel expects them. EINVAL: one contains a NUL.
fn c_strings(all: &[OsString]) -> Result<Vec<CString>, Errno> {
    all.iter().map(|text| nul_terminated(text)).collect()
}

fn nul_terminated(text: &OsStr) -> Result<CString, Errno> {
    CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL)
}
