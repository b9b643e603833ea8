//! What a call requires: a version of the kernel, and a capability.

use caps::Capability;

use super::new_namespaces;
use crate::feature::Feature;
use crate::plan::Call;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::restrict::RestrictCall;

/// The kernel version that introduced a call or its flags: HISTORY in the manual pages.
pub(super) fn needs_version(call: &Call) -> (u32, u32) {
    let of_call = match call {
        Call::Process(
            ProcessCall::Clone { into_cgroup: true, .. } | ProcessCall::CloneHelper { into_cgroup: true, .. },
        ) => (5, 7),
        Call::Process(
            ProcessCall::Clone { .. } | ProcessCall::CloneHelper { .. } | ProcessCall::ForkCommand,
        ) => (5, 3),
        Call::Process(ProcessCall::Join { .. }) => (5, 8),
        _ => (0, 0),
    };
    let of_kind = |feature| match feature {
        Feature::Time => (5, 6),
        Feature::Cgroup => (4, 6),
        Feature::User => (3, 8),
        _ => (0, 0),
    };
    let asked = new_namespaces(call).map(Namespaces::features).unwrap_or_default();
    asked.into_iter().map(of_kind).fold(of_call, std::cmp::max)
}

/// The capability that a call needs: capabilities(7).
pub(super) fn needs(call: &Call) -> Option<Capability> {
    match call {
        // A user namespace needs no capability. The namespaces made in the same call belong to it.
        Call::Process(_) if new_namespaces(call).is_some_and(|asked| asked.contains(Feature::User)) => None,
        Call::Process(ProcessCall::ForkCommand) => None,
        Call::Process(_) if new_namespaces(call).is_some_and(|asked| *asked == Namespaces::default()) => None,
        Call::Process(
            ProcessCall::Clone { .. }
            | ProcessCall::CloneHelper { .. }
            | ProcessCall::Unshare { .. }
            | ProcessCall::Join { .. },
        ) => Some(Capability::CAP_SYS_ADMIN),
        Call::Process(ProcessCall::SetGroup(_) | ProcessCall::SetGroups(_)) => Some(Capability::CAP_SETGID),
        Call::Process(ProcessCall::SetUser(_)) => Some(Capability::CAP_SETUID),
        Call::Restrict(RestrictCall::Limit { .. }) => Some(Capability::CAP_SYS_RESOURCE),
        Call::Restrict(RestrictCall::Bound { .. }) => Some(Capability::CAP_SETPCAP),
        Call::Restrict(RestrictCall::Filter { .. }) => Some(Capability::CAP_SYS_ADMIN),
        Call::Mount(MountCall::Chdir { .. } | MountCall::ChdirInside { .. }) => None,
        Call::Mount(MountCall::Chroot { .. }) => Some(Capability::CAP_SYS_CHROOT),
        Call::DetachedMount(DetachedMountCall::MakeNode { .. }) => Some(Capability::CAP_MKNOD),
        Call::DetachedMount(
            DetachedMountCall::Open { .. }
            | DetachedMountCall::OpenOwn { .. }
            | DetachedMountCall::CopyDirectory { .. }
            | DetachedMountCall::MakeDirectory { .. }
            | DetachedMountCall::MakeFile { .. }
            | DetachedMountCall::MakeLink { .. }
            | DetachedMountCall::Enter,
        ) => None,
        Call::Mount(_) | Call::DetachedMount(_) | Call::Uts(_) => Some(Capability::CAP_SYS_ADMIN),
        Call::Net(_) | Call::Nftables(_) => Some(Capability::CAP_NET_ADMIN),
        Call::Cgroup(CgroupCall::AttachProgram { .. }) => Some(Capability::CAP_SYS_ADMIN),
        Call::Time(_) => Some(Capability::CAP_SYS_TIME),
        _ => None,
    }
}
