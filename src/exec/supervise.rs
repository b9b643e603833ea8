//! While the command runs: signals are passed on, its end is awaited, what it leaves is undone.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

use super::signals::Arrived;
use super::{Container, Watch, kill};
use crate::error::{Error, Result};
use crate::observe::cgroup;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Ended {
    /// The exit status by the contract: its own, or 128+N.
    pub fn status(self) -> u8 {
        let status = match self {
            Ended::Exited(status) => status,
            Ended::Killed(signal) => 128 + signal,
        };
        u8::try_from(status).unwrap_or(u8::MAX)
    }
}

impl Container {
    /// The command's number outside.
    pub fn pid(&self) -> Pid {
        self.child
    }

    /// Waits for the command's end, passing on what is sent to `sandbox`.
    ///
    /// # Errors
    /// When the kernel can't tell: no more than poll(2) and waitpid(2) can.
    pub fn wait(&mut self, watch: &mut dyn Watch) -> Result<Ended> {
        let mut dropped_before = false;
        loop {
            while let Some(arrived) = self.signals.next() {
                self.pass_on(arrived, &mut dropped_before, watch);
            }
            let Some(pidfd) = &self.slots.pidfd else { return Err(Error::failed("the command is unknown")) };
            let mut ready = [
                PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::failed("cannot wait for the command").call("poll", errno)),
            }
            if ready[0].any().unwrap_or(false) {
                let ended = self.reap();
                take_back_the_terminal();
                if let (Ok(ended), 1..) = (&ended, self.oom_kills) {
                    watch.out_of_memory(self.oom_kills, *ended);
                }
                return ended;
            }
        }
    }

    /// The terminal sends its signals to the command too; anyone else only to us.
    fn pass_on(&self, arrived: Arrived, dropped_before: &mut bool, watch: &mut dyn Watch) {
        let (Some(pidfd), Ok(signal)) = (&self.slots.pidfd, Signal::try_from(arrived.number)) else { return };
        // Asked before it is sent: what ends the command also ends its status file.
        let is_dropped = self.is_pid_one && !self.handles(signal);
        if !arrived.from_terminal {
            forward(pidfd.as_fd(), signal);
        }
        if !is_dropped || matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
            return;
        }
        let kills = *dropped_before || !matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
        watch.dropped(signal, kills);
        if kills {
            kill(pidfd.as_fd());
        }
        *dropped_before = true;
    }

    /// Whether the command catches a signal, or has blocked it to take it later: the masks of /proc/PID/status.
    fn handles(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child)).unwrap_or_default();
        let bit = 1_u64 << (signal as i32 - 1);
        let mut masks = status
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| matches!(*name, "SigCgt" | "SigBlk"));
        masks.any(|(_, mask)| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & bit != 0))
    }

    fn reap(&mut self) -> Result<Ended> {
        let status = waitpid(self.child, None);
        self.reaped = true;
        // Before the group goes, and its counters with it.
        self.oom_kills = self.memory.as_deref().map_or(0, cgroup::oom_kills);
        self.slots.shares.clear();
        self.journal.undo();
        match status {
            Ok(WaitStatus::Exited(_, status)) => Ok(Ended::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Ended::Killed(signal as i32)),
            Ok(other) => Err(Error::failed(format!("the command's end is unknown: {other:?}"))),
            Err(errno) => Err(Error::failed("cannot learn the command's end").call("wait4", errno)),
        }
    }

    /// Ends it from outside, at once.
    ///
    /// # Errors
    /// As [`Container::wait`].
    pub fn end(&mut self) -> Result<Ended> {
        if let Some(pidfd) = &self.slots.pidfd {
            kill(pidfd.as_fd());
        }
        self.reap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.end();
        }
    }
}

fn forward(pidfd: BorrowedFd<'_>, signal: Signal) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
        let _ = rustix::process::pidfd_send_signal(pidfd, signal);
    }
}

/// A shell makes its own group the terminal's foreground one. One that was killed didn't give it back: the group is gone.
fn take_back_the_terminal() {
    // Not std's stdin: that would make a buffer, at every end of every command.
    let stdin = rustix::stdio::stdin();
    let is_gone = |group: Pid| nix::sys::signal::killpg(group, None) == Err(Errno::ESRCH);
    if tcgetpgrp(stdin).is_ok_and(is_gone) {
        // From the background, tcsetpgrp would stop us by SIGTTOU; blocked, it doesn't.
        let mut set = nix::sys::signal::SigSet::empty();
        set.add(Signal::SIGTTOU);
        let _ = set.thread_block();
        let _ = tcsetpgrp(stdin, getpgrp());
        let _ = set.thread_unblock();
    }
}
