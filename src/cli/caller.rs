//! What is refused before a command line is performed: a privilege that the caller does not have, a small stack, a value that is
//! not UTF-8.

use std::ffi::OsString;

use nix::sys::resource::{Resource, getrlimit};

use crate::error::Error;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The answer to a value that is not UTF-8, where only text has a meaning. clap does not report which one it is.
pub(super) fn bad_bytes(arguments: &[OsString]) -> Error {
    let own = arguments.iter().take_while(|word| *word != "--");
    let value = own.filter(|word| word.to_str().is_none()).map(printed).next().unwrap_or_default();
    Error::usage(text_with("common.utf8", &[("value", &value)])).why(text("common.utf8.reason"))
}

/// The refusal of a set-user-ID, set-group-ID or capable copy of this program: it runs any command for its caller, with
/// all the privileges that it has. After sudo(8) and su(1), the real and the effective IDs are equal. A security module
/// can set AT_SECURE too, without any such privilege.
pub(super) fn refused_privilege() -> Option<Error> {
    if !crate::sys::is_secure_execution() {
        return None;
    }
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let differs = user != nix::unistd::getuid() || group != nix::unistd::getgid();
    let has_capabilities = || caps::read(None, caps::CapSet::Permitted).is_ok_and(|set| !set.is_empty());
    let is_refused = differs || (!user.is_root() && has_capabilities());
    let program = std::env::current_exe().unwrap_or_default();
    is_refused.then(|| {
        Error::failed(text("common.secure.what"))
            .why(text("common.secure.reason"))
            .step(&text("common.secure.mode"), format!("sudo chmod ug-s {}", quote(&program)))
            .step(&text("common.secure.capabilities"), format!("sudo setcap -r {}", quote(&program)))
    })
}

/// The stack that this program needs, in bytes.
const STACK: u64 = 512 << 10;

/// The refusal of a stack in which this program would end by a stack overflow.
pub(super) fn small_stack() -> Option<Error> {
    let (soft, _) = getrlimit(Resource::RLIMIT_STACK).ok()?;
    (soft < STACK).then(|| {
        let values = [("limit", &*(soft >> 10).to_string()), ("needed", &(STACK >> 10).to_string())];
        Error::failed(text_with("common.stack.what", &values))
            .todo(text("common.stack.todo") + "\n   ulimit -s 8192")
    })
}
