//! Values with a written form: sizes, durations, rates, and how they are read from text.

pub(crate) mod parse;
pub mod units;
