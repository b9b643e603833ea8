//! Finds the program of COMMAND, as a shell does. This happens before anything is made, so a typing error costs
//! nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::executable::{self, Hindrance};
use super::resolver::Resolver;
use crate::error::{Error, ExitKind, Result};
use crate::text::{printed, text, text_with, word};

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
pub fn resolve(name: &OsStr, tree: &Resolver, path: &OsStr) -> Result<PathBuf> {
    let has_slash = name.as_bytes().contains(&b'/');
    let shown = &*printed(name);
    let candidates: Vec<PathBuf> = if name.is_empty() {
        Vec::new()
    } else if has_slash {
        vec![PathBuf::from(name)]
    } else {
        std::env::split_paths(path).map(|directory| directory.join(name)).collect()
    };
    let mut first = None;
    for candidate in &candidates {
        let seen = if tree.is_unchanged() { Some(candidate.clone()) } else { tree.resolve(candidate).host };
        let Some(seen) = seen else { continue };
        if seen.is_file() && access(&seen, AccessFlags::X_OK).is_ok() {
            return Ok(candidate.clone());
        }
        if has_slash || seen.symlink_metadata().is_ok() {
            first.get_or_insert(candidate);
        }
    }
    // In PATH, a file that cannot be executed is passed over. It is named if no other is found.
    let obstacle = first.or(candidates.first().filter(|_| has_slash));
    let obstacle = obstacle.and_then(|path| executable::look(path, tree).err());
    // `/bin/true/`: only a directory has a slash at the end.
    let is_file_with_slash = name.as_bytes().ends_with(b"/")
        && tree.resolve(&PathBuf::from(name)).host.is_some_and(|file| without_slash(&file).is_file());
    let obstacle = obstacle.filter(|_| !is_file_with_slash);
    let error = match &obstacle {
        Some(Hindrance { is_missing: false, .. }) => {
            Error::new(ExitKind::NotExecutable, text_with("exec.refused", &[("command", shown)]))
        }
        _ => Error::new(ExitKind::NotFound, text_with("exec.missing", &[("command", &word(shown))])),
    };
    let error = match obstacle {
        Some(Hindrance { why, todo, .. }) => Error { todo: todo.into_iter().collect(), ..error.why(why) },
        None if name.is_empty() => error.why(text("exec.noname")),
        None if has_slash => {
            let file = shown.trim_end_matches('/');
            error.why(text_with("exec.component", &[("path", shown), ("file", file)]))
        }
        None => error.why(text_with("exec.nopath", &[("path", &word(&printed(path)))])),
    };
    let error = match several_words(name, tree, path) {
        Some(words) => error.todo(text_with("exec.words", &[("words", &words)])),
        None => error,
    };
    Err(match elsewhere(name, tree, path) {
        Some(host) if error.kind == ExitKind::NotFound => {
            let error = error.why(text_with("exec.elsewhere", &[("path", &printed(&host))]));
            let is_shell = SHELLS.iter().any(|shell| name == *shell);
            if is_shell && resolve("sh".as_ref(), tree, path).is_ok() {
                return Err(error.todo(text("exec.elsewhere.shell")));
            }
            // A small new root often has only an empty /usr.
            let programs = tree.resolve("/usr/bin".as_ref()).host;
            match host.starts_with("/usr") && !programs.is_some_and(|directory| directory.is_dir()) {
                true => error.todo(text("exec.elsewhere.todo")),
                false => error,
            }
        }
        _ => error,
    })
}

/// Shells for which `sh` does, in a small root.
const SHELLS: [&str; 5] = ["ash", "bash", "dash", "fish", "zsh"];

fn without_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The words of a command and its arguments that were given as one word: `ls -l`. Its first word is a program.
fn several_words(name: &OsStr, tree: &Resolver, path: &OsStr) -> Option<String> {
    let words: Vec<&str> = name.to_str()?.split_ascii_whitespace().collect();
    let is_program = words.len() > 1 && resolve(words.first()?.as_ref(), tree, path).is_ok();
    is_program.then(|| format!("[{}]", words.join(", ")))
}

/// The program of this name that the caller has, in another root directory or another PATH than the command's.
fn elsewhere(name: &OsStr, tree: &Resolver, path: &OsStr) -> Option<PathBuf> {
    if tree.is_unchanged() && (name.as_bytes().contains(&b'/') || path == callers_path()) {
        return None;
    }
    resolve(name, &Resolver::default(), &callers_path()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> Result<PathBuf> {
        resolve(name.as_ref(), &Resolver::default(), PATH.as_ref())
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
        // A file has no slash at its end, whatever its mode is.
        for file in ["/etc/passwd/", "/bin/sh/", "/etc/passwd///"] {
            let error = found(file).unwrap_err();
            assert_eq!(error.kind, ExitKind::NotFound, "{file}");
            assert!(
                error.why.concat().contains("is a file, not a directory") && error.todo.is_empty(),
                "{error:?}"
            );
        }
        assert_eq!(found("/etc/nothing-here").map_err(|error| error.kind), Err(ExitKind::NotFound));
    }
}
