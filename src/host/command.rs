//! Finding COMMAND as a shell would, before anything is made: a typing error then costs nothing.

use std::ffi::OsStr;
use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

use super::tree::Tree;
use crate::error::{Error, Kind, Result};
use crate::text::{text, text_with};

/// The file that `name` means: itself where it has a slash, else the first executable in PATH. The path that comes back is
/// the one to execute, as it will be in `tree`.
///
/// # Errors
/// Not found (127), found but not executable (126).
pub fn resolve(name: &str, tree: &Tree) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let path = std::env::var_os("PATH");
        let path = path.as_deref().unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"));
        std::env::split_paths(path).map(|folder| folder.join(name)).collect()
    };
    let mut refused = None;
    for candidate in candidates {
        let seen = if tree.is_of_today() { Some(candidate.clone()) } else { tree.locate(&candidate).today };
        let Some(seen) = seen else { continue };
        if seen.is_file() && access(&seen, AccessFlags::X_OK).is_ok() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_slash_is_searched_in_path() {
        assert!(resolve("sh", &Tree::default()).is_ok_and(|path| path.is_absolute() && path.ends_with("sh")));
        assert_eq!(
            resolve("no-such-command", &Tree::default()).map_err(|error| error.kind),
            Err(Kind::NotFound)
        );
    }

    #[test]
    fn a_folder_and_a_plain_file_are_refused() {
        assert_eq!(resolve("/etc", &Tree::default()).map_err(|error| error.kind), Err(Kind::NotExecutable));
        assert_eq!(
            resolve("/etc/passwd", &Tree::default()).map_err(|error| error.kind),
            Err(Kind::NotExecutable)
        );
        assert_eq!(
            resolve("/etc/nothing-here", &Tree::default()).map_err(|error| error.kind),
            Err(Kind::NotFound)
        );
    }
}
