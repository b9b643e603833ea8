//! RUN: the directory with the locks and the journals of the caller's running containers.
//!
//! Its path depends only on the user ID, never on the environment. So two commands of one user always find each other.
//! For some users it is in /tmp, where every user can make a directory of that name first. Therefore it is opened as
//! something that an attacker may have made: no symbolic link is followed, and its owner, its mode and its type are
//! checked on the open descriptor. The same holds for everything in it. Otherwise a symbolic link, or a journal of
//! another user, could make `sandbox` remove the caller's files; and open(2) of a FIFO would wait for ever.
//!
//! A lock of flock(2) lies on a file that only its owner can open. Any user may lock a file that they can read, and so
//! prevent that `sandbox` starts or cleans up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Stat, statat};
use rustix::io::Errno;

use super::private_directory::{self, PrivateDirectory, Unusable, is_directory};
use crate::error::{Error, Result};
use crate::observe::proc::{id_outside, is_initial_map};
use crate::observe::{file, processes};
use crate::text::text;

/// How often an operation is tried again because another `sandbox` has removed the directory or the file meanwhile.
const ATTEMPTS: usize = 100;

/// The path of root's.
pub const OF_ROOT: &str = "/run/sandbox";

/// The file of `sandbox ledger` in it. It belongs to no run, and the sweep leaves it alone.
pub const LEDGER: &str = "ledger.json";

/// How the files of a daemon in it begin, besides its sockets.
pub const DAEMON: &str = "daemon-";

/// How the files with the passwords of a request to a daemon begin. Its PID follows.
pub const DAEMON_PASSWORDS: &str = "daemon-auth-";

/// Whether a name in RUN is that of a socket of the daemon, or of the file with its PID. Its lock is a lock as any other.
pub fn is_of_daemon(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let is_socket = name.starts_with(b"docker") && name.ends_with(b".sock");
    let is_file = name.starts_with(DAEMON.as_bytes()) && !name.ends_with(b".lock");
    is_socket || is_file
}

/// Whether the process with this PID may be a daemon: it has not ended, or that cannot be read. A process that was killed stays a
/// zombie until its parent has waited for it.
pub fn may_be_of_daemon(pid: u32) -> bool {
    !matches!(processes::read_started(pid.cast_signed()), Ok(None))
}

/// Whether a name in RUN is that of the ledger.
pub fn is_ledger(name: &OsStr) -> bool {
    name == LEDGER
}

/// Whether a name in RUN is that of the new content of a file, which gets the name of that file when it is complete:
/// `FILE.new`, or `FILE.new-TOKEN` where several processes may write the file at the same time.
pub fn is_new_content(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.rsplit_once(".new"));
    parts.is_some_and(|(of, rest)| {
        (rest.is_empty() || rest.starts_with('-'))
            && (of == LEDGER || of.starts_with(DAEMON) && of.ends_with(".json"))
    })
}

/// The path of RUN. For root it is in /run, and for root of a user namespace too if they may write there. For other users
/// it is in the directory that the login manager makes for them; without one it is in /tmp. A process looks once: its RUN
/// stays the same.
pub fn path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(look_for_path).clone()
}

fn look_for_path() -> PathBuf {
    let uid = rustix::process::geteuid();
    let is_usable = |path: &str| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let is_host_root = || file::read_text("/proc/self/uid_map").is_ok_and(|map| is_initial_map(&map));
    if uid.is_root() && (is_host_root() || is_usable("/run") || is_usable(OF_ROOT)) {
        return PathBuf::from(OF_ROOT);
    }
    let id = id_in_parent(uid.as_raw());
    let login = PathBuf::from(format!("/run/user/{id}"));
    let is_own = |found: Stat| found.st_uid == uid.as_raw() && is_directory(&found);
    match statat(CWD, &login, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if is_own(found) => login.join("sandbox"),
        _ => PathBuf::from(format!("/tmp/sandbox-{id}")),
    }
}

/// A user ID as seen in the parent user namespace. Two users can both be root in their user namespaces, and must not
/// get the same directory.
fn id_in_parent(uid: u32) -> u32 {
    id_outside("/proc/self/uid_map", uid).unwrap_or(uid)
}

/// Opens RUN. None: it does not exist.
///
/// # Errors
/// It is not a directory, it belongs to another user, or others can write to it.
pub fn find() -> Result<Option<PrivateDirectory>> {
    let path = path();
    PrivateDirectory::open(&path).map_err(|unusable| explained(unusable, &path))
}

/// Opens RUN, and makes it if it does not exist.
///
/// # Errors
/// As [`find`]; it cannot be made.
pub fn make() -> Result<PrivateDirectory> {
    find_or_make().map_err(|unusable| explained(unusable, &path()))
}

/// As [`make`], for a caller that needs the errno of the call that failed.
pub(super) fn find_or_make() -> std::result::Result<PrivateDirectory, Unusable> {
    let path = path();
    for _ in 0..ATTEMPTS {
        if let Some(found) = PrivateDirectory::open(&path)? {
            return Ok(found);
        }
        match private_directory::make_private(CWD, path.as_os_str(), mode_of(&path)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Unusable::NotMade(errno)),
        }
    }
    Err(Unusable::Removed)
}

/// The mode of RUN. The directory of root has a socket that others may connect to; what is in it is private all the same.
fn mode_of(path: &Path) -> u32 {
    if path == Path::new(OF_ROOT) { 0o711 } else { 0o700 }
}

/// Removes RUN if it is empty. rmdir(2) follows no symbolic link.
pub fn remove_if_empty() {
    let _ = std::fs::remove_dir(path());
}

fn explained(unusable: Unusable, path: &Path) -> Error {
    unusable.explained(path, mode_of(path), &text("gc.run.purpose"), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_content_has_the_name_of_its_file() {
        for name in ["ledger.json.new", "daemon-0a.json.new", "daemon-0a.json.new-0123456789abcdef"] {
            assert!(is_new_content(name.as_ref()), "{name}");
        }
        for name in ["ledger.json", "daemon-0a.json", "daemon-0a.json.newer", "daemon-0a.lock.new", "1.new"] {
            assert!(!is_new_content(name.as_ref()), "{name}");
        }
    }
}
