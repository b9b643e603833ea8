//! A command that shares the caller's terminal can type into it: what it "types" the caller's shell reads afterwards, outside.
//!
//! TIOCSTI puts a byte into the queue of what was typed. A filter refuses it by the low 32 bits of its number, since the
//! kernel takes no more: one that compared 64 was got round with another bit. ioctl_tty(2)
//!
//! The terminal here is one that the process makes for itself; it plays both the caller and the command.

use nix::errno::Errno;

use crate::demo::{Stage, answer_text};
use crate::error::Result;
use crate::feature::Feature::Run;
use crate::mistakes::Contrast;
use crate::plan::call::attack::Attack;
use crate::plan::call::terminal::Terminal;
use crate::security::seccomp::Seccomp;
use crate::spec::Spec;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Run, "tiocsti");
    let attack = Attack::Type("reboot\n".into());
    for (seccomp, is_right) in [(Some(Seccomp::Default), true), (None, false)] {
        let inside = stage.start(&Spec { seccomp, no_new_privileges: true, ..Spec::default() }, Run)?;
        for call in
            [Terminal::Open, Terminal::Unlock, Terminal::Peer, Terminal::NewSession, Terminal::Control]
        {
            if inside.perform(call)?.is_err() {
                return Ok(contrast.skip("run.skip.noterminal"));
            }
        }
        let answer = inside.perform(attack.clone())?;
        if !is_right && answer == Err(Errno::EIO) {
            return Ok(contrast.skip("run.skip.tiocsti"));
        }
        let waiting = inside.perform(Attack::Waiting)?;
        contrast = contrast.showed(is_right, "INSIDE", &attack, answer_text(answer)).showed(
            is_right,
            "OUTSIDE",
            Attack::Waiting,
            answer_text(waiting),
        );
    }
    Ok(contrast)
}
