//! A container that one process makes and another one starts: OCI `create` and `start`. Its command waits at a FIFO, when
//! everything is set up and verified.

use nix::unistd::Pid;

use super::{Container, Watch, perform};
use crate::error::{Error, Result};
use crate::plan::{Hold, Plan};
use crate::text::text;

/// Performs a plan whose [`Hold`] is a FIFO, up to that point: the command waits for its release. The caller can end:
/// see [`Container::leave`].
///
/// # Errors
/// As [`super::start`]; or the plan waits for no FIFO.
pub fn create(plan: &Plan, watch: &mut dyn Watch) -> Result<Container> {
    match plan.frame.hold {
        Hold::Fifo(_) => perform(plan, watch, None, None),
        Hold::Gate => Err(Error::failed(text("exec.hold.none"))),
    }
}

impl Container {
    /// Leaves a container that waits for its release: this process does not kill it, and removes nothing. If the plan has
    /// a parent-death signal, the kernel kills the container when this process ends; if it has a journal, the next
    /// `sandbox` command does.
    pub fn leave(mut self) -> Pid {
        self.journal.close_in_child();
        self.reaped = true;
        self.child
    }
}
