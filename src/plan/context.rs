//! What a feature may need to know about the rest of the container when it adds its steps.

use crate::error::Error;
use crate::feature::Feature;
use crate::host::{Host, JoinedNamespace};

/// The container around a feature. It is the same for all features of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// This machine and the caller.
    pub host: &'a Host,
    /// Whether the container has a root filesystem of its own.
    pub has_rootfs: bool,
    /// Whether a new /sys is mounted for a new network namespace.
    pub mounts_sys: bool,
    /// Whether the command is user 0.
    pub is_root: bool,
    /// Whether the command keeps CAP_SYS_ADMIN until execve(2): the kernel requires it for a seccomp filter without
    /// no_new_privileges.
    pub keeps_admin: bool,
}

impl<'a> Context<'a> {
    /// The context of a single feature, without the rest of a container.
    pub fn alone(host: &'a Host) -> Context<'a> {
        Context { host, has_rootfs: false, mounts_sys: false, is_root: true, keeps_admin: false }
    }

    /// Whether the namespace of this kind is one that exists already.
    pub fn joins(&self, kind: Feature) -> bool {
        let is_other =
            |found: &Result<JoinedNamespace, Error>| !found.as_ref().is_ok_and(|found| found.is_own);
        self.host.joins.iter().any(|(joined, found)| *joined == kind && is_other(found))
    }
}
