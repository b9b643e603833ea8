//! While a process of the tool itself runs inside, /proc/PID/exe is a link to the tool's file on the host. A process
//! in the container can open it. Without a user namespace its root is root of the host and can overwrite the tool
//! (CVE-2019-5736).
//!
//! The protection: the process is made undumpable. The kernel then refuses access to its /proc/PID/exe, as for
//! ptrace(2). execve(2) makes it dumpable again, but then the link leads to the file of the command. prctl(2),
//! PR_SET_DUMPABLE; ptrace(2), access mode checking

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::plan::call::process::ProcessCall;
use crate::security::capabilities::Capabilities;
use crate::teach::demo::{Stage, answer_text, one_line};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "own-program");
    // With CAP_SYS_PTRACE the attacker could access any process, so it must not have that capability.
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
        let program = one_line(attacker.link(&format!("/proc/{pid}/exe"))?);
        // The path differs on each machine. It only matters that the link can be read.
        let value = if program.starts_with('/') { "leads to sandbox's file".to_owned() } else { program };
        contrast = contrast.showed(is_right, "INSIDE", "readlink(/proc/<sandbox>/exe)", value);
    }
    Ok(contrast)
}
