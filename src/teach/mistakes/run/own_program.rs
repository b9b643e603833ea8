//! A process of the tool's own that is inside leads to the tool's file outside: /proc/PID/exe is a link that no root stops.
//! Whoever opens it there and is root outside too (no map of ids) can change the tool itself, which root runs next.
//!
//! A process that isn't dumpable can't be looked into: the kernel asks the same as for ptrace(2). execve(2) makes the command
//! dumpable again, and by then it's the command's own file. prctl(2), PR_SET_DUMPABLE; ptrace(2), access mode checking

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::plan::call::process::ProcessCall;
use crate::security::capabilities::Capabilities;
use crate::teach::demo::{Stage, answer_text, words};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "own-program");
    // Root with CAP_SYS_PTRACE may look into any process: that goes first.
    let capabilities = Some(Capabilities::Default);
    let attacker = stage.start(&Spec { capabilities, ..Spec::default() }, Container)?;
    for is_right in [true, false] {
        let (tool, pid) = match attacker.spawn(&[])? {
            Ok(made) => made,
            Err(_) => return Ok(contrast.skip("run.skip.nochild")),
        };
        if is_right {
            let answer = tool.perform(ProcessCall::Undumpable)?;
            contrast = contrast.right("SANDBOX", ProcessCall::Undumpable, answer_text(answer));
        }
        let program = words(attacker.link(&format!("/proc/{pid}/exe"))?);
        // The path is each machine's own; that there is one is what counts.
        let value = if program.starts_with('/') { "leads to sandbox's file".to_owned() } else { program };
        contrast = contrast.showed(is_right, "INSIDE", "readlink(/proc/<sandbox>/exe)", value);
    }
    Ok(contrast)
}
