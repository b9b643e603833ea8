//! What a container should be: the spec that a user writes, the config that it means, and the plan that is made from it.

pub mod complete;
pub mod compose;
pub mod container;
pub mod enter;
pub mod exec;
pub mod facts;
pub mod inherited;
mod joins;
pub mod of_image;
mod paths;
#[cfg(test)]
mod property;
pub mod spec;
