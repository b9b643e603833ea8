//! Mistakes with the pid namespace.

use super::Entry;

pub(super) const MISTAKES: &[Entry] = &[];
