//! Standard input, output and error of the command: which steps replace them by pipes, or let a command with another user
//! open them again.

use super::call::stream::StreamCall;
use super::order::Phase;
use super::{Actor, Draft};
use crate::host::Host;

/// Replaces these descriptors of the command by new pipes, and sends the other ends to the host. The child makes
/// them in its own user namespace, where they belong to root, or to `owner`, if the command has another user.
pub fn plan_pipes(draft: &mut Draft, descriptors: &[i32], owner: Option<u32>) {
    for descriptor in descriptors {
        plan_pipe(draft, vec![*descriptor], owner, "stream.instead.why");
    }
}

/// Replaces these descriptors by /dev/null of the container. The command opens it itself, with no more privileges than it
/// has: the file belongs to the container, and the one of the host must not be reachable inside.
pub fn plan_null(draft: &mut Draft, descriptors: &[i32]) {
    let null = StreamCall::Null { descriptors: descriptors.to_vec() };
    draft.common(Phase::Session, Actor::Command, null, "stream.null.why");
}

/// A new pipe that replaces these descriptors.
fn plan_pipe(draft: &mut Draft, descriptors: Vec<i32>, owner: Option<u32>, why: &'static str) {
    let Some(&descriptor) = descriptors.first() else { return };
    let mut step = |call, why| draft.common(Phase::Terminal, Actor::Child, call, why);
    step(StreamCall::Pipe { descriptor }, why);
    if let Some(owner) = owner {
        step(StreamCall::OwnInner(owner), "stream.own.why");
    }
    step(StreamCall::Send { descriptor }, "stream.send.why");
    step(StreamCall::Replace { descriptors }, "stream.replace.why");
}

/// Lets a command with the user ID `user` on the host open its pipes by /dev/stdout and the like. Root makes it the
/// owner, as container runtimes do. For an ordinary user, and in the place of a pipe with a name, the child makes new
/// pipes, in its user namespace. They belong to root there, or to `owner`, if the command has another user.
pub fn plan_streams(draft: &mut Draft, host: &Host, user: u32, owner: Option<u32>) {
    for pipe in host.pipes.iter().filter(|pipe| pipe.owner != user) {
        let Some(&descriptor) = pipe.descriptors.first() else { continue };
        if host.uid == 0 && host.privileged && !pipe.is_named {
            let own = StreamCall::Own { descriptor, user };
            draft.common(Phase::Prepare, Actor::Host, own, "stream.pipe.why");
            continue;
        }
        plan_pipe(draft, pipe.descriptors.clone(), owner, "stream.new.why");
    }
}
