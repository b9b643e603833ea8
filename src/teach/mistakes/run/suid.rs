//! A set-user-ID program that belongs to root runs as root, for every user who executes it. In a container, an ordinary
//! user can thus become root there.
//!
//! With no_new_privs, execve(2) ignores the set-user-ID bit. Child processes inherit this setting, and it cannot be
//! unset. prctl(2), PR_SET_NO_NEW_PRIVS

use std::os::unix::fs::MetadataExt;

use super::ordinary;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::teach::call::AttackCall;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

/// Set-user-ID programs. Most machines have at least one of them.
const PROGRAMS: [&str; 5] = ["/usr/bin/su", "/bin/su", "/usr/bin/passwd", "/usr/bin/newgrp", "/usr/bin/chsh"];

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "suid");
    let is_roots = |path: &&str| {
        std::fs::metadata(path).is_ok_and(|file| file.uid() == 0 && file.mode() & libc::S_ISUID != 0)
    };
    let Some(program) = PROGRAMS.into_iter().find(is_roots) else {
        return Ok(contrast.skip("run.skip.nosuid"));
    };
    let execute = AttackCall::ExecuteSetuid { program: program.into() };
    for no_new_privileges in [true, false] {
        let inside = stage.start(&Spec { no_new_privileges, ..ordinary(stage) }, Container)?;
        let answer = inside.perform(execute.clone())?;
        if !no_new_privileges && answer != Ok(0) {
            // The caller has no_new_privs already, or the filesystem is mounted with nosuid.
            return Ok(contrast.skip("run.skip.suid"));
        }
        contrast = contrast.showed(no_new_privileges, "INSIDE", &execute, answer_text(answer));
    }
    Ok(contrast)
}
