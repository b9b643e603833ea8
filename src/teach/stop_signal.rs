//! What a stop signal does to process 1 of a container: it gets SIGTERM as from `sandbox stop`, and SIGKILL a second later.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollTimeout};

use crate::error::{Error, Result};
use crate::exec::{self, Attendant, Ended, Unwatched};
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::observe::processes::processes;
use crate::plan::Plan;
use crate::sys::signal;
use crate::text::text;

/// The time from SIGTERM to SIGKILL here. `stop` waits ten seconds.
const GRACE: Duration = Duration::from_secs(1);

/// How long a container may take until its command can get the signal.
const READY: Duration = Duration::from_secs(10);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// What its process 1 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstProcess {
    /// `sleep`, which has no handler.
    Sleep,
    /// A shell with a handler for SIGTERM.
    Handler,
    /// An init, whose child is `sleep`.
    Init,
}

/// What was seen of a container.
#[derive(Debug)]
pub struct StoppedContainer {
    /// The mask of the signals for which process 1 has a handler.
    pub caught: String,
    /// Whether it ran on after SIGTERM.
    pub survived: bool,
    /// How it ended.
    pub ended: Ended,
}

/// Whether SIGTERM is in a mask of /proc/PID/status.
pub fn has_term(mask: &str) -> bool {
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
}

/// Starts a container with this process 1, and stops it.
///
/// # Errors
/// It cannot be started.
pub fn stop(plan: &Plan, first: FirstProcess) -> Result<StoppedContainer> {
    let mut container = exec::start(plan, &mut Unwatched)?;
    let pidfd = container.pidfd().and_then(|pidfd| pidfd.try_clone_to_owned().ok());
    let mut stopper = Stopper {
        pid: container.pid().as_raw(),
        first,
        pidfd: pidfd.ok_or_else(|| Error::failed(text("container.demo.cannot")))?,
        ready_by: Instant::now() + READY,
        kill_at: None,
        caught: String::new(),
        survived: false,
    };
    let ended = container.wait_attended(&mut Unwatched, &mut stopper)?;
    Ok(StoppedContainer { caught: stopper.caught, survived: stopper.survived, ended })
}

/// Stops a container as its supervisor does: SIGTERM, and after a time SIGKILL.
struct Stopper {
    pid: i32,
    first: FirstProcess,
    pidfd: OwnedFd,
    ready_by: Instant,
    /// When SIGKILL follows. None: SIGTERM was not sent yet.
    kill_at: Option<Instant>,
    caught: String,
    survived: bool,
}

impl Stopper {
    /// The mask of its handlers, once its command runs and has set its own.
    fn handlers(&self) -> Option<String> {
        let status = file::read_text(format!("/proc/{}/status", self.pid)).ok()?;
        let mask = status_of(&status, "SigCgt")?.to_owned();
        let is_sleep = |name: &str| name == "sleep";
        let is_ready = match self.first {
            FirstProcess::Init => {
                processes().values().any(|one| one.parent == self.pid && is_sleep(&one.name))
            }
            FirstProcess::Handler => has_term(&mask),
            FirstProcess::Sleep => status_of(&status, "Name").is_some_and(is_sleep),
        };
        (is_ready || Instant::now() > self.ready_by).then_some(mask)
    }
}

impl Attendant for Stopper {
    fn act(&mut self, has_ended: bool) -> bool {
        if has_ended {
            return true;
        }
        match self.kill_at {
            None => {
                if let Some(mask) = self.handlers() {
                    self.caught = mask;
                    let _ = signal::send(self.pidfd.as_fd(), libc::SIGTERM);
                    self.kill_at = Some(Instant::now() + GRACE);
                }
            }
            Some(kill_at) if Instant::now() >= kill_at && !self.survived => {
                self.survived = true;
                let _ = signal::send(self.pidfd.as_fd(), libc::SIGKILL);
            }
            Some(_) => {}
        }
        false
    }

    fn poll_set(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }

    fn timeout(&self) -> PollTimeout {
        let left = match self.kill_at {
            None => PAUSE,
            Some(_) if self.survived => return PollTimeout::NONE,
            Some(kill_at) => kill_at.saturating_duration_since(Instant::now()) + Duration::from_millis(1),
        };
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }
}
