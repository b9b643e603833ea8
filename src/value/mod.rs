//! Values with a written form: sizes, durations, rates, mounts, shell quoting. Also how values are read, and the
//! nearest known name.

pub(crate) mod bytes;
pub mod mount;
pub(crate) mod nearest;
pub(crate) mod parse;
pub mod shell;
pub mod units;
