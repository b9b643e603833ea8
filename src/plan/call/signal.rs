//! Signals between processes: what kill(2) reaches shows what a pid namespace hides.

use std::fmt;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalCall {
    /// kill(2); signal 0 only asks whether it could be sent.
    Kill {
        /// Whom, in the caller's pid namespace.
        pid: i32,
        /// The signal's number.
        signal: i32,
    },
}

impl fmt::Display for SignalCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SignalCall::Kill { pid, signal } = self;
        match nix::sys::signal::Signal::try_from(*signal) {
            Ok(signal) => write!(f, "kill({pid}, {signal})"),
            Err(_) => write!(f, "kill({pid}, {signal})"),
        }
    }
}

impl SignalCall {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        let SignalCall::Kill { pid, signal } = self;
        let signal = if *signal == 0 { None } else { Some(nix::sys::signal::Signal::try_from(*signal)?) };
        nix::sys::signal::kill(Pid::from_raw(*pid), signal).map(|()| 0)
    }
}
