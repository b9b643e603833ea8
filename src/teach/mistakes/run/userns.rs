//! Anyone may make a user namespace, and is root in it: all capabilities over what belongs to that namespace.
//!
//! They give no right to what is outside, but they let one call code of the kernel that was written for root: mounts of odd
//! filesystems, packet filters. Most holes of the last years begin with this call. No capability stands before it, so only a
//! filter of system calls refuses it. user_namespaces(7), seccomp(2)

use super::ordinary;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::User;
use crate::feature::Purpose::Container;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::security::seccomp::Seccomp;
use crate::teach::demo::pid::field;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "userns");
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[User]) };
    for (seccomp, is_right) in [(Some(Seccomp::Default), true), (None, false)] {
        let inside = stage.start(&Spec { seccomp, no_new_privileges: true, ..ordinary(stage) }, Container)?;
        let answer = inside.perform(unshare.clone())?;
        if !is_right && answer.is_err() {
            return Ok(contrast.skip("run.skip.userns"));
        }
        let set = field(&inside, "/proc/self/status", "CapEff")?;
        contrast = contrast.showed(is_right, "INSIDE", &unshare, answer_text(answer)).showed(
            is_right,
            "INSIDE",
            "/proc/self/status CapEff",
            set,
        );
    }
    Ok(contrast)
}
