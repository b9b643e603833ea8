//! A child in a session of its own.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;

/// Executes a command in a new session, with its standard input as the controlling terminal. Then the kernel sends it SIGWINCH
/// when the size of the terminal changes.
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
