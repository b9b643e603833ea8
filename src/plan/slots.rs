//! Slots: values that become known only while a plan runs, such as the PID of the child or an open descriptor. One step
//! fills a slot, and later steps read it. In a printed call a slot is a name in angle brackets: `<child>`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::call::publish::{PublishedPort, PublishedSocket};
use super::call::user_network::UserNetworkProcess;
use super::gate::Channel;
use crate::feature::Feature;
use crate::host::run_lock::RunLock;
use crate::sys::image::ProgramImage;
use crate::sys::shared::SharedErrno;

/// The descriptors from which a new root filesystem is built. Each is open on a mount or a directory. Files of the new
/// root are named only relative to these descriptors: an absolute path could lead through a symbolic link of the new
/// root to a file outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Held {
    /// `<lower>`, `<lower2>`, ...: a lower directory of an overlay, which is never changed. The first is the topmost.
    Lower(u8),
    /// `<tree>`, `<tree2>`, ...: a copy of all mounts of the host, made before the new root is mounted on `/`.
    Tree(u8),
    /// `<fixed>`, `<fixed2>`, ...: a filesystem in memory that becomes read-only when all mount points in it are made.
    Fixed(u8),
    /// `<layer>`: a tmpfs with what is made for the container: the init layer, the files of /etc that it has of its own,
    /// and the upper directory, unless that one is kept.
    Layer,
    /// `<kept>`: the directory on the host that contains the kept upper directory and the work directory.
    Kept,
    /// `<upper>`: the kept upper directory of an overlay. All changes are written to it.
    Upper,
    /// `<work>`: the directory in which overlayfs prepares a file before it moves it to the upper directory.
    Work,
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

/// The slots that exist once, by their names.
const SINGLE: [(Held, &str); 9] = [
    (Held::Layer, "layer"),
    (Held::Kept, "kept"),
    (Held::Upper, "upper"),
    (Held::Work, "work"),
    (Held::Root, "root"),
    (Held::Proc, "proc"),
    (Held::Sys, "sys"),
    (Held::Dev, "dev"),
    (Held::Mount, "mount"),
];

/// The names of the slots that have a number. The first one is written without it.
const LOWER: &str = "lower";
const TREE: &str = "tree";
const FIXED: &str = "fixed";

/// The name of a slot that has a number.
fn numbered(name: &'static str, index: u8) -> Cow<'static, str> {
    if index == 0 { name.into() } else { format!("{name}{}", u16::from(index) + 1).into() }
}

/// The index of a slot, from what follows its name.
fn index(number: &str) -> Option<u8> {
    if number.is_empty() { Some(0) } else { number.parse::<u16>().ok()?.checked_sub(1)?.try_into().ok() }
}

impl Held {
    /// Its name without the angle brackets.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Held::Lower(index) => numbered(LOWER, index),
            Held::Tree(index) => numbered(TREE, index),
            Held::Fixed(index) => numbered(FIXED, index),
            single => SINGLE.iter().find(|(held, _)| *held == single).map_or("", |(_, name)| name).into(),
        }
    }
}

impl FromStr for Held {
    type Err = String;

    fn from_str(name: &str) -> Result<Held, String> {
        let of_number =
            |prefix: &str, held: fn(u8) -> Held| Some(index(name.strip_prefix(prefix)?).map(held));
        let numbered = of_number(LOWER, Held::Lower)
            .or_else(|| of_number(TREE, Held::Tree))
            .or_else(|| of_number(FIXED, Held::Fixed));
        let single = || SINGLE.iter().find(|(_, known)| *known == name).map(|(held, _)| *held);
        let held = numbered.unwrap_or_else(single);
        held.ok_or_else(|| format!("{name}: no such slot"))
    }
}

impl TryFrom<String> for Held {
    type Error = String;

    fn try_from(name: String) -> Result<Held, String> {
        name.parse()
    }
}

impl From<Held> for String {
    fn from(held: Held) -> String {
        held.name().into_owned()
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
    /// `<container>`: the pidfd of the process whose container is joined.
    pub container: Option<OwnedFd>,
    /// `<host proc>`: the caller's own /proc. A process that has joined other namespaces verifies itself by it, and closes
    /// it then.
    pub host_proc: Option<OwnedFd>,
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
    /// Shared locks, which other runs have too: while the host holds these locks, no other run removes what they share.
    /// And the lock of an upper directory that is kept, which no other run has.
    pub shares: Vec<RunLock>,
    /// The sockets of published ports. Only the relay keeps them, once it is created.
    pub published: Vec<PublishedSocket>,
    /// The ports to which these sockets belong.
    pub ports: Vec<PublishedPort>,
    /// The relay process that serves them. Only the host knows it.
    pub relay: Option<PortRelay>,
    /// The program that connects the container of an ordinary user. Only the host knows it.
    pub user_network: Option<UserNetworkProcess>,
    /// `<address>`: the address that was claimed for the container. It is claimed before the clone, so the child has a
    /// copy of it.
    pub address: Option<Ipv4Addr>,
    /// The descriptors from which the new root is built.
    pub held: BTreeMap<Held, OwnedFd>,
    /// The program of the command, ready to be executed.
    pub(crate) image: Option<ProgramImage>,
    /// Where the command stores the errno of execve(2), if that fails behind its seccomp filter.
    pub(crate) exec_errno: Option<SharedErrno>,
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

/// How a plan names the address that is claimed for the container.
pub const ADDRESS: &str = "<address>";

impl Slots {
    /// A text with the address that was claimed for the container in place of its name.
    pub fn with_address<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let at = text.windows(ADDRESS.len()).position(|part| part == ADDRESS.as_bytes());
        match (at, self.address) {
            (Some(at), Some(address)) => {
                let (before, after) = (&text[..at], &text[at + ADDRESS.len()..]);
                [before, address.to_string().as_bytes(), after].concat().into()
            }
            _ => text.into(),
        }
    }

    /// Releases the locks. Closing the descriptors is not enough, because a child that is about to end may have
    /// copies of them.
    pub fn release_shares(&mut self) {
        self.shares.drain(..).for_each(RunLock::release);
    }

    /// The numbers of the descriptors that this process still needs. The locks, the published ports and the relay belong to
    /// the host and to the relay.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let single = [
            &self.pidfd,
            &self.command,
            &self.fifo,
            &self.container,
            &self.host_proc,
            &self.cgroup,
            &self.terminal,
            &self.pts,
            &self.inner,
            &self.outer,
        ];
        let gates = [&self.gate, &self.other_gate].into_iter().flatten().map(AsFd::as_fd);
        let owned = single.into_iter().flatten().chain(self.joined.values()).chain(self.held.values());
        let owned = owned.chain(self.carried.iter().map(|(_, pipe)| pipe)).map(AsFd::as_fd);
        owned.chain(gates).map(|descriptor| descriptor.as_raw_fd()).collect()
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
        let filled = || {
            let (name, rest) = held_in(text)?;
            let mut path = OsString::from(format!("/proc/self/fd/{}", self.held.get(&name)?.as_raw_fd()));
            path.push(rest);
            Some(path)
        };
        filled().unwrap_or_else(|| text.to_owned())
    }
}

/// The slot whose name is at the start of a value, such as `<layer>/upper`, and the rest of the value.
pub fn held_in(value: &OsStr) -> Option<(Held, &OsStr)> {
    let name = value.as_bytes().strip_prefix(b"<")?;
    let end = name.iter().position(|byte| *byte == b'>')?;
    let held = std::str::from_utf8(&name[..end]).ok()?.parse().ok()?;
    Some((held, OsStr::from_bytes(&name[end + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_from_its_name() {
        for held in [
            Held::Lower(0),
            Held::Lower(1),
            Held::Lower(126),
            Held::Tree(0),
            Held::Tree(1),
            Held::Fixed(0),
            Held::Fixed(255),
            Held::Kept,
            Held::Mount,
        ] {
            assert_eq!(held.name().parse(), Ok(held));
        }
        assert_eq!((Held::Lower(0).name(), Held::Lower(1).name()), ("lower".into(), "lower2".into()));
        assert!("lower0".parse::<Held>().is_err() && "lover".parse::<Held>().is_err());
        assert_eq!(held_in(OsStr::new("<layer>/upper")), Some((Held::Layer, OsStr::new("/upper"))));
        assert_eq!(held_in(OsStr::new("64m")), None);
    }
}
