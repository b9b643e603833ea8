//! Names that no one else chooses: what an undo after a crash relies on.

use std::hash::{BuildHasher, Hasher};

/// 32 random bits. std seeds its hash tables by getrandom(2).
pub fn token() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
