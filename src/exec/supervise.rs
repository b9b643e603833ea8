//! While the command runs: signals are passed on, its end is awaited, what it leaves is undone.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};
use procfs::process::{Stat, StatFlags, Status};

use super::pty::{TerminalRelay, in_the_background};
use super::signals::Arrived;
use super::{Container, Watch, kill, relay};
use crate::error::{Error, Result};
use crate::observe::{cgroup, file};
use crate::text::{text, text_with};

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
        self.until_end(watch)?;
        let ended = self.reap();
        take_back_the_terminal();
        if let (Ok(ended), 1..) = (&ended, self.oom_kills) {
            watch.out_of_memory(self.oom_kills, *ended);
        }
        ended
    }

    /// Up to the command's end, and, where it has a terminal of its own, up to the end of what it printed there. However
    /// this comes back, the user's terminal is as it was.
    fn until_end(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let master = self.slots.terminal.take();
        let mut relay = master.map(|master| TerminalRelay::start(master, &self.signals)).transpose()?;
        let mut dropped_before = false;
        let mut has_ended = false;
        let mut clock = Clock::start(self.timeout)?;
        loop {
            while let Some(arrived) = self.signals.next() {
                match &mut relay {
                    None => self.pass_on(arrived, arrived.from_terminal, &mut dropped_before, watch),
                    Some(relay) if relay.heard(arrived) => {}
                    // Only its last words are left, and nobody takes them.
                    Some(relay) if has_ended && arrived.ends() => relay.hang_up(),
                    // The user's terminal knows nothing of a command that has another one.
                    Some(relay) => relay.aside(|| self.pass_on(arrived, false, &mut dropped_before, watch)),
                }
            }
            // After the signals: who makes their window larger and then types means the larger one.
            relay.iter_mut().for_each(TerminalRelay::turn);
            if has_ended && relay.as_ref().is_none_or(TerminalRelay::is_done) {
                return Ok(());
            }
            let Some(pidfd) = &self.slots.pidfd else { return Err(Error::failed("the command is unknown")) };
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            ready.extend((!has_ended).then(|| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
            ready.extend(clock.iter().map(|clock| PollFd::new(clock.timer.as_fd(), PollFlags::POLLIN)));
            ready.extend(relay.iter().flat_map(TerminalRelay::awaited));
            let patience = relay.as_ref().map_or(PollTimeout::NONE, TerminalRelay::patience);
            match poll(&mut ready, patience) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::failed("cannot wait for the command").call("poll", errno)),
            }
            let ends_now = !has_ended && ready[1].any().unwrap_or(false);
            if let Some(clock) = clock.as_mut().filter(|clock| clock.has_rung()) {
                self.time_is_up(clock, watch);
            }
            if ends_now {
                has_ended = true;
                relay.iter_mut().for_each(TerminalRelay::finish);
            }
        }
    }

    /// First the command is asked to end, then it's made to.
    fn time_is_up(&self, clock: &mut Clock, watch: &mut dyn Watch) {
        let Some(pidfd) = &self.slots.pidfd else { return };
        let is_dropped = self.is_pid_one && !self.handles(Signal::SIGTERM);
        if clock.was_asked {
            return kill(pidfd.as_fd());
        }
        clock.was_asked = true;
        watch.timed_out(self.timeout.unwrap_or_default(), is_dropped);
        if is_dropped {
            kill(pidfd.as_fd());
        } else {
            forward(pidfd.as_fd(), Signal::SIGTERM);
        }
    }

    /// The terminal that we share with the command sends its signals there too; anyone else only to us.
    fn pass_on(
        &self,
        arrived: Arrived,
        knows_already: bool,
        dropped_before: &mut bool,
        watch: &mut dyn Watch,
    ) {
        let (Some(pidfd), Ok(signal)) = (&self.slots.pidfd, Signal::try_from(arrived.number)) else { return };
        // Asked before it is sent: what ends the command also ends its status file.
        let is_dropped = self.is_pid_one && !self.handles(signal);
        if !knows_already {
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
        let status = file::parse::<Status>(format!("/proc/{}/status", self.child));
        let bit = 1_u64 << (signal as i32 - 1);
        status.is_ok_and(|status| (status.sigcgt | status.sigblk) & bit != 0)
    }

    fn reap(&mut self) -> Result<Ended> {
        let never_began = self.executes && never_executed(self.child);
        let status = waitpid(self.child, None);
        self.reaped = true;
        relay::end(&mut self.slots, relay::LAST_WORDS);
        // Before the group goes, and its counters with it.
        self.oom_kills = self.memory.as_deref().map_or(0, cgroup::oom_kills);
        self.slots.release_shares();
        self.journal.undo();
        match status {
            Ok(WaitStatus::Exited(_, status)) => Ok(Ended::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) if never_began => Err(self.unborn(signal)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Ended::Killed(signal as i32)),
            Ok(other) => Err(Error::failed(format!("the command's end is unknown: {other:?}"))),
            Err(errno) => Err(Error::failed("cannot learn the command's end").call("wait4", errno)),
        }
    }

    /// The gate is closed by execve(2), but by a signal too.
    fn unborn(&self, signal: Signal) -> Error {
        let error = Error::failed(text_with("common.unborn", &[("signal", signal.as_str())]));
        match self.oom_kills {
            0 => error.why(text("common.unborn.why")),
            _ => error.why(text("common.unborn.oom")).todo(text("common.unborn.todo")),
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

/// The end of the time that a command has.
struct Clock {
    timer: TimerFd,
    was_asked: bool,
}

impl Clock {
    /// How long a command that was asked to end has for that.
    const GRACE: Duration = Duration::from_secs(10);

    fn start(seconds: Option<u64>) -> Result<Option<Clock>> {
        let Some(seconds) = seconds else { return Ok(None) };
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
                .and_then(|timer| {
                    let (first, then) = (Duration::from_secs(seconds), Clock::GRACE);
                    timer.set(
                        Expiration::IntervalDelayed(first.into(), then.into()),
                        TimerSetTimeFlags::empty(),
                    )?;
                    Ok(timer)
                });
        let timer =
            timer.map_err(|errno| Error::failed("cannot watch the time").call("timerfd_create", errno))?;
        Ok(Some(Clock { timer, was_asked: false }))
    }

    fn has_rung(&self) -> bool {
        self.timer.wait().is_ok()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.end();
        }
    }
}

/// Whether a signal has ended a process that never executed a program: PF_FORKNOEXEC of linux/sched.h, among the flags of
/// proc_pid_stat(5). It is read before the process is reaped.
fn never_executed(process: Pid) -> bool {
    let ended = waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    if !matches!(ended, Ok(WaitStatus::Signaled(..))) {
        return false;
    }
    let stat = file::parse::<Stat>(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| stat.flags & StatFlags::PF_FORKNOEXEC.bits() != 0)
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
        in_the_background(|| tcsetpgrp(stdin, getpgrp()));
    }
}
