//! What the net namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
