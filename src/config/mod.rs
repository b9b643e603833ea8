//! What a container should be: the spec that a user writes, and the plan that is made from it.

pub mod compose;
pub mod enter;
mod paths;
pub mod spec;
