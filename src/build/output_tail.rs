//! The end of the output of a `RUN`, which is searched for the reason of its failure.

use std::sync::{Mutex, PoisonError};

/// The maximum size of the end, in bytes.
const MAX_TAIL: usize = 4 << 10;

/// The end of the output of a command.
#[derive(Default)]
pub(super) struct OutputTail(Mutex<Vec<u8>>);

impl OutputTail {
    /// Adds what the command has printed.
    pub(super) fn add(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let over = tail.len().saturating_sub(MAX_TAIL);
        tail.drain(..over);
    }

    /// Whether it has the text of an errno that the kernel returns for IDs that are not mapped: EINVAL or EPERM.
    pub(super) fn names_refusal(&self) -> bool {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = String::from_utf8_lossy(&tail);
        ["Invalid argument", "Operation not permitted", "invalid argument", "operation not permitted"]
            .iter()
            .any(|errno| tail.contains(errno))
    }
}
