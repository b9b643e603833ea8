//! The limit of open files of this process: RLIMIT_NOFILE. A daemon raises it for its connections. A container inherits the one
//! with which the daemon was started.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft limit before it was raised. Zero: it was not.
static FORMER: AtomicU64 = AtomicU64::new(0);

/// Raises the soft limit to the hard one, but to no more than `most`. Returns the limit then.
#[cfg(feature = "daemon")]
pub(crate) fn raise(most: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(most);
    if wanted <= soft || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        return soft;
    }
    FORMER.store(soft, Ordering::Relaxed);
    wanted
}

/// Sets the limit as it was.
///
/// # Errors
/// Those of setrlimit(2).
pub(super) fn restore() -> Result<(), Errno> {
    let former = FORMER.load(Ordering::Relaxed);
    if former == 0 {
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, former, hard)
}

/// Lets a command start with the limit as it was.
pub(crate) fn restore_before(command: &mut Command) -> &mut Command {
    // SAFETY: `restore` makes only system calls. It takes no lock and allocates nothing, as is required after fork(2).
    unsafe { command.pre_exec(|| restore().map_err(std::io::Error::from)) }
}
