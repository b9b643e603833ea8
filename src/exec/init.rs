//! `--init`: process 1 of the container, with the command as its child. It reaps orphans and forwards signals. When the
//! command exits, init exits too, and the kernel kills all processes that are left in the PID namespace.

use nix::unistd::Pid;
use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::plan::slots::Slots;
use crate::sys::{self, signal};

/// Prepares this process to be init, before its own restrictions.
pub(super) fn prepare() {
    // Before the host knows of the command and releases it: the command can read /proc/1/cmdline.
    sys::program::hide_arguments("init");
    // Process 1 gets no signal that it has no handler for, and init needs none. Rust's runtime has installed two
    // handlers, which are removed here. It is done before the host forwards the first signal, because the kernel then
    // discards a SIGCONT or SIGWINCH that has arrived, although it is blocked.
    signal::default_actions();
}

/// Leaves the process group of the command. A signal to this group reaches the command by itself, so init must not get and
/// forward it.
pub(super) fn leave_group() {
    let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
}

/// Waits for the command (`slots.child`) and exits with its status, or with 128+N if signal N killed it.
///
/// The signals that the host forwards are blocked here, as they are in the host. The kernel does not discard a
/// blocked signal, although process 1 has no handler for it. Init takes them by sigwait(3).
///
/// All descriptors are closed, because the container could open them by /proc/1/fd. Standard input and output stay
/// open if the command has them too. If the command has a new terminal, they are the user's, and are closed.
pub(super) fn serve(slots: &mut Slots, has_terminal: bool) -> ! {
    let Some(command) = slots.child else { sys::exit(125) };
    // The end of file at the gate means that the command runs. So init must not keep the gate open, even on a kernel
    // without close_range(2).
    slots.gate = None;
    slots.pts = None;
    sys::close_from(if has_terminal { 0 } else { 3 });
    let awaited = signal::block(signal::SignalSet::default())
        .unwrap_or_default()
        .with(signal::SignalSet::of(&[libc::SIGCHLD]));
    let _ = signal::block(awaited);
    loop {
        while let Some((pid, status)) = reap() {
            if pid == command {
                let by_signal = status.terminating_signal().map(|number| 128 + number);
                sys::exit(status.exit_status().or(by_signal).unwrap_or(125));
            }
        }
        // If waiting fails, init can only try to reap again.
        match signal::wait_for(awaited) {
            Ok(libc::SIGCHLD) | Err(_) => {}
            Ok(number) => {
                let _ = signal::kill(command, number);
            }
        }
    }
}

/// Reaps the next process that has ended. Its SIGCHLD is consumed already, so after any other error this tries again.
fn reap() -> Option<(Pid, WaitStatus)> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::CHILD) => return None,
            Ok(Some((pid, status))) => return Some((Pid::from_raw(pid.as_raw_nonzero().get()), status)),
            Err(_) => {}
        }
    }
}
