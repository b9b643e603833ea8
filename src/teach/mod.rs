//! What teaches: demonstrations, mistakes, comparisons, what works on this machine, and the same by other commands.

pub mod agent;
pub mod call;
pub mod compare;
pub mod demo;
pub mod doctor;
pub mod equivalents;
pub mod mistakes;
pub mod verify;
