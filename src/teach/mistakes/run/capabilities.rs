//! A process that is root in a container and keeps all capabilities can change the whole machine.
//!
//! Root's privileges are divided into 41 capabilities. No namespace confines most of them, so a container must drop
//! them. This attack uses CAP_SYS_ADMIN to change the hostname. It does so in a new uts namespace, so the host keeps
//! its name. capabilities(7)

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Uts;
use crate::feature::Purpose::Container;
use crate::plan::call::uts;
use crate::security::capabilities::Capabilities;
use crate::teach::demo::user::effective;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "capabilities");
    let rename = uts::UtsCall::SetHostname("taken".into());
    for (capabilities, is_right) in [(Some(Capabilities::Default), true), (None, false)] {
        let inside = stage.start(&Spec { capabilities, ..Spec::of(Uts) }, Container)?;
        let set = effective(&inside)?;
        let answer = inside.perform(rename.clone())?;
        contrast = contrast.showed(is_right, "INSIDE", "/proc/self/status CapEff", set).showed(
            is_right,
            "INSIDE",
            &rename,
            answer_text(answer),
        );
    }
    Ok(contrast)
}
