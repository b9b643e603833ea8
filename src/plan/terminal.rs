//! A terminal for the command: which steps it takes, on which side. The calls are in `call/terminal.rs`.

use super::call::terminal::Terminal;
use super::order::Phase;
use super::{Actor, Draft};

/// Gives the command a terminal of its own. `inside`: the plan mounts a devpts, so that the terminal is made in that one
/// and has a name there (`/dev/pts/0`); the host's devpts has its names in the host's /dev.
pub fn plan_terminal(draft: &mut Draft, inside: bool) {
    // Inside it waits until that devpts stands, and then is the command's work: with an init, the command's alone.
    let (phase, actor) =
        if inside { (Phase::Terminal, Actor::Command) } else { (Phase::Prepare, Actor::Host) };
    draft.common(phase, actor, Terminal::Open, "terminal.open.why");
    draft.common(phase, actor, Terminal::Unlock, "terminal.unlock.why");
    draft.common(phase, actor, Terminal::Peer, "terminal.peer.why");
    draft.common(phase, actor, Terminal::Resize, "terminal.resize.why");
    if inside {
        draft.common(phase, actor, Terminal::Send, "terminal.send.why");
    }
    draft.common(Phase::Terminal, Actor::Command, Terminal::NewSession, "terminal.session.why");
    draft.common(Phase::Terminal, Actor::Command, Terminal::Control, "terminal.control.why");
    draft.common(Phase::Terminal, Actor::Command, Terminal::Stdio, "terminal.stdio.why");
}
