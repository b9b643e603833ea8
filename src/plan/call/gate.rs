//! Messages between the host and the child. Each point at which one waits for the other is a step of the plan.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::plan::gate::Channel;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCall {
    /// socketpair(2).
    Open,
    /// Host: lets the child go on.
    Release,
    /// Child: waits until the host lets it go on. The end of file means that the host is dead.
    Await,
    /// Child: reads the files of its view and sends them to the host. Performed by `exec`: the plan does not know which
    /// files.
    Report,
    /// Compares what the kernel shows with the plan, and stops at a difference: a container that is only partly
    /// confined must not start. Performed by `exec`; `plan::expect` has the expected values.
    Verify,
    /// Child: performs the requests that it receives on the gate. The caller of `exec::start_serving` defines them.
    Serve,
}

impl fmt::Display for GateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GateCall::Open => "socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, [<gate>, <gate>])",
            GateCall::Release => "sendto(<gate>, \".\", 1)",
            GateCall::Await => "recvfrom(<gate>)",
            GateCall::Report => "sendmsg(<gate>, <the view from inside>)",
            GateCall::Verify => "[reads /proc and compares it with the plan]",
            GateCall::Serve => "recvmsg(<gate>) [the built-in demonstration]",
        })
    }
}

impl GateCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            GateCall::Open => {
                let (host, child) = Channel::pair()?;
                slots.gate = Some(host);
                slots.other_gate = Some(child);
                Ok(0)
            }
            // The result of send(2) and recv(2): one byte.
            GateCall::Release => slots.gate.as_ref().ok_or(Errno::EBADF)?.release().map(|()| 1),
            GateCall::Await => slots.gate.as_ref().ok_or(Errno::EBADF)?.await_release().map(|()| 1),
            GateCall::Report | GateCall::Verify | GateCall::Serve => Ok(0),
        }
    }
}
