//! Values with a written form: sizes, durations, rates, shell words, how they are read from text, and the nearest known name.

pub mod mount;
pub(crate) mod nearest;
pub(crate) mod parse;
pub mod shell;
pub mod units;
