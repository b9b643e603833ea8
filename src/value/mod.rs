//! Values with a written form: sizes, durations, rates, and how they are read from text; words of a shell.

pub mod mount;
pub(crate) mod parse;
pub mod shell;
pub mod units;
