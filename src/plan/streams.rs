//! Standard input, output and error of a command with another user: which steps let it open them again.

use super::call::stream::StreamCall;
use super::order::Phase;
use super::{Actor, Draft};
use crate::host::Host;

/// Lets a command with the user ID `user` on the host open its pipes by /dev/stdout and the like. Root makes it the
/// owner, as container runtimes do. For an ordinary user, the child makes new pipes, in its user namespace. They belong to
/// root there, or to `owner`, if the command has another user.
pub fn plan_streams(draft: &mut Draft, host: &Host, user: u32, owner: Option<u32>) {
    for pipe in host.pipes.iter().filter(|pipe| pipe.owner != user) {
        let Some(&descriptor) = pipe.descriptors.first() else { continue };
        if host.uid == 0 && host.privileged {
            let own = StreamCall::Own { descriptor, user };
            draft.common(Phase::Prepare, Actor::Host, own, "stream.pipe.why");
            continue;
        }
        let mut step = |call, why| draft.common(Phase::Terminal, Actor::Child, call, why);
        step(StreamCall::Pipe { descriptor }, "stream.new.why");
        if let Some(owner) = owner {
            step(StreamCall::OwnInner(owner), "stream.own.why");
        }
        step(StreamCall::Send { descriptor }, "stream.send.why");
        step(StreamCall::Replace { descriptors: pipe.descriptors.clone() }, "stream.replace.why");
    }
}
