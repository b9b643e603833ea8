//! The calls of demonstrations: the calls of a plan, which make containers, and others that only show something.
//!
//! As in a plan, each call can print itself and perform itself, from the same data.

pub mod attack;
pub mod ipc;
pub mod load;
pub mod path;
pub mod signal;
pub mod socket;

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

pub use self::attack::AttackCall;
pub use self::ipc::IpcCall;
pub use self::load::LoadCall;
pub use self::path::PathCall;
pub use self::signal::SignalCall;
pub use self::socket::SocketCall;
use crate::plan::Call;
use crate::plan::slots::Slots;

/// One call of a demonstration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemoCall {
    /// A call of a plan.
    Plan(Call),
    /// A call that only an attacker makes.
    Attack(AttackCall),
    /// A call on System V objects or POSIX message queues.
    Ipc(IpcCall),
    /// Work that reaches a limit.
    Load(LoadCall),
    /// A call on a file or directory.
    Path(PathCall),
    /// A signal to another process.
    Signal(SignalCall),
    /// A call on sockets.
    Socket(SocketCall),
}

impl DemoCall {
    /// Makes the call. Returns the kernel's result.
    ///
    /// # Errors
    /// The call's errno.
    pub fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            DemoCall::Plan(call) => call.perform(slots),
            DemoCall::Attack(call) => call.perform(slots),
            DemoCall::Ipc(call) => call.perform(),
            DemoCall::Load(call) => call.perform(),
            DemoCall::Path(call) => call.perform(),
            DemoCall::Signal(call) => call.perform(),
            DemoCall::Socket(call) => call.perform(),
        }
    }
}

impl fmt::Display for DemoCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoCall::Plan(call) => call.fmt(f),
            DemoCall::Attack(call) => call.fmt(f),
            DemoCall::Ipc(call) => call.fmt(f),
            DemoCall::Load(call) => call.fmt(f),
            DemoCall::Path(call) => call.fmt(f),
            DemoCall::Signal(call) => call.fmt(f),
            DemoCall::Socket(call) => call.fmt(f),
        }
    }
}

impl<C: Into<Call>> From<C> for DemoCall {
    fn from(call: C) -> DemoCall {
        DemoCall::Plan(call.into())
    }
}

impl From<AttackCall> for DemoCall {
    fn from(call: AttackCall) -> DemoCall {
        DemoCall::Attack(call)
    }
}

impl From<IpcCall> for DemoCall {
    fn from(call: IpcCall) -> DemoCall {
        DemoCall::Ipc(call)
    }
}

impl From<LoadCall> for DemoCall {
    fn from(call: LoadCall) -> DemoCall {
        DemoCall::Load(call)
    }
}

impl From<PathCall> for DemoCall {
    fn from(call: PathCall) -> DemoCall {
        DemoCall::Path(call)
    }
}

impl From<SignalCall> for DemoCall {
    fn from(call: SignalCall) -> DemoCall {
        DemoCall::Signal(call)
    }
}

impl From<SocketCall> for DemoCall {
    fn from(call: SocketCall) -> DemoCall {
        DemoCall::Socket(call)
    }
}
