//! A terminal for the command: which steps it takes, on which side. The calls are in `call/terminal.rs`.

use super::call::terminal::TerminalCall;
use super::order::Phase;
use super::{Actor, Draft};

/// Gives the command a terminal of its own. `inside`: the plan mounts a devpts, so that the terminal is made in that one
/// and has a name there (`/dev/pts/0`); the host's devpts has its names in the host's /dev.
/// `owner` is who the slave is given to, by the number that they have where it's made.
pub fn plan_terminal(draft: &mut Draft, inside: bool, owner: Option<u32>) {
    // Inside it waits until that devpts stands.
    let (phase, actor) = if inside { (Phase::Terminal, Actor::Child) } else { (Phase::Prepare, Actor::Host) };
    draft.common(phase, actor, TerminalCall::Open, "terminal.open.why");
    draft.common(phase, actor, TerminalCall::Unlock, "terminal.unlock.why");
    draft.common(phase, actor, TerminalCall::Peer, "terminal.peer.why");
    if let Some(owner) = owner {
        draft.common(phase, actor, TerminalCall::Own(owner), "terminal.own.why");
    }
    draft.common(phase, actor, TerminalCall::Resize, "terminal.resize.why");
    if inside {
        draft.common(phase, actor, TerminalCall::Send, "terminal.send.why");
    }
    draft.common(Phase::Session, Actor::Command, TerminalCall::NewSession, "terminal.session.why");
    draft.common(Phase::Session, Actor::Command, TerminalCall::Control, "terminal.control.why");
    draft.common(Phase::Session, Actor::Command, TerminalCall::Stdio, "terminal.stdio.why");
}
