//! Reads files below a root directory that may be hostile: that of a running container.
//!
//! A path is resolved in that root by openat2(2) with RESOLVE_IN_ROOT, so a symbolic link leads nowhere else. A file is
//! looked at before it is opened for reading, because to open a device can have an effect. Only a regular file is read, and not
//! more of it than the caller asks for.
//!
//! The container may have mounted a filesystem whose server never answers (FUSE), also below an overlay. Then each lookup in
//! it waits for ever, and no type of a file or a filesystem tells this before. So everything that looks into a container does
//! it within [`within_patience`].

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, open, openat};

use crate::error::{Error, Result};
use crate::sys::in_root;
use crate::text::{text, text_with};

/// How long the files of a container may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A root directory that may be hostile.
#[derive(Debug)]
pub struct UntrustedRoot(OwnedFd);

impl UntrustedRoot {
    /// The root directory of a process.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn of(pid: i32) -> io::Result<UntrustedRoot> {
        UntrustedRoot::open(format!("/proc/{pid}/root"))
    }

    /// This directory.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(directory: impl rustix::path::Arg) -> io::Result<UntrustedRoot> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(UntrustedRoot(open(directory, flags, Mode::empty())?))
    }

    /// The bytes of a regular file: at most `most`.
    ///
    /// # Errors
    /// Those of openat2(2) and read(2); it is no regular file, or it is longer.
    pub fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let found = in_root::open(&self.0, path, OFlags::PATH)?;
        if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other(text("untrusted.notregular")));
        }
        // This link of the caller's own /proc leads to the file that was looked at, whatever has its name now.
        let link = format!("/proc/self/fd/{}", found.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, link, flags, Mode::empty())?);
        let mut content = Vec::new();
        file.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            return Err(io::Error::other(text_with("untrusted.size", &[("size", &most.to_string())])));
        }
        Ok(content)
    }
}

/// What `look` finds in the files of the container of this process. It runs in a thread, which has ended when this returns
/// Ok. If it has not ended after five seconds, the thread is left alone: the kernel kills it when `sandbox` ends, as it must
/// after this error.
///
/// # Errors
/// The files do not answer, or no thread can be made; the error of `look`.
pub fn within_patience<T: Send + 'static>(
    pid: i32,
    look: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let of_container = |key| Error::failed(text_with(key, &[("pid", &pid.to_string())]));
    let (sender, receiver) = mpsc::channel();
    let looking = thread::Builder::new().spawn(move || sender.send(look()));
    let looking = looking.map_err(|error| of_container("untrusted.what").call("clone3()", error))?;
    let found = receiver.recv_timeout(PATIENCE);
    match found {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            let seconds = PATIENCE.as_secs().to_string();
            let error = of_container("untrusted.what");
            let error = error.why(text_with("untrusted.reason", &[("seconds", &seconds)]));
            Err(error.todo(text_with("untrusted.todo", &[("pid", &pid.to_string())])))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(of_container("untrusted.what")),
        Ok(found) => {
            let _ = looking.join();
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_no_regular_file_below_the_root_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let root = UntrustedRoot::open(directory.path()).unwrap();
        let become_ = |make: &dyn Fn(&Path)| {
            let _ = fs::remove_file(&file);
            make(&file);
            root.read("/file", 10)
        };
        // The link stays below the root, which has no such file.
        assert!(become_(&|file| symlink("/etc/hostname", file).unwrap()).is_err());
        assert!(become_(&|file| symlink("../../../../../../../../etc/passwd", file).unwrap()).is_err());
        assert!(become_(&|file| nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap()).is_err());
        assert!(become_(&|file| drop(std::os::unix::net::UnixListener::bind(file).unwrap())).is_err());
        let large = become_(&|file| fs::File::create(file).unwrap().set_len(11).unwrap());
        assert!(large.unwrap_err().to_string().contains("10 bytes"));
        assert_eq!(become_(&|file| fs::write(file, "0123456789").unwrap()).unwrap(), b"0123456789");
        // A link to another file below the root is followed.
        fs::write(directory.path().join("other"), "other").unwrap();
        assert_eq!(become_(&|file| symlink("/other", file).unwrap()).unwrap(), b"other");
    }
}
