//! The eight namespaces, one file each, all in the same order: what the kernel does, the manual page, the flags,
//! the steps, what to look at, the tests.

pub mod cgroup;
pub mod ipc;
pub mod mnt;
pub mod net;
pub mod pid;
pub mod time;
pub mod user;
pub mod uts;
