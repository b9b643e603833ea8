//! The calls that make a container: a closed list, with one file for each family. Each call prints itself as strace(1)
//! would, and performs itself. Both are side by side in the code, so that what is printed is what is done.
//!
//! Some need several system calls, and print them in their order, separated by `; `. These are not printed: what only reads,
//! waits, or changes memory; and open(2) and close(2) where the call names the file, as in `write(</proc/self/uid_map>, …)`.
//! A remark after the calls, in square brackets, says when one of them is not made. The test
//! `trace` compares the texts with what the kernel sees, and fails on any other call.

pub mod cgroup;
pub mod detached;
pub mod file;
pub mod gate;
pub mod join;
pub mod mount;
pub mod net;
pub mod nftables;
pub mod process;
pub mod publish;
pub mod restrict;
pub mod stream;
pub mod terminal;
pub mod time;
pub mod user;
pub mod user_network;
pub mod uts;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::slots::Slots;

/// A system call, or a helper program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// clone3, unshare, setns, IDs, prctl, execve.
    Process(process::ProcessCall),
    /// Namespaces that exist already.
    Join(join::JoinCall),
    /// Mounts by their paths, and the root directory.
    Mount(mount::MountCall),
    /// Mounts by descriptors.
    DetachedMount(detached::DetachedMountCall),
    /// Files that configure a namespace or a cgroup, and locks on files.
    File(file::FileCall),
    /// The ID maps of a user namespace.
    User(user::UserCall),
    /// Host and domain names.
    Uts(uts::UtsCall),
    /// Cgroups: directories, limits, device programs.
    Cgroup(cgroup::CgroupCall),
    /// Network devices, addresses, routes.
    Net(net::NetCall),
    /// Tables of nf_tables, the packet filter.
    Nftables(nftables::NftablesCall),
    /// Published ports.
    Publish(publish::PublishCall),
    /// The program that connects the container of an ordinary user.
    UserNetwork(user_network::UserNetworkCall),
    /// Clock offsets of a time namespace.
    Time(time::TimeCall),
    /// The command's own terminal.
    Terminal(terminal::TerminalCall),
    /// Pipes that are standard input, output or error.
    Stream(stream::StreamCall),
    /// Restrictions: what a process gives up for good.
    Restrict(restrict::RestrictCall),
    /// Messages between the host and the child.
    Gate(gate::GateCall),
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
    Process: process::ProcessCall,
    Join: join::JoinCall,
    Mount: mount::MountCall,
    DetachedMount: detached::DetachedMountCall,
    File: file::FileCall,
    User: user::UserCall,
    Uts: uts::UtsCall,
    Cgroup: cgroup::CgroupCall,
    Net: net::NetCall,
    Nftables: nftables::NftablesCall,
    Publish: publish::PublishCall,
    UserNetwork: user_network::UserNetworkCall,
    Time: time::TimeCall,
    Terminal: terminal::TerminalCall,
    Stream: stream::StreamCall,
    Restrict: restrict::RestrictCall,
    Gate: gate::GateCall
}

/// A string as strace prints it: in double quotes, with the escapes of C.
pub(crate) fn c_string(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().as_bytes();
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for &byte in text {
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
    use super::c_string;

    #[test]
    fn strings_are_printed_as_strace_does() {
        assert_eq!(c_string("0 1000 1\n"), r#""0 1000 1\n""#);
        assert_eq!(c_string("a\"b\\é"), r#""a\"b\\\303\251""#);
    }
}
