//! Waits for the end of the command. Until then, signals are forwarded. Afterwards, what was made on the host is
//! undone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::{Pid, getpgid, getpgrp, getsid, tcgetpgrp, tcsetpgrp};
use procfs::process::{Stat, StatFlags, Status};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use super::attend::{Attendant, Unattended};
use super::carry::CarriedStream;
use super::detach::DetachableCopy;
use super::pty::{TerminalRelay, from_background};
use super::signals::Arrived;
use super::{Container, Watch, kill_by_pidfd, orphans, relay, space, stop, user_network};
use crate::error::{Error, Result};
use crate::observe::{cgroup, file, proc};
use crate::plan::gate::Message;
use crate::sys::signal::{self, SignalSet};
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

    /// Lets the command end when the process of a container ends, which has this pidfd. The kernel does that itself where
    /// the two are in one PID namespace.
    pub fn end_with(&mut self, container: OwnedFd) {
        self.container = Some(container);
    }

    /// Gives the command's new terminal no input from this process.
    pub fn give_no_input(&mut self) {
        self.has_input = false;
    }

    /// Lets the user detach from the command's new terminal, by the keys of `copy`.
    pub fn detach_with(&mut self, copy: DetachableCopy) {
        self.detachable = Some(copy);
    }

    /// Waits until the command ends, and forwards the signals that `sandbox` gets.
    ///
    /// # Errors
    /// Those of poll(2) and waitpid(2); the command was killed before execve(2).
    pub fn wait(&mut self, watch: &mut dyn Watch) -> Result<Ended> {
        self.wait_for(watch, &mut Unattended)
    }

    pub(super) fn wait_for(&mut self, watch: &mut dyn Watch, attendant: &mut dyn Attendant) -> Result<Ended> {
        self.wait_for_end(watch, attendant)?;
        let ended = self.reap();
        restore_foreground_group();
        let is_killed = matches!(ended, Ok(Ended::Killed(libc::SIGKILL)));
        if is_killed && self.container.as_ref().is_some_and(is_ending) {
            watch.container_ended();
        }
        if ended.as_ref().is_ok_and(|ended| i32::from(ended.status()) == 128 + libc::SIGSYS) {
            watch.filtered();
        }
        space::full(&self.spaces).iter().for_each(|full| watch.full(full));
        if !self.left_running.killed.is_empty() {
            watch.left_running(&self.left_running.killed);
        }
        if !self.left_running.running.is_empty() {
            watch.still_running(&self.left_running.running);
        }
        if let (Ok(ended), 1..) = (&ended, self.oom_kills) {
            watch.out_of_memory(self.oom_kills, self.memory_limit, *ended);
        }
        ended
    }

    /// Waits for the end of the command. If it has a new terminal, waits also until its output is printed. The mode
    /// of the user's terminal is always restored.
    fn wait_for_end(&mut self, watch: &mut dyn Watch, attendant: &mut dyn Attendant) -> Result<()> {
        let master = self.slots.terminal.take();
        let keys = self.detachable.as_ref().map(|copy| copy.keys.clone()).unwrap_or_default();
        let start =
            |master| TerminalRelay::start(master, &self.signals, self.keeps_files, self.has_input, keys);
        let mut relay = master.map(start).transpose()?;
        let mut streams = CarriedStream::all(std::mem::take(&mut self.slots.carried));
        let mut dropped_before = false;
        let (mut has_ended, mut has_container_ended) = (false, false);
        let mut is_relay_heard = true;
        let mut timeout = Timeout::start(self.timeout)?;
        // SIGCHLD may have arrived while `sandbox` waited for execve(2).
        if relay.is_none() && is_stopped(self.child) {
            self.stop();
        }
        loop {
            while let Some(arrived) = self.signals.next() {
                match &mut relay {
                    // At the end, all that is left is reaped.
                    _ if arrived.number == libc::SIGCHLD && has_ended => {}
                    _ if arrived.number == libc::SIGCHLD => {
                        if self.adopts {
                            orphans::reap(self.child);
                        }
                        if relay.is_none() && is_stopped(self.child) {
                            self.stop();
                        }
                    }
                    // The command belongs to another session, and does not stop. SIGTTIN and SIGTTOU can have arrived
                    // before the relay was started.
                    Some(relay) if arrived.stops() => relay.stop(|| self.stop()),
                    // Ctrl-Z is for the session of the terminal. A command that has joined a container is in another one, and
                    // runs on.
                    None if arrived.stops() && arrived.from_terminal && self.is_elsewhere() => self.stop(),
                    // Only output is left to carry, and nobody reads it.
                    None if has_ended && arrived.ends() => {
                        streams.iter_mut().for_each(CarriedStream::give_up);
                    }
                    None => self.forward(arrived, &mut dropped_before, watch),
                    Some(relay) if relay.handle(arrived) => {}
                    // Only output is left to print, and nobody reads it.
                    Some(relay) if has_ended && arrived.ends() => relay.hang_up(),
                    Some(relay) => {
                        relay.with_terminal_restored(|| self.forward(arrived, &mut dropped_before, watch));
                    }
                }
            }
            // After the signals: if the user resized the window and then typed, the command must know the new size
            // first.
            if let Some(relay) = &mut relay {
                relay.transfer_output();
                for number in relay.read_input() {
                    self.explain_key(number, relay, &mut dropped_before, watch);
                }
                relay.write_input();
                if relay.is_detached()
                    && let Some(copy) = self.detachable.take()
                {
                    relay.detach(copy);
                }
            }
            streams.iter_mut().for_each(CarriedStream::transfer);
            for (descriptor, errno) in streams.iter_mut().filter_map(CarriedStream::take_failure) {
                watch.output_lost(descriptor, errno);
            }
            let is_carried = streams.iter().all(CarriedStream::is_done);
            let is_attended = attendant.act(has_ended);
            if has_ended && is_carried && is_attended && relay.as_ref().is_none_or(TerminalRelay::is_done) {
                return Ok(());
            }
            let Some(pidfd) = &self.slots.pidfd else {
                return Err(Error::failed("the process of the command is not known"));
            };
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            ready.extend((!has_ended).then(|| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
            let container = self.container.as_ref().filter(|_| !has_ended && !has_container_ended);
            let place = ready.len();
            ready.extend(container.map(|container| PollFd::new(container.as_fd(), PollFlags::POLLIN)));
            ready.extend(timeout.iter().map(|timeout| PollFd::new(timeout.timer.as_fd(), PollFlags::POLLIN)));
            ready.extend(relay.iter().flat_map(TerminalRelay::poll_set));
            ready.extend(streams.iter().flat_map(CarriedStream::poll_set));
            ready.extend(attendant.poll_set());
            let ports = self.slots.relay.as_ref().filter(|_| is_relay_heard);
            ready.extend(ports.map(|ports| PollFd::new(ports.gate.as_fd(), PollFlags::POLLIN)));
            let wait = relay.as_ref().map_or(PollTimeout::NONE, TerminalRelay::timeout);
            let wait = shorter(shorter(wait, self.signals.timeout()), attendant.timeout());
            match poll(&mut ready, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::failed("cannot wait for the command").call("poll", errno)),
            }
            let has_just_ended = !has_ended && ready[1].any().unwrap_or(false);
            // In a PID namespace, the kernel has killed the command.
            if container.is_some() && ready[place].any().unwrap_or(false) {
                has_container_ended = true;
                kill_by_pidfd(pidfd.as_fd());
            }
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
                streams.iter_mut().for_each(CarriedStream::command_ended);
            }
        }
    }

    /// The timeout: the first time the command gets SIGTERM, the second time SIGKILL.
    fn end_by_timeout(&self, timeout: &mut Timeout, watch: &mut dyn Watch) {
        let Some(pidfd) = &self.slots.pidfd else { return };
        let is_dropped = self.is_dropped(libc::SIGTERM);
        if timeout.has_sigterm {
            return kill_by_pidfd(pidfd.as_fd());
        }
        timeout.has_sigterm = true;
        watch.timed_out(self.timeout.unwrap_or_default(), is_dropped);
        if is_dropped {
            kill_by_pidfd(pidfd.as_fd());
        } else {
            let _ = signal::send(pidfd.as_fd(), libc::SIGTERM);
        }
    }

    /// Forwards a signal. If it was sent to the process group, as by the terminal, a command in the same group has got it
    /// already.
    fn forward(&self, arrived: Arrived, dropped_before: &mut bool, watch: &mut dyn Watch) {
        let Some(pidfd) = &self.slots.pidfd else { return };
        let receiver = self.slots.command.as_ref().and_then(proc::pid_of).unwrap_or(self.child);
        let has_it_already =
            (arrived.from_terminal || arrived.to_group) && getpgid(Some(receiver)) == Ok(getpgrp());
        // Read before the signal is sent: if the signal ends the command, its status has no masks any more.
        let has_ended = has_it_already && has_ended(pidfd.as_fd());
        let is_dropped = !has_ended && self.is_dropped(arrived.number);
        let behind_init = self.slots.command.as_ref().filter(|_| arrived.stops());
        let stops_init = behind_init.is_some() && is_unhandled(receiver, arrived.number);
        if !has_it_already {
            // An init that is stopped at once could not forward it.
            let _ = signal::send(behind_init.unwrap_or(pidfd).as_fd(), arrived.number);
        }
        if is_dropped && arrived.ends() {
            self.explain_dropped(arrived.number, dropped_before, watch);
        } else if is_dropped && arrived.stops() || stops_init {
            // The kernel drops such a signal to process 1, but not SIGSTOP from outside. An init stops with its
            // command.
            let _ = signal::send(pidfd.as_fd(), libc::SIGSTOP);
        }
    }

    /// Whether the command is in another session, and so does not stop with this process.
    fn is_elsewhere(&self) -> bool {
        let receiver = self.slots.command.as_ref().and_then(proc::pid_of).unwrap_or(self.child);
        self.container.is_some() && getsid(Some(receiver)).is_ok_and(|session| Ok(session) != getsid(None))
    }

    /// A key for a signal was typed in the command's own terminal. If the signal is for process 1 and the kernel will
    /// drop it, this is explained, and the second time the command is killed.
    fn explain_key(
        &self,
        number: i32,
        relay: &TerminalRelay,
        dropped_before: &mut bool,
        watch: &mut dyn Watch,
    ) {
        if self.is_dropped(number) && relay.foreground_group() == Some(self.child) {
            relay.with_terminal_restored(|| self.explain_dropped(number, dropped_before, watch));
        }
    }

    /// The kernel has dropped a signal that asks the command to end. Kills the command, except at the first SIGINT or
    /// SIGQUIT, which may be a mistake of the user.
    fn explain_dropped(&self, number: i32, dropped_before: &mut bool, watch: &mut dyn Watch) {
        let kills = *dropped_before || ![libc::SIGINT, libc::SIGQUIT].contains(&number);
        watch.dropped(&signal::name(number), kills);
        if kills && let Some(pidfd) = &self.slots.pidfd {
            kill_by_pidfd(pidfd.as_fd());
        }
        *dropped_before = true;
    }

    /// Whether the kernel drops a signal: the command is process 1, and has neither a handler for it, nor has blocked
    /// or ignored it itself.
    fn is_dropped(&self, number: i32) -> bool {
        self.is_pid_one && is_unhandled(self.child, number)
    }

    /// Stops `sandbox` until it is continued or the command ends.
    fn stop(&self) {
        if !self.stops || self.signals.is_continued() {
            return;
        }
        self.slots.pidfd.iter().for_each(|pidfd| stop::stop(pidfd.as_fd()));
    }

    fn reap(&mut self) -> Result<Ended> {
        let was_never_executed = self.executes && never_executed(self.child);
        let status = rustix::process::Pid::from_raw(self.child.as_raw())
            .ok_or(rustix::io::Errno::CHILD)
            .and_then(|child| waitpid(Some(child), WaitOptions::empty()));
        self.reaped = true;
        relay::end(&mut self.slots, relay::DRAIN_TIME);
        user_network::end(&mut self.slots);
        if self.adopts {
            self.left_running = orphans::end();
        }
        if let Some(namespaces) = &self.own_namespaces {
            self.left_running = orphans::end_in(namespaces);
        }
        // Read before the cgroup is removed, because its counters are removed too.
        self.oom_kills = self.memory.as_deref().map_or(0, cgroup::oom_kills);
        if self.oom_kills > 0 {
            self.memory_limit = self.memory.as_deref().and_then(cgroup::memory_limit);
        }
        self.slots.release_shares();
        self.journal.undo();
        let status = status.map_err(|errno| {
            Error::failed("cannot get the exit status of the command").call("wait4", errno)
        })?;
        let status = status.map(|(_, status)| (status.exit_status(), status.terminating_signal()));
        match status {
            Some((Some(status), _)) => Ok(Ended::Exited(status)),
            Some((_, Some(signal))) if was_never_executed => Err(killed_before_exec(signal, self.oom_kills)),
            Some((_, Some(signal))) => Ok(Ended::Killed(signal)),
            other => Err(Error::failed(format!("the command ended in an unexpected way: {other:?}"))),
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

/// The shorter of two times to wait.
fn shorter(one: PollTimeout, other: PollTimeout) -> PollTimeout {
    match (one.is_none(), other.is_none()) {
        (true, _) => other,
        (_, true) => one,
        _ => one.min(other),
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

/// Whether a child has been stopped since this was last asked. `sandbox` stops with it, as nsenter(1) does.
pub(super) fn is_stopped(child: Pid) -> bool {
    let Some(child) = rustix::process::Pid::from_raw(child.as_raw()) else { return false };
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::Pid(child), options), Ok(Some(status)) if status.stopped())
}

/// Whether a process has ended: its pidfd is readable then.
pub(super) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Whether a process has ended, or is about to: it has the flag PF_EXITING (linux/sched.h), or a pending SIGKILL. Process 1
/// of a PID namespace ends only when all other processes of the namespace have ended and are reaped; each of these gets a
/// SIGKILL.
pub fn is_ending(pidfd: &OwnedFd) -> bool {
    const PF_EXITING: u32 = 4;
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    let is_exiting = |pid: Pid| {
        let stat = file::parse::<Stat>(format!("/proc/{pid}/stat"));
        let status = file::parse::<Status>(format!("/proc/{pid}/status"));
        stat.is_ok_and(|stat| stat.flags & PF_EXITING != 0)
            || status.is_ok_and(|status| (status.sigpnd | status.shdpnd) & KILL != 0)
    };
    let is_exiting = proc::read_pid_of(pidfd).is_ok_and(|pid| pid.is_none_or(is_exiting));
    // Last: of a process that is reaped in between, nothing can be read.
    is_exiting || has_ended(pidfd.as_fd())
}

/// Whether a process has not yet executed its command, is about to end, or has ended: the flags PF_FORKNOEXEC and PF_EXITING
/// (linux/sched.h), which every user can read.
pub fn is_starting_or_ending(process: i32) -> bool {
    let between = StatFlags::PF_FORKNOEXEC | StatFlags::PF_EXITING;
    let stat = file::parse::<Stat>(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| stat.flags & between.bits() != 0)
}

/// Whether a process was killed by a signal before it called execve(2): the flag PF_FORKNOEXEC (linux/sched.h) in
/// /proc/PID/stat, proc_pid_stat(5). It must be read before the process is reaped.
fn never_executed(process: Pid) -> bool {
    let stat = || file::parse::<Stat>(format!("/proc/{process}/stat"));
    killed_by(process).is_some() && stat().is_ok_and(|stat| stat.flags & StatFlags::PF_FORKNOEXEC.bits() != 0)
}

/// The signal that has ended a child. It waits for the end of the child and doesn't reap it.
pub(super) fn killed_by(child: Pid) -> Option<i32> {
    let id = rustix::process::Pid::from_raw(child.as_raw())?;
    waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok()??.terminating_signal()
}

/// The error for a child that was killed before execve(2).
pub(super) fn killed_before_exec(number: i32, oom_kills: u64) -> Error {
    let error = Error::failed(text_with("common.unborn", &[("signal", &signal::name(number))]));
    match oom_kills {
        0 if number == libc::SIGSYS => error.why(text("common.unborn.filtered")),
        0 => error.why(text("common.unborn.why")),
        _ => error.why(text("common.unborn.oom")).todo(text("common.unborn.todo")),
    }
}

/// Whether a process has no handler for a signal, and has neither blocked nor ignored it: the masks in /proc/PID/status.
/// The kernel drops such a signal to process 1 of a PID namespace.
pub fn is_unhandled(process: Pid, number: i32) -> bool {
    let status = file::parse::<Status>(format!("/proc/{process}/status"));
    !status.is_ok_and(|status| {
        SignalSet::from_bits(status.sigcgt | status.sigblk | status.sigign).contains(number)
    })
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
