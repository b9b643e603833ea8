//! Signals between processes. A PID namespace hides processes: kill(2) reaches only those that the caller can see.

use std::fmt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalCall {
    /// kill(2). Signal 0 is not sent: the kernel only checks whether a signal could be.
    Kill {
        /// The receiver's PID in the caller's PID namespace.
        pid: i32,
        /// The signal's number.
        signal: i32,
    },
    /// prctl(PR_SET_PDEATHSIG, 0): the process survives its parent.
    ClearParentDeath,
}

impl fmt::Display for SignalCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalCall::Kill { pid, signal } => match Signal::try_from(*signal) {
                Ok(signal) => write!(f, "kill({pid}, {signal})"),
                Err(_) => write!(f, "kill({pid}, {signal})"),
            },
            SignalCall::ClearParentDeath => f.write_str("prctl(PR_SET_PDEATHSIG, 0)"),
        }
    }
}

impl SignalCall {
    /// Makes the call.
    pub(super) fn perform(&self) -> Result<i64, Errno> {
        match self {
            SignalCall::Kill { pid, signal } => {
                let signal = if *signal == 0 { None } else { Some(Signal::try_from(*signal)?) };
                kill(Pid::from_raw(*pid), signal).map(|()| 0)
            }
            SignalCall::ClearParentDeath => nix::sys::prctl::set_pdeathsig(None).map(|()| 0),
        }
    }
}
