//! A process to compare. Opening it checks that it exists, that it has not ended, and that the caller may read it. Each
//! of these failures has an error of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::diagnose::need_proc;
use crate::error::{Error, Result, errno};
use crate::feature::{Feature, Purpose};
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::text::{text, text_with};
use crate::value::typed::TypedCommand;
use crate::views::is_shell;

/// One of the two processes.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// Its PID in the caller's PID namespace.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Its PID in its own PID namespace: the last one of NSpid.
    pub own_pid: i32,
    /// Whether it is the process that started `sandbox`.
    pub is_caller: bool,
    /// Whether it is the process that started `sandbox`, and is a shell.
    pub is_shell: bool,
    /// Always refers to this process, even if the kernel reuses its PID.
    #[serde(skip)]
    pidfd: OwnedFd,
}

impl Subject {
    /// Opens the process with this PID. The errors begin with the subcommand that was typed, and advise the whole line.
    ///
    /// # Errors
    /// There is no such process, it has ended, or the caller may not read it; /proc is not mounted.
    pub fn open(pid: i32, typed: &TypedCommand) -> Result<Subject> {
        let name = pid.to_string();
        let word = &*typed.subcommand();
        need_proc(word, Purpose::Container)?;
        let pidfd = pidfd_open(pid).map_err(|errno| {
            let key = if errno == Errno::ESRCH { "compare.missing" } else { "compare.thread" };
            let error = Error::failed(text_with(key, &[("command", word), ("pid", &name)]));
            error.call(format!("pidfd_open({pid}, 0)"), errno).todo(text("compare.missing.todo"))
        })?;
        let path = format!("/proc/{pid}/status");
        let status = match file::read_text(&path) {
            Ok(status) => status,
            Err(_) if has_ended(&pidfd) => return Err(vanished(pid, word)),
            Err(error) => return Err(hidden(pid, &path, typed, error)),
        };
        let field = |name: &str| status_of(&status, name).unwrap_or_default();
        if field("State").starts_with(['Z', 'X']) {
            let what =
                text_with("compare.zombie", &[("command", word), ("pid", &name), ("name", field("Name"))]);
            let why = text_with("compare.zombie.reason", &[("parent", field("PPid"))]);
            return Err(Error::failed(what).why(why).why(format!("{path}  State: {}", field("State"))));
        }
        let own_pid = field("NSpid").split_whitespace().last().and_then(|pid| pid.parse().ok());
        let is_caller = pid == parent().as_raw();
        let subject = Subject {
            pid,
            name: field("Name").to_owned(),
            own_pid: own_pid.unwrap_or(pid),
            is_caller,
            is_shell: is_caller && is_shell(field("Name")),
            pidfd,
        };
        // Of all files that are read here, the links in /proc/PID/ns need most: PTRACE_MODE_READ of ptrace(2).
        match subject.namespace(Feature::User) {
            Ok(_) => Ok(subject),
            Err(_) if subject.has_ended() => Err(vanished(pid, word)),
            Err(error) => Err(refused(pid, field("Uid"), typed, error)),
        }
    }

    /// The process that started `sandbox`.
    ///
    /// # Errors
    /// It is in another PID namespace, so it has no PID here. And the errors of [`Subject::open`].
    pub fn caller() -> Result<Subject> {
        match parent().as_raw() {
            0 => Err(Error::failed(text("compare.noparent")).todo(text("compare.noparent.todo"))),
            pid => Subject::open(pid, &TypedCommand::of_this_process()),
        }
    }

    /// Its directory in /proc.
    pub fn directory(&self) -> String {
        format!("/proc/{}", self.pid)
    }

    /// Opens one of its namespaces.
    ///
    /// # Errors
    /// EACCES if the caller may not. ENOENT if this kernel does not have this kind, or if the process has ended.
    pub fn namespace(&self, feature: Feature) -> io::Result<File> {
        File::open(format!("{}/ns/{feature}", self.directory()))
    }

    /// Whether it has ended. If it has not, everything read from its directory so far was of this process.
    pub fn has_ended(&self) -> bool {
        has_ended(&self.pidfd)
    }

    /// Its pidfd.
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }

    /// The error if it has ended meanwhile.
    pub fn vanished(&self) -> Error {
        vanished(self.pid, &TypedCommand::of_this_process().subcommand())
    }
}

fn parent() -> nix::unistd::Pid {
    nix::unistd::getppid()
}

fn pidfd_open(pid: i32) -> std::result::Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::ESRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(errno)
}

/// A pidfd becomes readable when its process ends: pidfd_open(2).
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1..))
}

fn vanished(pid: i32, word: &str) -> Error {
    Error::failed(text_with("compare.vanished", &[("command", word), ("pid", &pid.to_string())]))
}

/// The process exists, but has no directory in /proc: /proc is mounted with hidepid, or belongs to another PID
/// namespace.
fn hidden(pid: i32, path: &str, typed: &TypedCommand, error: io::Error) -> Error {
    let word = &*typed.subcommand();
    Error::failed(text_with("compare.hidden", &[("command", word), ("pid", &pid.to_string())]))
        .call(format!("openat(AT_FDCWD, \"{path}\", O_RDONLY)"), error)
        .why(text("compare.hidden.reason"))
        .todo(as_root(pid, typed))
}

fn refused(pid: i32, uids: &str, typed: &TypedCommand, error: io::Error) -> Error {
    let word = &*typed.subcommand();
    let uid = uids.split_whitespace().next().unwrap_or("?");
    let own = nix::unistd::geteuid().to_string();
    let pid_text = pid.to_string();
    let key = if uid == own { "compare.refused.same" } else { "compare.refused.other" };
    Error::failed(text_with("compare.refused", &[("command", word), ("pid", &pid_text)]))
        .call(format!("openat(AT_FDCWD, \"/proc/{pid}/ns/user\", O_RDONLY)"), error)
        .why(text_with(key, &[("its", uid), ("own", &own)]))
        .todo(as_root(pid, typed))
}

/// What to do without permission. Root here may be root of a user namespace, or lack a capability: sudo(8) gives no more.
fn as_root(pid: i32, typed: &TypedCommand) -> String {
    match nix::unistd::geteuid().is_root() {
        true => text_with("compare.refused.root.todo", &[("pid", &pid.to_string())]),
        false => format!("{}\n   {}", text("doctor.todo.root"), typed.as_root()),
    }
}
