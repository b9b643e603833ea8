//! The words between host and child: each moment at which one waits for the other is a step too.

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
    /// Child: waits to be let go. The end of file here means that the host is dead.
    Await,
    /// Child: reads its view of /proc and sends it. `exec` performs it: what to read is not the plan's business.
    Report,
    /// Reads what must hold by now, and goes no further if anything differs: a container that is half confined must not
    /// start. Performed by `exec`; what must hold is `plan::expect`'s.
    Verify,
    /// Child: stays, and does what the host asks through the gate. What that is, the caller of `exec::start_serving` says.
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
            // One byte, as the kernel counts.
            GateCall::Release => slots.gate.as_ref().ok_or(Errno::EBADF)?.release().map(|()| 1),
            GateCall::Await => slots.gate.as_ref().ok_or(Errno::EBADF)?.await_release().map(|()| 1),
            GateCall::Report | GateCall::Verify | GateCall::Serve => Ok(0),
        }
    }
}
