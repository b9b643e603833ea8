//! `sandbox` teaches what a container is: it makes one step by step, and shows each step.
//!
//! A reading order for an engineer who wants to know how it works:
//!
//! 1. [`namespaces::uts`]: one feature on one page, from what the kernel does to the tests.
//! 2. [`plan`]: a container is a list of system calls. [`plan::order`] has their order, and the reasons for it.
//! 3. [`config`]: a spec is completed to a config ([`config::container`]), and a plan is made from it
//!    ([`config::compose`]). Each feature adds its steps.
//! 4. [`exec`]: the host and the child perform the plan.
//! 5. [`views`]: what the same readers show outside and inside.
//! 6. [`teach`]: demonstrations and typical mistakes, with plans made in the same way.
//!
//! The modules below are in the order of the layers, from bottom to top. A module imports only from the groups above
//! its own. ARCHITECTURE.md has the whole picture.

// The table of features; the messages.
pub mod feature;
mod text;

// Values with a written form; errors.
pub mod error;
pub mod value;

// The only `unsafe` code: system calls that no crate wraps.
mod sys;

// Readers of /proc, /sys and cgroup files.
pub mod observe;

// Facts about this machine and the caller.
pub mod host;

// Calls, steps, their order, and how they are undone.
pub mod plan;

// What connects a network namespace to the outside.
pub mod network;

// A page for each feature.
pub mod cgroups;
pub mod namespaces;
pub mod rootfs;
pub mod security;

// The spec, and from a spec to a plan.
pub mod config;

// What a feature shows outside and inside; why a call failed.
pub mod diagnose;
pub mod views;

// Performs a plan.
pub mod exec;

// Images: their store, and how their layers are unpacked.
#[cfg(feature = "images")]
pub mod image;

// Containers that stay: their files, their supervisors, their clients.
pub mod container;

// Images from a Dockerfile.
#[cfg(feature = "images")]
pub mod build;

// Demonstrations, mistakes, comparisons, doctor, verify.
pub mod teach;

// Docker's HTTP API.
#[cfg(feature = "daemon")]
pub mod daemon;

// Text, pictures, JSON.
pub mod render;

// Flags, dispatch, exit status.
pub mod cli;
