//! Any process may create a user namespace. In it, the process is root and has all capabilities over that namespace.
//!
//! These capabilities give no rights outside, but they allow calls into kernel code that was written for root only,
//! such as mounts and packet filters. Many kernel exploits begin with this call. unshare(CLONE_NEWUSER) needs no
//! capability, so dropping capabilities does not prevent it. A seccomp filter does. user_namespaces(7), seccomp(2)

use super::ordinary;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::User;
use crate::feature::Purpose::Container;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::security::seccomp::Seccomp;
use crate::teach::demo::user::effective;
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
        let set = effective(&inside)?;
        contrast = contrast.showed(is_right, "INSIDE", &unshare, answer_text(answer)).showed(
            is_right,
            "INSIDE",
            "/proc/self/status CapEff",
            set,
        );
    }
    Ok(contrast)
}
