//! Mistakes with the ipc namespace.

use super::Entry;

pub(super) const MISTAKES: &[Entry] = &[];
