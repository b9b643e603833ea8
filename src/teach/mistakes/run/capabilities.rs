//! Root inside with every capability: root's power, only seen through namespaces.
//!
//! Each part of the kernel asks for one capability of 41; most of them have no namespace that would bound them. Here one is
//! tried that has: the hostname of a uts namespace, so that nobody else's changes. capabilities(7)

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Uts;
use crate::feature::Purpose::Container;
use crate::plan::call::uts;
use crate::security::capabilities::Capabilities;
use crate::teach::demo::pid::field;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "capabilities");
    let rename = uts::UtsCall::SetHostname("taken".into());
    for (capabilities, is_right) in [(Some(Capabilities::Default), true), (None, false)] {
        let inside = stage.start(&Spec { capabilities, ..Spec::of(Uts) }, Container)?;
        let set = field(&inside, "/proc/self/status", "CapEff")?;
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
