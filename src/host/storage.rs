//! Why a file cannot be read or written: the filesystem is full, a quota is used up, it is mounted read-only, its device has
//! failed, or too many files are open. None of these says anything about the file itself.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::Error;
use crate::observe::{file, mountinfo};
use crate::text::text_with;
use crate::value::shell::quote;

/// Adds to an error about `path` the reason and what to do, if the errno says that nothing can be read or written there. For
/// any other errno, the error stays unchanged.
pub fn explain(error: Error, errno: Errno, path: &Path) -> Error {
    let (why, todo) = match errno {
        Errno::ENOSPC => ("storage.full.why", "storage.full.todo"),
        Errno::EDQUOT => ("storage.quota.why", "storage.quota.todo"),
        Errno::EROFS => ("storage.readonly.why", "storage.readonly.todo"),
        Errno::EFBIG => ("storage.filesize.why", "storage.filesize.todo"),
        Errno::EMFILE => ("storage.openfiles.why", "storage.openfiles.todo"),
        Errno::ENFILE => ("doctor.filetable.why", "doctor.filetable.todo"),
        Errno::EIO => ("storage.device.why", "storage.device.todo"),
        _ => return error,
    };
    let mount = mount_point(path);
    let values = [("path", &*file::path_text(&mount))];
    let target = quote(&mount);
    let line = match errno {
        Errno::ENOSPC => format!("df -h {target}; df -i {target}"),
        Errno::EDQUOT => format!("df -h {target}"),
        Errno::EROFS => format!("{}mount -o remount,rw {target}", if is_root() { "" } else { "sudo " }),
        Errno::EMFILE => "ulimit -n 1024".to_owned(),
        Errno::ENFILE => "cat /proc/sys/fs/file-nr".to_owned(),
        Errno::EIO => format!("{}dmesg | tail", if is_root() { "" } else { "sudo " }),
        _ => "ulimit -f unlimited".to_owned(),
    };
    let todo = format!("{}\n   {line}", text_with(todo, &values));
    error.why(text_with(why, &values)).todo(todo)
}

/// Adds the reason to an error whose cause is this one, and keeps the text of any other.
pub fn explain_io(error: Error, failed: &std::io::Error, path: &Path) -> Error {
    let error = error.why(crate::error::io_text(failed));
    match failed.raw_os_error() {
        Some(number) => explain(error, Errno::from_raw(number), path),
        None => error,
    }
}

/// Whether an error says that this process cannot open files now, or that a device has failed: nothing about the file itself.
pub fn is_shortage(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO))
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The mount point of the filesystem on which a path is. Without a mount table it is the path itself.
fn mount_point(path: &Path) -> PathBuf {
    let table = mountinfo::read("/proc/self").unwrap_or_default();
    let points = mountinfo::mounts(&table).map(|mount| mount.mount_point.into_owned());
    let longest = points.filter(|point| path.starts_with(point)).max_by_key(|point| point.as_os_str().len());
    longest.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_has_its_reason_and_its_remedy() {
        let path = Path::new("/proc/self/no-such-file");
        for (errno, why, todo) in [
            (Errno::ENOSPC, "full", "df -i /proc"),
            (Errno::EDQUOT, "quota", "df -h /proc"),
            (Errno::EROFS, "read-only", "mount -o remount,rw /proc"),
            (Errno::EFBIG, "RLIMIT_FSIZE", "ulimit -f unlimited"),
            (Errno::EMFILE, "RLIMIT_NOFILE", "ulimit -n 1024"),
            (Errno::ENFILE, "fs.file-max", "file-nr"),
            (Errno::EIO, "device", "dmesg"),
        ] {
            let error = explain(Error::failed("x"), errno, path);
            assert!(error.reasons().contains(why), "{error:?}");
            assert!(error.todo[0].contains(todo), "{error:?}");
        }
        let error = explain(Error::failed("x"), Errno::EACCES, path);
        assert_eq!(error, Error::failed("x"));
    }
}
