//! `--init`: process 1 of the container, with the command as its child. It reaps orphans and forwards signals. When the
//! command exits, init exits too, and the kernel kills all processes that are left in the PID namespace.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::plan::slots::Slots;

/// Waits for the command (`slots.child`) and exits with its status, or with 128+N if signal N killed it.
///
/// The signals that the host forwards are blocked here, as they are in the host. The kernel does not discard a
/// blocked signal, although process 1 has no handler for it. Init takes them by sigwait(3).
///
/// All descriptors are closed, because the container could open them by /proc/1/fd. Standard input and output stay
/// open if the command has them too. If the command has a new terminal, they are the user's, and are closed.
pub(super) fn serve(slots: &mut Slots, has_terminal: bool) -> ! {
    let Some(command) = slots.child else { crate::sys::exit(125) };
    // The end of file at the gate means that the command runs. So init must not keep the gate open, even on a kernel
    // without close_range(2).
    slots.gate = None;
    slots.pts = None;
    crate::sys::close_from(if has_terminal { 0 } else { 3 });
    // Process 1 gets no signal that it has no handler for, and init needs none. Rust's runtime has installed two
    // handlers, which are removed here.
    crate::sys::default_actions();
    let mut awaited = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
    awaited.add(Signal::SIGCHLD);
    let _ = awaited.thread_block();
    loop {
        while let Some(status) = reap() {
            match status {
                WaitStatus::Exited(pid, code) if pid == command => crate::sys::exit(code),
                WaitStatus::Signaled(pid, signal, _) if pid == command => {
                    crate::sys::exit(128 + signal as i32)
                }
                _ => {}
            }
        }
        // If waiting fails, init can only try to reap again.
        match crate::sys::wait_for_signal(&awaited) {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                let _ = kill(command, signal);
            }
        }
    }
}

/// Reaps the next process that has ended. Its SIGCHLD is consumed already, so after any other error this tries again.
fn reap() -> Option<WaitStatus> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(status) => return Some(status),
            Err(_) => {}
        }
    }
}
