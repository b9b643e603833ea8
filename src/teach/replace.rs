//! Writes a file by a temporary file and rename(2), so that it is never half written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file, or replaces it. A new one gets this mode, without the bits of the umask. The temporary file is beside it,
/// where others may be able to write: it must be new, and only what was created here is removed after an error.
///
/// # Errors
/// Those of open(2), write(2) and rename(2). EEXIST: there is something of the name of the temporary file.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new-{}", std::process::id()));
    // With O_EXCL, open(2) follows no symbolic link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    let replaced = file.write_all(content).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_that_others_have_put_there_is_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        let planted = directory.path().join(format!("page.new-{}", std::process::id()));
        let names = || fs::read_dir(directory.path()).unwrap().count();
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"two".to_vec(), 1));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        // A symbolic link, to a file that exists and to one that does not.
        let victim = directory.path().join("victim");
        for exists in [false, true] {
            if exists {
                fs::write(&victim, "mine").unwrap();
            }
            symlink(&victim, &planted).unwrap();
            assert_eq!(replace(&path, b"three", 0o666).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_link(&planted).unwrap(), victim);
            assert_eq!(fs::read_to_string(&victim).ok().as_deref(), exists.then_some("mine"));
            fs::remove_file(&planted).unwrap();
        }
        fs::write(&planted, "mine").unwrap();
        replace(&path, b"three", 0o666).unwrap_err();
        assert_eq!(fs::read_to_string(&planted).unwrap(), "mine");
        fs::remove_file(&planted).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // After an error of rename(2), the temporary file is removed.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        replace(&path, b"three", 0o666).unwrap_err();
        assert_eq!(names(), 2);
    }
}
