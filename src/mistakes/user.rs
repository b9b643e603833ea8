//! Mistakes with the user namespace.

use super::Entry;

pub(super) const MISTAKES: &[Entry] = &[];
