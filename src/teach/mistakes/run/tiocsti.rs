//! A command that shares the caller's terminal can put characters into its input with ioctl(TIOCSTI). After the
//! command has ended, the caller's shell reads them and executes them on the host.
//!
//! The seccomp filter denies TIOCSTI. It compares only the low 32 bits of the request, because the kernel ignores the
//! others. A filter that compared all 64 bits could be bypassed by setting a higher bit. ioctl_tty(2)
//!
//! The process here makes its own pseudoterminal. It plays the roles of both caller and command.

use nix::errno::Errno;

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::plan::call::terminal::TerminalCall;
use crate::security::seccomp::Seccomp;
use crate::teach::call::AttackCall;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "tiocsti");
    let attack = AttackCall::Type("reboot\n".into());
    for (seccomp, is_right) in [(Some(Seccomp::Default), true), (None, false)] {
        let inside = stage.start(&Spec { seccomp, no_new_privileges: true, ..Spec::default() }, Container)?;
        for call in [
            TerminalCall::Open,
            TerminalCall::Unlock,
            TerminalCall::Peer,
            TerminalCall::NewSession,
            TerminalCall::Control,
        ] {
            if inside.perform(call)?.is_err() {
                return Ok(contrast.skip("run.skip.noterminal"));
            }
        }
        let answer = inside.perform(attack.clone())?;
        if !is_right && answer == Err(Errno::EIO) {
            return Ok(contrast.skip("run.skip.tiocsti"));
        }
        let waiting = inside.perform(AttackCall::Waiting)?;
        contrast = contrast.showed(is_right, "INSIDE", &attack, answer_text(answer)).showed(
            is_right,
            "OUTSIDE",
            AttackCall::Waiting,
            answer_text(waiting),
        );
    }
    Ok(contrast)
}
