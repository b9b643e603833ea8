//! waitid(2) with P_ALL and WNOWAIT: rustix does not return the PID, and nix knows no real-time signal.

use nix::unistd::Pid;

/// A child that has ended and is not reaped yet. It stays so.
pub(crate) fn ended_child() -> Option<Pid> {
    // SAFETY: all bytes zero is a value of this structure of numbers.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel writes one siginfo_t, which lives here.
    let found = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } == 0;
    // SAFETY: waitid(2) fills in the fields of SIGCHLD. If no child has ended, the PID stays 0.
    let pid = unsafe { info.si_pid() };
    (found && pid != 0).then_some(Pid::from_raw(pid))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_shown_until_it_is_reaped() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        // Other tests of this process may have children, too.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while ended_child().is_none() {
            assert!(std::time::Instant::now() < deadline, "{pid} ends");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(child.wait().unwrap().success());
        assert_ne!(ended_child(), Some(pid));
    }
}
