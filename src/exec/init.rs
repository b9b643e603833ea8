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
/// Where the command has a terminal of its own, process 1 keeps neither that one (while it's open here, the kernel sees a
/// user of it who never reads) nor the user's, which would be within reach of the container as /proc/1/fd.
pub(super) fn serve(slots: &mut Slots, has_terminal: bool) -> ! {
    let Some(command) = slots.child else { crate::sys::exit(125) };
    // The gate's end of file must mean that the command runs: init mustn't hold it open.
    slots.gate = None;
    if has_terminal {
        slots.pts = None;
        for descriptor in 0..=2 {
            let _ = nix::unistd::close(descriptor);
        }
    }
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
        match awaited.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                let _ = kill(command, signal);
            }
        }
    }
}

fn reaped() -> Option<WaitStatus> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => None,
        Ok(status) => Some(status),
        Err(_) => None,
    }
}
