//! Each cgroup v1 hierarchy has a file release_agent that names a program. When a cgroup becomes empty, the kernel
//! runs that program as root on the host.
//!
//! A process that can mount such a hierarchy can write to this file. Mounting requires CAP_SYS_ADMIN, which a
//! container does not keep by default. Nothing is written here. cgroups(7), release_agent; CVE-2022-0492

use std::path::PathBuf;

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::observe::hierarchy::{Version, hierarchies};
use crate::plan::call::mount::MountCall;
use crate::rootfs::Rootfs;
use crate::security::capabilities::Capabilities;
use crate::teach::call::{AttackCall, DemoCall};
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "release-agent");
    let first =
        |version| hierarchies("/proc/self").into_iter().find(|hierarchy| hierarchy.version == version);
    let (true, Some(hierarchy)) = (stage.host.privileged, first(Version::V1)) else {
        return Ok(contrast.skip("run.skip.releaseagent"));
    };
    // The mount is in the container's mount namespace, on a directory of the container.
    let target = PathBuf::from("/tmp");
    let open = AttackCall::OpenToWrite { path: target.join("release_agent") };
    let controllers = hierarchy.controllers.into_iter().filter(|name| !["rw", "ro"].contains(&name.as_str()));
    let data = Some(controllers.collect::<Vec<_>>().join(","));
    let mount = MountCall::Filesystem { kind: "cgroup".into(), target, data };
    for (capabilities, is_right) in [(Some(Capabilities::Default), true), (None, false)] {
        let inside =
            stage.start(&Spec { rootfs: Some(Rootfs::Host), capabilities, ..Spec::default() }, Container)?;
        for call in [DemoCall::from(mount.clone()), DemoCall::from(open.clone())] {
            contrast = contrast.showed(is_right, "INSIDE", &call, answer_text(inside.perform(call.clone())?));
        }
    }
    Ok(contrast)
}
