//! Stops `sandbox` together with its command, as a job of a shell.
//!
//! A stopped process notices nothing, not even that its child was killed, and only a shell with job control continues
//! it. So a copy of `sandbox` waits for the end of the command meanwhile, and continues `sandbox` then.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid, setpgid};

use crate::sys::clone::{self, Cloned};
use crate::sys::{self, signal};

/// The interval at which `sandbox` is continued, until it ends its guard: the command may end before `sandbox` stops.
const INTERVAL: Duration = Duration::from_millis(20);

/// Stops `sandbox` as Ctrl-Z does. Returns when it is continued, or when the command, which `command` is the pidfd of, has
/// ended. If no process can be created, it does not stop.
pub(super) fn stop(command: BorrowedFd<'_>) {
    let sandbox = getpid();
    match clone::fork() {
        Ok(Cloned::Child) => guard(sandbox, command),
        Ok(Cloned::Parent(guard, _)) => {
            signal::stop_self();
            let _ = kill(guard, Signal::SIGKILL);
            let _ = waitpid(guard, None);
        }
        Err(_) => {}
    }
}

/// Continues `sandbox` when the command has ended. It ends with `sandbox`. It has inherited the blocked signals.
fn guard(sandbox: Pid, command: BorrowedFd<'_>) -> ! {
    // In a process group of its own, it is not stopped with the group of `sandbox`.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = set_pdeathsig(Signal::SIGKILL);
    // The other descriptors are copies of locks and pipes.
    sys::close_all_but(&[command.as_raw_fd()]);
    let _ = poll(&mut [PollFd::new(command, PollFlags::POLLIN)], PollTimeout::NONE);
    while getppid() == sandbox {
        let _ = kill(sandbox, Signal::SIGCONT);
        std::thread::sleep(INTERVAL);
    }
    sys::exit(0)
}
