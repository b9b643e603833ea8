//! Slots: the few things that are known only while a plan runs. One step writes a slot, later ones read it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::gate::Channel;

/// The descriptors of mounts and directories that a root is built with. It's by them alone that anything in it is named: a path
/// could lead through a symbolic link of the new root to a place outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// `<lower>`: what an overlay shows and never changes.
    Lower,
    /// `<layer>`: the tmpfs that takes what is written.
    Layer,
    /// `<root>`: the new root.
    Root,
    /// `<proc>`: its proc filesystem.
    Proc,
    /// `<sys>`: its sysfs.
    Sys,
    /// `<dev>`: its devices.
    Dev,
    /// `<mount>`: a mount that has been made and is nowhere yet.
    Mount,
}

impl Held {
    /// Its name, without the brackets.
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

/// The filled slots of one process's side of a run.
#[derive(Debug, Default)]
pub struct Slots {
    /// `<child>`: the child's number outside.
    pub child: Option<Pid>,
    /// The child's pidfd.
    pub pidfd: Option<OwnedFd>,
    /// `<helper>`: the number of the process between, outside.
    pub helper: Option<Pid>,
    /// This side's end of `<gate>`.
    pub gate: Option<Channel>,
    /// The other side's end, until the clone has given it away.
    pub other_gate: Option<Channel>,
    /// `<cgroup>`: the group that the child is born in.
    pub cgroup: Option<OwnedFd>,
    /// `<terminal>`: the master of the command's terminal. The host's, wherever it was made.
    pub terminal: Option<OwnedFd>,
    /// `<pts>`: the slave. The command's: a copy elsewhere would hide from the master that all have gone.
    pub pts: Option<OwnedFd>,
    /// What keeps the directories that are shared with other runs, each with its lock. Held by the host for as long as it uses them.
    pub shares: Vec<OwnedFd>,
    /// The sockets of published ports, each with the port inside that it leads to. The relay's, once it's made.
    pub listeners: Vec<(TcpListener, u16)>,
    /// Where they listen, and the ports inside.
    pub published: Vec<(SocketAddr, u16)>,
    /// The relay that serves them. The host's.
    pub relay: Option<PortRelay>,
    /// `<address>`: the one that was claimed for the container, before the child got its copy of all this.
    pub address: Option<Ipv4Addr>,
    /// The socket that owns the container's tables of nf_tables: they go when it closes.
    pub tables: Option<OwnedFd>,
    /// `<root>` and the others that a root is built with.
    pub held: BTreeMap<Held, OwnedFd>,
}

/// The process that carries bytes from published ports to those inside.
#[derive(Debug)]
pub struct PortRelay {
    /// Its number.
    pub pid: Pid,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// The host's end of a gate of its own: the end of file tells it that the container has ended.
    pub gate: Channel,
}

impl Slots {
    /// Lets the shared directories go. By their locks, not only by their descriptors, of which a child that is about to end may have
    /// a copy. (Not by nix's lock, which panics where it can't be let go.)
    pub fn release_shares(&mut self) {
        for share in self.shares.drain(..) {
            let _ = flock(share, FlockOperation::Unlock);
        }
    }

    /// The process that was made: the child, or the helper as long as it has made no child.
    ///
    /// # Errors
    /// ESRCH where none has been made.
    pub fn made(&self) -> Result<Pid, Errno> {
        self.child.or(self.helper).ok_or(Errno::ESRCH)
    }

    /// A descriptor that an earlier step has put here.
    ///
    /// # Errors
    /// EBADF where none has.
    pub fn held(&self, held: Held) -> Result<BorrowedFd<'_>, Errno> {
        self.held.get(&held).map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    /// Replaces `<lower>` and its like by the path that leads to the descriptor's very file, whatever its name is.
    pub fn fill_held(&self, words: &str) -> String {
        // Nearly all have none.
        if !words.contains('<') {
            return words.to_owned();
        }
        self.held.iter().fold(words.to_owned(), |words, (held, descriptor)| {
            words.replace(&held.to_string(), &format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
        })
    }
}
