//! Children with a session of their own, or with the life of their parent.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

/// Executes a command in a new session, with its standard input as the controlling terminal. Then the kernel sends it SIGWINCH
/// when the size of the terminal changes.
#[cfg(feature = "daemon")]
pub(crate) fn with_terminal(command: &mut Command) -> &mut Command {
    let enter = || {
        nix::unistd::setsid()?;
        // SAFETY: the call has no pointer.
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
        Ok(())
    };
    // SAFETY: `enter` makes only system calls, as is required after fork(2).
    unsafe { command.pre_exec(enter) }
}

/// The kernel kills this child when its parent ends, which is the calling thread. It is in a process group of its own, so that
/// Ctrl-C on the terminal does not reach it, and has the signal dispositions with which this program was started.
pub(crate) fn dying_with_caller(command: &mut Command) -> &mut Command {
    let parent = getpid();
    let bind = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    let command = super::signal::restore_before(command.process_group(0));
    // SAFETY: `bind` makes only system calls, as is required after fork(2).
    unsafe { command.pre_exec(bind) }
}
