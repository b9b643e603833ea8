//! The eight namespaces, a page for each. All pages have the same order: what the namespace is, why one wants it, the
//! calls that make it, what changes in /proc, the manual page, the options, the steps, what to observe, the tests. `sysctls` has
//! the kernel parameters of all of them.

pub mod cgroup;
pub mod ipc;
pub mod mnt;
pub mod net;
pub mod pid;
pub mod sysctls;
pub mod time;
pub mod user;
pub mod uts;
