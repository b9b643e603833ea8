//! What the cgroup namespace shows.

use super::Entry;

pub(super) const CARDS: &[Entry] = &[];
