//! What a plan has around the container itself. `run` has all of it. A container that another process starts later has
//! less: the process that made it ends before.

use std::path::PathBuf;

/// What is around the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether the kernel kills the command when the process that made it ends.
    pub parent_death_signal: bool,
    /// Whether a process of `sandbox` may stay to serve published ports. Without it, a plan that publishes a port has a
    /// problem.
    pub relay: bool,
    /// Whether a journal lists what is made on the host, so that it is removed at the end of the run. Without it, the
    /// caller removes the cgroups and everything else.
    pub journal: bool,
    /// Whether the processes that the command leaves running are ended with it, where the kernel does not do that.
    pub ends_orphans: bool,
    /// What the command waits for when everything is set up and verified.
    pub hold: Hold,
    /// Descriptors 0 to 2 of the command.
    pub streams: Streams,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame {
            parent_death_signal: true,
            relay: true,
            journal: true,
            ends_orphans: true,
            hold: Hold::Gate,
            streams: Streams::Inherited,
        }
    }
}

/// What releases the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hold {
    /// The process that made the container, through the gate.
    #[default]
    Gate,
    /// Any process that opens this FIFO for writing, and closes it or writes to it. If the FIFO is removed before, the
    /// command is never executed.
    Fifo(PathBuf),
}

/// Where descriptors 0 to 2 of the command come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Streams {
    /// The caller's own.
    #[default]
    Inherited,
    /// A new terminal.
    Terminal,
    /// Three new pipes. The caller gets the other ends, or lets `exec` carry the bytes between these and its own
    /// descriptors.
    Pipes,
    /// Two such pipes for its output. Its input is /dev/null of the container.
    Output,
    /// /dev/null of the container.
    Null,
}

impl Streams {
    /// Those of the caller's descriptors 0 to 2 that the command does not get.
    pub fn replaced(self) -> &'static [i32] {
        if self == Streams::Inherited { &[] } else { &[0, 1, 2] }
    }
}
