//! The famous ways out of a container, one file each: the attack, what it takes, and the wall that it meets in `run`. They
//! are made without that wall beside with it; of what each could break only what the kernel answers is shown.

mod capabilities;
mod fork_bomb;
mod leaked_descriptor;
mod masked;
mod own_program;
mod proc_sys;
mod release_agent;
mod suid;
mod symlink_mount;
mod tiocsti;
mod userns;

use super::MistakeEntry;
use crate::config::spec::Spec;
use crate::security::run_as::RunAs;
use crate::teach::demo::Stage;

pub(super) const MISTAKES: &[MistakeEntry] = &[
    ("capabilities", capabilities::attack),
    ("suid", suid::attack),
    ("userns", userns::attack),
    ("tiocsti", tiocsti::attack),
    ("own-program", own_program::attack),
    ("leaked-descriptor", leaked_descriptor::attack),
    ("symlink-mount", symlink_mount::attack),
    ("proc-sys", proc_sys::attack),
    ("masked", masked::attack),
    ("release-agent", release_agent::attack),
    ("fork-bomb", fork_bomb::attack),
];

/// Someone who isn't root: the caller, or nobody.
fn ordinary(stage: &Stage<'_>) -> Spec {
    let nobody = RunAs { uid: 65534, gid: 65534 };
    Spec { run_as: stage.host.privileged.then_some(nobody), ..Spec::default() }
}
