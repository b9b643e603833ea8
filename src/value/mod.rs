//! Values with a written form: sizes, durations, rates, mounts, points in time, shell quoting, the command line that the user typed,
//! keys that detach. Also how values are read, the nearest known name, and why a JSON document cannot be read.

pub(crate) mod bytes;
pub mod csv;
pub mod detach_keys;
pub mod join;
pub mod json_error;
pub mod mount;
pub(crate) mod nearest;
pub(crate) mod parse;
pub mod paste;
pub mod shell;
pub mod timestamp;
pub mod typed;
pub mod units;
