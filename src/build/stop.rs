//! What ends a build early: a signal, or a stage that has failed. All threads of the build ask here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::text::text;

/// Whether a build has to end.
#[derive(Debug)]
pub struct StopFlag {
    signals: Mutex<Signals>,
    /// The file of the signals, for poll(2).
    arrivals: OwnedFd,
    /// The signal that ends the build. 0: none has arrived.
    signal: AtomicI32,
    has_failed: AtomicBool,
    /// A pipe. Its writing end is closed when the build has to end, so that all threads that wait in poll(2) wake up.
    wake: io::PipeReader,
    awake: Mutex<Option<io::PipeWriter>>,
}

impl StopFlag {
    /// A build that goes on. The signals that end it are blocked.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(signals: Signals) -> Result<StopFlag> {
        let cannot = |call: &str, error: io::Error| Error::failed(text("build.signals")).call(call, error);
        let arrivals =
            signals.as_fd().try_clone_to_owned().map_err(|error| cannot("fcntl(F_DUPFD_CLOEXEC)", error))?;
        let (wake, awake) = io::pipe().map_err(|error| cannot("pipe2()", error))?;
        Ok(StopFlag {
            signals: Mutex::new(signals),
            arrivals,
            signal: AtomicI32::new(0),
            has_failed: AtomicBool::new(false),
            wake,
            awake: Mutex::new(Some(awake)),
        })
    }

    fn wake_all(&self) {
        drop(self.awake.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// A stage has failed, so the others end too.
    pub fn fail(&self) {
        self.has_failed.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    /// The signal that ends the build, if one has arrived.
    pub fn signal(&self) -> Option<i32> {
        if self.signal.load(Ordering::SeqCst) == 0
            && let Some(arrived) = self.signals.lock().unwrap_or_else(PoisonError::into_inner).next_end()
        {
            self.signal.store(arrived.number, Ordering::SeqCst);
            self.wake_all();
        }
        Some(self.signal.load(Ordering::SeqCst)).filter(|number| *number != 0)
    }

    /// Whether the build has to end.
    pub fn is_stopped(&self) -> bool {
        self.signal().is_some() || self.has_failed.load(Ordering::SeqCst)
    }

    /// Fails if the build has to end.
    ///
    /// # Errors
    /// It has to end.
    pub fn check(&self) -> Result<()> {
        match self.signal() {
            Some(number) => Err(Error::new(ExitKind::Interrupted(number), text("build.interrupted"))),
            None if self.has_failed.load(Ordering::SeqCst) => Err(Error::failed(text("build.other"))),
            None => Ok(()),
        }
    }

    /// As [`StopFlag::check`], inside of a copy. Its error is not the one that a caller sees.
    ///
    /// # Errors
    /// The build has to end.
    pub fn check_copy(&self) -> io::Result<()> {
        match self.is_stopped() {
            true => Err(io::Error::other(text("build.interrupted"))),
            false => Ok(()),
        }
    }

    /// What becomes readable when the build may have to end.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.arrivals.as_fd(), self.wake.as_fd()]
    }
}
