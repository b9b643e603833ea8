//! A terminal for the command: which steps are necessary, and which process performs them. The calls are in
//! `call/terminal.rs`.

use super::call::terminal::{TerminalCall, TerminalSize};
use super::order::Phase;
use super::{Actor, Draft};

/// The devpts in which a terminal is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalPlace {
    /// The host's. The name of the terminal is in the host's /dev.
    Host,
    /// The one that the plan mounts. The terminal has a name in the container: `/dev/pts/0`.
    Inside,
    /// The one of a container that is joined.
    Joined,
}

/// Gives the command its own terminal. `owner` is the user who gets the slave, as an ID of the user namespace in which it
/// is made. `descriptors` are those of 0 to 2 that become the slave.
pub fn plan_terminal(
    draft: &mut Draft,
    place: TerminalPlace,
    owner: Option<u32>,
    size: Option<TerminalSize>,
    descriptors: Vec<i32>,
) {
    let inside = place != TerminalPlace::Host;
    // Inside, the devpts must be mounted first.
    let (phase, actor) = if inside { (Phase::Terminal, Actor::Child) } else { (Phase::Prepare, Actor::Host) };
    match place {
        TerminalPlace::Joined => draft.common(phase, actor, TerminalCall::OpenJoined, "terminal.joined.why"),
        _ => draft.common(phase, actor, TerminalCall::Open, "terminal.open.why"),
    }
    draft.common(phase, actor, TerminalCall::Unlock, "terminal.unlock.why");
    draft.common(phase, actor, TerminalCall::Peer, "terminal.peer.why");
    if let Some(owner) = owner {
        draft.common(phase, actor, TerminalCall::Own(owner), "terminal.own.why");
    }
    if inside {
        draft.common(phase, actor, TerminalCall::Send, "terminal.send.why");
    }
    // The child of `exec` no longer has the user's terminal.
    draft.common(phase, Actor::Host, TerminalCall::Resize(size), "terminal.resize.why");
    draft.common(Phase::Session, Actor::Command, TerminalCall::NewSession, "terminal.session.why");
    draft.common(Phase::Session, Actor::Command, TerminalCall::Control, "terminal.control.why");
    let stdio = TerminalCall::Stdio { descriptors };
    draft.common(Phase::Session, Actor::Command, stdio, "terminal.stdio.why");
}
