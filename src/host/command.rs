//! Finding COMMAND as a shell would, before anything is made: a typing error then costs nothing.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::error::{Error, Kind, Result};
use crate::text::{text, text_with};

/// The file that `name` means: itself where it has a slash, else the first executable in PATH.
///
/// `root` is the folder that will be `/` when it's executed. The path that comes back is seen from there.
///
/// # Errors
/// Not found (127), found but not executable (126).
pub fn resolve(name: &str, root: Option<&Path>) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let path = std::env::var_os("PATH");
        let path = path.as_deref().unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
        std::env::split_paths(path).map(|folder| folder.join(name)).collect()
    };
    let mut refused = None;
    for candidate in candidates {
        let seen = match root {
            None => candidate.clone(),
            Some(root) => below(root, &candidate),
        };
        // Through a symbolic link below another root we'd ask about the wrong file: the kernel is asked at exec instead.
        let link = root.is_some() && seen.is_symlink();
        if link || (seen.is_file() && access(&seen, AccessFlags::X_OK).is_ok()) {
            return Ok(candidate);
        }
        if seen.exists() {
            refused.get_or_insert((candidate, seen.is_dir()));
        }
    }
    match refused {
        Some((path, is_folder)) => {
            let path = path.display().to_string();
            let reason = if is_folder { "common.exec.folder" } else { "common.exec.mode" };
            Err(Error::new(Kind::NotExecutable, text_with("common.exec.refused", &[("command", name)]))
                .why(text_with(reason, &[("path", &path)])))
        }
        None => {
            let error = Error::new(Kind::NotFound, text_with("common.exec.missing", &[("command", name)]));
            Err(error.why(if name.contains('/') {
                text("common.exec.nofile")
            } else {
                text("common.exec.nopath")
            }))
        }
    }
}

/// `path` under another root. `..` is dropped: it can't lead out of a root.
fn below(root: &Path, path: &Path) -> PathBuf {
    let mut joined = root.to_owned();
    joined.extend(path.components().filter(|part| matches!(part, Component::Normal(_))));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_slash_is_searched_in_path() {
        assert!(resolve("sh", None).is_ok_and(|path| path.is_absolute() && path.ends_with("sh")));
        assert_eq!(resolve("no-such-command", None).map_err(|error| error.kind), Err(Kind::NotFound));
    }

    #[test]
    fn a_folder_and_a_plain_file_are_refused() {
        assert_eq!(resolve("/etc", None).map_err(|error| error.kind), Err(Kind::NotExecutable));
        assert_eq!(resolve("/etc/passwd", None).map_err(|error| error.kind), Err(Kind::NotExecutable));
        assert_eq!(resolve("/etc/nothing-here", None).map_err(|error| error.kind), Err(Kind::NotFound));
    }

    #[test]
    fn a_path_stays_below_its_root() {
        assert_eq!(below(Path::new("/r"), Path::new("/../../etc/x")), Path::new("/r/etc/x"));
    }
}
