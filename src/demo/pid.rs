//! What the pid namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
