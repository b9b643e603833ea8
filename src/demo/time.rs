//! What the time namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
