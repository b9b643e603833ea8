//! Mistakes with the net namespace.

use super::Entry;

pub(super) const MISTAKES: &[Entry] = &[];
