//! What the user namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
