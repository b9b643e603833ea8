//! Finds the program of COMMAND, as a shell does. This happens before anything is made, so a typing error costs
//! nothing.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use nix::unistd::{AccessFlags, access};

use super::resolver::Resolver;
use crate::error::{Error, ExitKind, Result};
use crate::text::{text, text_with};

/// The PATH of a command whose environment has none.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The caller's PATH.
pub fn callers_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| PATH.into())
}

/// The program that `name` means: the file `name` if it contains a slash, otherwise the first executable file in
/// `path`, which is the PATH to search. The result is a path in the container, as `tree` describes it.
///
/// # Errors
/// Not found (127), found but not executable (126).
pub fn resolve(name: &str, tree: &Resolver, path: &OsStr) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        std::env::split_paths(path).map(|directory| directory.join(name)).collect()
    };
    let mut refused = None;
    for candidate in candidates {
        let seen = if tree.is_unchanged() { Some(candidate.clone()) } else { tree.resolve(&candidate).host };
        let Some(seen) = seen else { continue };
        if seen.is_file() && access(&seen, AccessFlags::X_OK).is_ok() {
            return Ok(candidate);
        }
        if seen.exists() {
            refused.get_or_insert((candidate, seen.is_dir()));
        }
    }
    match refused {
        Some((path, is_directory)) => {
            let path = path.display().to_string();
            let reason = if is_directory { "common.exec.directory" } else { "common.exec.mode" };
            Err(Error::new(ExitKind::NotExecutable, text_with("common.exec.refused", &[("command", name)]))
                .why(text_with(reason, &[("path", &path)])))
        }
        None => {
            let error =
                Error::new(ExitKind::NotFound, text_with("common.exec.missing", &[("command", name)]));
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

    fn found(name: &str) -> Result<PathBuf> {
        resolve(name, &Resolver::default(), PATH.as_ref())
    }

    #[test]
    fn a_name_without_a_slash_is_searched_in_path() {
        assert!(found("sh").is_ok_and(|path| path.is_absolute() && path.ends_with("sh")));
        assert_eq!(found("no-such-command").map_err(|error| error.kind), Err(ExitKind::NotFound));
    }

    #[test]
    fn a_directory_and_a_plain_file_are_refused() {
        assert_eq!(found("/etc").map_err(|error| error.kind), Err(ExitKind::NotExecutable));
        assert_eq!(found("/etc/passwd").map_err(|error| error.kind), Err(ExitKind::NotExecutable));
        assert_eq!(found("/etc/nothing-here").map_err(|error| error.kind), Err(ExitKind::NotFound));
    }
}
