//! Why the kernel said no, and the narrowest way out.

use nix::errno::Errno;

use crate::plan::Step;
use crate::text::text;

/// A likely cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Sentences, then the files that prove them.
    pub why: Vec<String>,
    /// What to do, the narrowest first.
    pub todo: Vec<String>,
}

/// The likely cause of a step's failure on this machine.
pub fn cause(_step: &Step, errno: Errno) -> Cause {
    Cause { why: vec![errno.desc().to_owned()], todo: vec![text("common.todo.doctor")] }
}
