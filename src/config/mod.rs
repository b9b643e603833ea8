//! What a container is to be: the spec that a user writes, and the plan that follows from it.

pub mod compose;
pub mod enter;
pub mod spec;
