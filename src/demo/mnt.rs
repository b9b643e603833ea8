//! What the mnt namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
