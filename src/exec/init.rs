//! `--init`: process 1 that does what a process 1 is for. It reaps orphans, passes signals on, and ends with its command,
//! which ends the namespace.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::plan::slots::Slots;

/// Stays until the command (`slots.child`) has ended; ends with its status, 128+N where signal N ended it.
///
/// The signals that the host forwards are blocked here as they were there, which also means that the kernel doesn't drop
/// them although process 1 has no handler: they are taken by sigwait(3).
///
/// It needs no descriptor, and whatever it kept would be within reach of the container as /proc/1/fd. Standard input and
/// output are the command's too; but where that has a terminal of its own, they are the user's.
pub(super) fn serve(slots: &mut Slots, has_terminal: bool) -> ! {
    let Some(command) = slots.child else { crate::sys::exit(125) };
    // The gate's end of file must mean that the command runs: init mustn't hold it open, even where close_range is missing.
    slots.gate = None;
    slots.pts = None;
    crate::sys::close_from(if has_terminal { 0 } else { 3 });
    // Without a handler for a signal, the kernel doesn't deliver it to process 1. Rust's runtime has handlers for two.
    crate::sys::default_actions();
    let mut awaited = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
    awaited.add(Signal::SIGCHLD);
    let _ = awaited.thread_block();
    loop {
        while let Some(status) = reaped() {
            match status {
                WaitStatus::Exited(pid, code) if pid == command => crate::sys::exit(code),
                WaitStatus::Signaled(pid, signal, _) if pid == command => {
                    crate::sys::exit(128 + signal as i32)
                }
                _ => {}
            }
        }
        // Where that fails, looking for the dead again is all that there is to do.
        match crate::sys::wait_for_signal(&awaited) {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                let _ = kill(command, signal);
            }
        }
    }
}

/// The next of those that have ended. Its signal has been taken, so whatever else it fails for, it's tried again.
fn reaped() -> Option<WaitStatus> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(status) => return Some(status),
            Err(_) => {}
        }
    }
}
