//! What the ipc namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
