//! Waits for the end of the command. Until then, signals are forwarded. Afterwards, what was made on the host is
//! undone.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgrp, getsid, tcgetpgrp, tcsetpgrp};
use procfs::process::{Stat, StatFlags, Status};

use super::pty::{TerminalRelay, from_background};
use super::signals::Arrived;
use super::{Container, Watch, kill_by_pidfd, relay};
use crate::error::{Error, Result};
use crate::observe::{cgroup, file};
use crate::plan::gate::Message;
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
    /// The exit status of `sandbox`: the command's own, or 128+N for signal N.
    pub fn status(self) -> u8 {
        let status = match self {
            Ended::Exited(status) => status,
            Ended::Killed(signal) => 128 + signal,
        };
        u8::try_from(status).unwrap_or(u8::MAX)
    }
}

impl Container {
    /// The PID on the host of the process that was made: the command, or init.
    pub fn pid(&self) -> Pid {
        self.child
    }

    /// Waits until the command ends, and forwards the signals that `sandbox` gets.
    ///
    /// # Errors
    /// Those of poll(2) and waitpid(2); the command was killed before execve(2).
    pub fn wait(&mut self, watch: &mut dyn Watch) -> Result<Ended> {
        self.wait_for_end(watch)?;
        let ended = self.reap();
        restore_foreground_group();
        if ended.as_ref().is_ok_and(|ended| i32::from(ended.status()) == 128 + libc::SIGSYS) {
            watch.filtered();
        }
        if let (Ok(ended), 1..) = (&ended, self.oom_kills) {
            watch.out_of_memory(self.oom_kills, self.memory_limit, *ended);
        }
        ended
    }

    /// Waits for the end of the command. If it has a new terminal, waits also until its output is printed. The mode
    /// of the user's terminal is always restored.
    fn wait_for_end(&mut self, watch: &mut dyn Watch) -> Result<()> {
        let master = self.slots.terminal.take();
        let mut relay =
            master.map(|master| TerminalRelay::start(master, &self.signals, self.keeps_files)).transpose()?;
        let mut dropped_before = false;
        let mut has_ended = false;
        let mut is_relay_heard = true;
        let mut timeout = Timeout::start(self.timeout)?;
        loop {
            while let Some(arrived) = self.signals.next() {
                match &mut relay {
                    None => {
                        let has_it = arrived.from_terminal && shares_session(self.child);
                        self.forward(arrived, has_it, &mut dropped_before, watch);
                    }
                    Some(relay) if relay.handle(arrived) => {}
                    // Only output is left to print, and nobody reads it.
                    Some(relay) if has_ended && arrived.ends() => relay.hang_up(),
                    // The command has another terminal, so the user's terminal has not sent the signal to it.
                    Some(relay) => relay
                        .with_terminal_restored(|| self.forward(arrived, false, &mut dropped_before, watch)),
                }
            }
            // After the signals: if the user resized the window and then typed, the command must know the new size
            // first.
            relay.iter_mut().for_each(TerminalRelay::transfer);
            if has_ended && relay.as_ref().is_none_or(TerminalRelay::is_done) {
                return Ok(());
            }
            let Some(pidfd) = &self.slots.pidfd else {
                return Err(Error::failed("the process of the command is not known"));
            };
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            ready.extend((!has_ended).then(|| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
            ready.extend(timeout.iter().map(|timeout| PollFd::new(timeout.timer.as_fd(), PollFlags::POLLIN)));
            ready.extend(relay.iter().flat_map(TerminalRelay::poll_set));
            let ports = self.slots.relay.as_ref().filter(|_| is_relay_heard);
            ready.extend(ports.map(|ports| PollFd::new(ports.gate.as_fd(), PollFlags::POLLIN)));
            let wait = relay.as_ref().map_or(PollTimeout::NONE, TerminalRelay::timeout);
            match poll(&mut ready, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::failed("cannot wait for the command").call("poll", errno)),
            }
            let has_just_ended = !has_ended && ready[1].any().unwrap_or(false);
            // The gate of the relay is the last descriptor.
            if ports.is_some() && ready.last().is_some_and(|gate| gate.any().unwrap_or(false)) {
                match ports.map(|ports| ports.gate.receive()) {
                    Some(Ok(Some((Message::Unreached(port), _)))) => match &mut relay {
                        Some(relay) => relay.with_terminal_restored(|| watch.unreached(port)),
                        None => watch.unreached(port),
                    },
                    // The relay has ended, and nothing more will come.
                    _ => is_relay_heard = false,
                }
            }
            if let Some(timeout) = timeout.as_mut().filter(|timeout| timeout.has_expired()) {
                self.end_by_timeout(timeout, watch);
            }
            if has_just_ended {
                has_ended = true;
                relay.iter_mut().for_each(TerminalRelay::command_ended);
            }
        }
    }

    /// The timeout: the first time the command gets SIGTERM, the second time SIGKILL.
    fn end_by_timeout(&self, timeout: &mut Timeout, watch: &mut dyn Watch) {
        let Some(pidfd) = &self.slots.pidfd else { return };
        let is_dropped = self.is_pid_one && !self.handles(Signal::SIGTERM);
        if timeout.has_sigterm {
            return kill_by_pidfd(pidfd.as_fd());
        }
        timeout.has_sigterm = true;
        watch.timed_out(self.timeout.unwrap_or_default(), is_dropped);
        if is_dropped {
            kill_by_pidfd(pidfd.as_fd());
        } else {
            send_signal(pidfd.as_fd(), Signal::SIGTERM);
        }
    }

    /// Forwards a signal. If the terminal sent it, the command in the same terminal `has_it_already`.
    fn forward(
        &self,
        arrived: Arrived,
        has_it_already: bool,
        dropped_before: &mut bool,
        watch: &mut dyn Watch,
    ) {
        let (Some(pidfd), Ok(signal)) = (&self.slots.pidfd, Signal::try_from(arrived.number)) else { return };
        // Read before the signal is sent: if the signal ends the command, its status has no masks any more.
        let is_dropped = self.is_pid_one && !self.handles(signal);
        if !has_it_already {
            send_signal(pidfd.as_fd(), signal);
        }
        if !is_dropped || matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
            return;
        }
        let kills = *dropped_before || !matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
        watch.dropped(signal, kills);
        if kills {
            kill_by_pidfd(pidfd.as_fd());
        }
        *dropped_before = true;
    }

    /// Whether the command has a handler for a signal, or has blocked it: the masks in /proc/PID/status.
    fn handles(&self, signal: Signal) -> bool {
        let status = file::parse::<Status>(format!("/proc/{}/status", self.child));
        let bit = 1_u64 << (signal as i32 - 1);
        status.is_ok_and(|status| (status.sigcgt | status.sigblk) & bit != 0)
    }

    fn reap(&mut self) -> Result<Ended> {
        let was_never_executed = self.executes && never_executed(self.child);
        let status = waitpid(self.child, None);
        self.reaped = true;
        relay::end(&mut self.slots, relay::DRAIN_TIME);
        // Read before the cgroup is removed, because its counters are removed too.
        self.oom_kills = self.memory.as_deref().map_or(0, cgroup::oom_kills);
        if self.oom_kills > 0 {
            self.memory_limit = self.memory.as_deref().and_then(cgroup::memory_limit);
        }
        self.slots.release_shares();
        self.journal.undo();
        match status {
            Ok(WaitStatus::Exited(_, status)) => Ok(Ended::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) if was_never_executed => {
                Err(self.killed_before_exec(signal))
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Ended::Killed(signal as i32)),
            Ok(other) => Err(Error::failed(format!("the command ended in an unexpected way: {other:?}"))),
            Err(errno) => {
                Err(Error::failed("cannot get the exit status of the command").call("wait4", errno))
            }
        }
    }

    /// The error for a child that was killed before execve(2). The gate is closed then too, as after execve(2).
    fn killed_before_exec(&self, signal: Signal) -> Error {
        let error = Error::failed(text_with("common.unborn", &[("signal", signal.as_str())]));
        match self.oom_kills {
            0 => error.why(text("common.unborn.why")),
            _ => error.why(text("common.unborn.oom")).todo(text("common.unborn.todo")),
        }
    }

    /// Kills the container.
    ///
    /// # Errors
    /// As [`Container::wait`].
    pub fn end(&mut self) -> Result<Ended> {
        if let Some(pidfd) = &self.slots.pidfd {
            kill_by_pidfd(pidfd.as_fd());
        }
        self.reap()
    }
}

/// The timeout of a command.
struct Timeout {
    timer: TimerFd,
    /// Whether the command has got SIGTERM.
    has_sigterm: bool,
}

impl Timeout {
    /// The time between SIGTERM and SIGKILL.
    const GRACE: Duration = Duration::from_secs(10);

    fn start(seconds: Option<u64>) -> Result<Option<Timeout>> {
        let Some(seconds) = seconds else { return Ok(None) };
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
                .and_then(|timer| {
                    let (first, then) = (Duration::from_secs(seconds), Timeout::GRACE);
                    timer.set(
                        Expiration::IntervalDelayed(first.into(), then.into()),
                        TimerSetTimeFlags::empty(),
                    )?;
                    Ok(timer)
                });
        let timer = timer.map_err(|errno| {
            Error::failed("cannot start the timer for the timeout").call("timerfd_create", errno)
        })?;
        Ok(Some(Timeout { timer, has_sigterm: false }))
    }

    fn has_expired(&self) -> bool {
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

/// Whether a process is in the session of `sandbox`. The terminal sends its signals only to processes of its own session.
fn shares_session(process: Pid) -> bool {
    getsid(Some(process)).is_ok_and(|session| getsid(None) == Ok(session))
}

/// Whether a process was killed by a signal before it called execve(2): the flag PF_FORKNOEXEC (linux/sched.h) in
/// /proc/PID/stat, proc_pid_stat(5). It must be read before the process is reaped.
fn never_executed(process: Pid) -> bool {
    let ended = waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    if !matches!(ended, Ok(WaitStatus::Signaled(..))) {
        return false;
    }
    let stat = file::parse::<Stat>(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| stat.flags & StatFlags::PF_FORKNOEXEC.bits() != 0)
}

fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
        let _ = rustix::process::pidfd_send_signal(pidfd, signal);
    }
}

/// A shell makes its own process group the foreground process group of the terminal. If the shell was killed, that
/// group does not exist any more. Then the group of `sandbox` becomes the foreground process group.
fn restore_foreground_group() {
    // Not std's stdin, which would allocate a buffer.
    let stdin = rustix::stdio::stdin();
    let is_gone = |group: Pid| nix::sys::signal::killpg(group, None) == Err(Errno::ESRCH);
    if tcgetpgrp(stdin).is_ok_and(is_gone) {
        from_background(|| tcsetpgrp(stdin, getpgrp()));
    }
}
