//! What this process has from its caller, and a command of it too.

use crate::sys::signal::{self, SignalSet};

/// The signals that the caller ignores. Without SIGPIPE: a command always gets its default action.
pub fn ignored_signals() -> Vec<i32> {
    signal::ignored_on_entry().without(SignalSet::of(&[libc::SIGPIPE])).numbers()
}

/// The signals that the caller has blocked.
pub fn blocked_signals() -> Vec<i32> {
    signal::blocked_on_entry().numbers()
}

/// The nice value of this process. None: the kernel does not report it.
pub fn nice_value() -> Option<i32> {
    rustix::process::getpriority_process(None).ok()
}
