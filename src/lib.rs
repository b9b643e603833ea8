//! `sandbox`: learn containers by building one in the open.
//!
//! A reading order for those who take it apart:
//!
//! 1. [`feature`]: the words that hold everywhere.
//! 2. [`namespaces`]: one file per namespace, each a page: what the kernel does, its flags, its steps, what to look at.
//! 3. [`cgroups`]: one file per controller, each limit in the spelling of v1 and of v2.
//! 4. [`security`]: what a process may still ask of the kernel, one file per thing that takes it away.
//! 5. [`rootfs`]: the files that a container sees, put together out of mounts.
//! 6. [`network`]: what leads out of a network namespace: a bridge, published ports.
//! 7. [`plan`]: a container is a list of system calls; [`plan::order`] says in which order and why.
//! 8. [`exec`]: the straight line that performs a plan.
//! 9. [`observe`]: the same readers outside and inside.
//! 10. [`demo`] and [`mistakes`]: what the kernel shows, as evidence.
//! 11. [`compare`]: any two processes of this machine, with those readers.
//! 12. [`render`]: how it all looks.

pub mod cgroups;
pub mod cli;
pub mod config;
pub mod diagnose;
pub mod error;
pub mod exec;
pub mod feature;
pub mod host;
pub mod namespaces;
pub mod network;
pub mod observe;
pub mod plan;
pub mod render;
pub mod rootfs;
pub mod security;
mod sys;
pub mod teach;
mod text;
pub mod value;
pub mod views;
