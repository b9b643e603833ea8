//! Slots: values that become known only while a plan runs, such as the PID of the child or an open descriptor. One step
//! fills a slot, and later steps read it. In a printed call a slot is a name in angle brackets: `<child>`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::call::publish::{PublishedPort, PublishedSocket};
use super::gate::Channel;
use crate::feature::Feature;
use crate::host::run_lock::RunLock;

/// The descriptors from which a new root filesystem is built. Each is open on a mount or a directory. Files of the new
/// root are named only relative to these descriptors: an absolute path could lead through a symbolic link of the new
/// root to a file outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// `<lower>`: the lower directory of an overlay, which is never changed.
    Lower,
    /// `<layer>`: the tmpfs with the upper directory of an overlay. All changes are written to it.
    Layer,
    /// `<root>`: the new root.
    Root,
    /// `<proc>`: its proc filesystem.
    Proc,
    /// `<sys>`: its sysfs.
    Sys,
    /// `<dev>`: its /dev.
    Dev,
    /// `<mount>`: a new mount that is not attached yet.
    Mount,
}

impl Held {
    /// Its name without the angle brackets.
    pub fn name(self) -> &'static str {
        match self {
            Held::Lower => "lower",
            Held::Layer => "layer",
            Held::Root => "root",
            Held::Proc => "proc",
            Held::Sys => "sys",
            Held::Dev => "dev",
            Held::Mount => "mount",
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name())
    }
}

/// The filled slots of one process. A child starts with a copy of its parent's.
#[derive(Debug, Default)]
pub struct Slots {
    /// `<child>`: the PID of the child on the host.
    pub child: Option<Pid>,
    /// The child's pidfd.
    pub pidfd: Option<OwnedFd>,
    /// With an init, the pidfd of the command. Only the host has it.
    pub command: Option<OwnedFd>,
    /// `<helper>`: the PID of the helper on the host.
    pub helper: Option<Pid>,
    /// `<gate>`: this process's end of the socket pair.
    pub gate: Option<Channel>,
    /// The child's end of the socket pair, until the clone.
    pub other_gate: Option<Channel>,
    /// `<fifo>`: the read end of the FIFO by which another process releases the child.
    pub fifo: Option<OwnedFd>,
    /// `<net>`, `<user>`, ...: the namespaces that are joined.
    pub joined: BTreeMap<Feature, OwnedFd>,
    /// `<cgroup>`: the cgroup in which the child is created.
    pub cgroup: Option<OwnedFd>,
    /// `<terminal>`: the master of the command's terminal. Only the host keeps it, even if it was made inside.
    pub terminal: Option<OwnedFd>,
    /// `<pts>`: the slave of the command's terminal. Only the command keeps it: as long as another process has a copy,
    /// the master gets no hang-up when the command has ended.
    pub pts: Option<OwnedFd>,
    /// `<inner>`: the command's end of a new pipe, until it replaces a standard descriptor.
    pub inner: Option<OwnedFd>,
    /// `<outer>`: the other end, until the host has it.
    pub outer: Option<OwnedFd>,
    /// The host's ends of such pipes, each with the standard descriptor that it belongs to.
    pub carried: Vec<(i32, OwnedFd)>,
    /// Shared locks, which other runs have too. While the host holds these locks, no other run removes what they share.
    pub shares: Vec<RunLock>,
    /// The sockets of published ports. Only the relay keeps them, once it is created.
    pub published: Vec<PublishedSocket>,
    /// The ports to which these sockets belong.
    pub ports: Vec<PublishedPort>,
    /// The relay process that serves them. Only the host knows it.
    pub relay: Option<PortRelay>,
    /// `<address>`: the address that was claimed for the container. It is claimed before the clone, so the child has a
    /// copy of it.
    pub address: Option<Ipv4Addr>,
    /// The descriptors from which the new root is built.
    pub held: BTreeMap<Held, OwnedFd>,
}

/// The process that forwards connections from published ports into the container.
#[derive(Debug)]
pub struct PortRelay {
    /// Its PID.
    pub pid: Pid,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// The host's end of the relay's own socket pair. The end of file tells the relay that the container has ended.
    pub gate: Channel,
}

impl Slots {
    /// Releases the shared locks. Closing the descriptors is not enough, because a child that is about to end may have
    /// copies of them.
    pub fn release_shares(&mut self) {
        self.shares.drain(..).for_each(RunLock::release);
    }

    /// The process that was created: the child, or the helper as long as it has not created the child.
    ///
    /// # Errors
    /// ESRCH: none was created yet.
    pub fn made(&self) -> Result<Pid, Errno> {
        self.child.or(self.helper).ok_or(Errno::ESRCH)
    }

    /// A descriptor that an earlier step has stored.
    ///
    /// # Errors
    /// EBADF: no step has stored it.
    pub fn held(&self, held: Held) -> Result<BorrowedFd<'_>, Errno> {
        self.held.get(&held).map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    /// Replaces the name of a slot at the start, such as `<lower>`, by a path to its descriptor: /proc/self/fd/N.
    pub fn fill_held(&self, text: &OsStr) -> OsString {
        let filled = self.held.iter().find_map(|(held, descriptor)| {
            let rest = text.as_bytes().strip_prefix(held.to_string().as_bytes())?;
            let mut path = OsString::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
            path.push(OsStr::from_bytes(rest));
            Some(path)
        });
        filled.unwrap_or_else(|| text.to_owned())
    }
}
