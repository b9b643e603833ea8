//! Mistakes with the mnt namespace.

use super::Entry;

pub(super) const MISTAKES: &[Entry] = &[];
