//! The calls that a plan is made of: a closed list, one file per family. Each call prints itself as strace would and
//! performs itself, side by side, so an explanation can't drift from what happens.

pub mod attack;
pub mod bridge;
pub mod cgroup;
pub mod file;
pub mod gate;
pub mod ipc;
pub mod load;
pub mod mount;
pub mod net;
pub mod process;
pub mod publish;
pub mod restrict;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod tree;
pub mod uts;

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::slots::Slots;

/// One system call, or one helper program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// clone3, unshare, setns, ids, prctl, execve.
    Process(process::Process),
    /// The tree of mounts, and roots.
    Mount(mount::Mount),
    /// Mounts by their descriptors.
    Tree(tree::Tree),
    /// Files below /proc that configure a namespace, and plain files.
    File(file::File),
    /// Host and domain names.
    Uts(uts::Uts),
    /// Groups of processes.
    Cgroup(cgroup::Cgroup),
    /// System V objects, POSIX message queues.
    Ipc(ipc::Ipc),
    /// Devices, addresses, sockets.
    Net(net::Net),
    /// A bridge that all containers share, and the firewall.
    Bridge(bridge::Bridge),
    /// Sockets.
    Socket(socket::Socket),
    /// Ports that are published.
    Publish(publish::Publish),
    /// Work that meets a limit.
    Load(load::Load),
    /// kill and what goes with it.
    Signal(signal::Signal),
    /// A terminal of the command's own.
    Terminal(terminal::Terminal),
    /// What a process gives up for good.
    Restrict(restrict::Restrict),
    /// What only an attacker asks for.
    Attack(attack::Attack),
    /// The words between host and child.
    Gate(gate::Gate),
}

macro_rules! families {
    ($($family:ident: $kind:ty),*) => {
        $(impl From<$kind> for Call {
            fn from(call: $kind) -> Call {
                Call::$family(call)
            }
        })*

        impl fmt::Display for Call {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Call::$family(call) => call.fmt(f),)*
                }
            }
        }

        impl Call {
            /// Makes the call. The result is the kernel's.
            ///
            /// # Errors
            /// The call's errno.
            pub fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
                match self {
                    $(Call::$family(call) => call.perform(slots),)*
                }
            }
        }
    };
}

families! {
    Process: process::Process,
    Mount: mount::Mount,
    Tree: tree::Tree,
    File: file::File,
    Uts: uts::Uts,
    Cgroup: cgroup::Cgroup,
    Ipc: ipc::Ipc,
    Net: net::Net,
    Bridge: bridge::Bridge,
    Socket: socket::Socket,
    Publish: publish::Publish,
    Load: load::Load,
    Signal: signal::Signal,
    Terminal: terminal::Terminal,
    Restrict: restrict::Restrict,
    Attack: attack::Attack,
    Gate: gate::Gate
}

/// A string as strace prints it: quoted, escaped.
pub(crate) fn quoted(words: &str) -> String {
    let mut out = String::with_capacity(words.len() + 2);
    out.push('"');
    for byte in words.bytes() {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            0x20..=0x7e => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn strings_are_printed_as_strace_does() {
        assert_eq!(quoted("0 1000 1\n"), r#""0 1000 1\n""#);
        assert_eq!(quoted("a\"b\\é"), r#""a\"b\\\303\251""#);
    }
}
