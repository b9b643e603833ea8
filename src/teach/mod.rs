//! The parts for learning: demonstrations, mistakes made on purpose, comparisons, `sandbox doctor`, `sandbox verify`,
//! the course, the ledger, and the same as shell and docker commands.

pub mod agent;
pub mod call;
pub mod compare;
pub mod course;
pub mod demo;
pub mod difference;
pub mod doctor;
pub mod equivalents;
pub mod ledger;
pub mod mistakes;
mod replace;
pub mod stop_signal;
mod supervised;
pub mod verify;
