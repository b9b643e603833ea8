//! Known attacks by which a process escapes from a container or harms the host, one in each file.
//!
//! Each file describes the attack, what it needs, and the protection of `sandbox run` against it. The attack is tried
//! once with the protection and once without it. It does no damage: only the answer of the kernel is shown.

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

/// A spec whose process is not root: it runs as the caller, or as the user nobody if the caller is root.
fn ordinary(stage: &Stage<'_>) -> Spec {
    let nobody = RunAs { uid: 65534, gid: 65534 };
    Spec { run_as: stage.host.privileged.then_some(nobody), ..Spec::default() }
}
