//! Standard input, output and error of a command with another user: which steps let it open them again.

use super::call::stream::StreamCall;
use super::order::Phase;
use super::{Actor, Draft};
use crate::host::Host;

/// Lets a command with the user ID `user` on the host open its pipes by /dev/stdout and the like. Root makes it the
/// owner, as container runtimes do. An ordinary user may not change an owner, but may let other users open a pipe of
/// their own.
pub fn plan_streams(draft: &mut Draft, host: &Host, user: u32) {
    for pipe in host.pipes.iter().filter(|pipe| pipe.owner != user) {
        let descriptor = pipe.descriptor;
        // Standard input is opened for reading, the others for writing.
        let wanted = if descriptor == 0 { 0o004 } else { 0o002 };
        let call = if host.uid == 0 && host.privileged {
            StreamCall::Own { descriptor, user }
        } else if pipe.owner == host.uid && pipe.mode & wanted == 0 {
            StreamCall::Open { descriptor, mode: pipe.mode | wanted }
        } else {
            continue;
        };
        draft.common(Phase::Prepare, Actor::Host, call, "stream.pipe.why");
    }
}
