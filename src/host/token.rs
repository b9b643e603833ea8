//! Random names. After a crash, an undo relies on it that nobody else has chosen the same name.

use std::hash::{BuildHasher, Hasher};

/// 32 random bits. The standard library seeds its hash tables by getrandom(2).
pub fn token() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
