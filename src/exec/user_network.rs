//! The end of the program that connects the container of an ordinary user.

use std::os::fd::AsFd;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::kill_by_pidfd;
use crate::plan::slots::Slots;

/// Called by the host when the container has ended: ends the program. It keeps nothing that must be written first.
pub(super) fn end(slots: &mut Slots) {
    let Some(program) = slots.user_network.take() else { return };
    kill_by_pidfd(program.pidfd.as_fd());
    // By the pidfd: it may have ended before, and been reaped with the orphans of the container.
    let _ = waitid(WaitId::PidFd(program.pidfd.as_fd()), WaitIdOptions::EXITED);
}
