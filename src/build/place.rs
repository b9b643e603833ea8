//! The destination of `COPY` and `ADD` in the files of the stage.
//!
//! A file does not replace a directory there, and a directory replaces neither a file nor a link: as with BuildKit, the step fails.
//! Otherwise `COPY root /` would remove all programs of an image whose `/bin` is a link to `usr/bin`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::context::ContextError;
use super::copy::clean_inside;
use super::layer_files::LayerFiles;
use crate::image::layer::PlaceKind;
use crate::text::{printed, text_with};

/// Where files are written to: a directory that exists, and the rest of the path.
pub(super) struct CopyTarget {
    pub(super) existing: Vec<u8>,
    pub(super) rest: Vec<u8>,
    pub(super) is_directory: bool,
}

impl CopyTarget {
    /// Where a path leads in the stage. `shown` is the destination of the instruction. With `needs_directory`, it must be a
    /// directory.
    pub(super) fn of(
        files: &LayerFiles<'_>,
        (written, shown): (&[u8], &str),
        needs_directory: bool,
    ) -> Result<CopyTarget, ContextError> {
        let path = clean_inside(written);
        let reached = files.reach(&path)?;
        let ends_as_directory = written.ends_with(b"/") || written.ends_with(b"/.") || path.is_empty();
        let is_directory = ends_as_directory || needs_directory || reached.kind == PlaceKind::Directory;
        if is_directory && reached.kind == PlaceKind::Other {
            return Err(ContextError::Wrong(text_with("build.copy.file", &[("path", &printed(shown))])));
        }
        Ok(CopyTarget {
            existing: reached.directory.as_os_str().as_bytes().to_owned(),
            rest: reached.rest.as_os_str().as_bytes().to_owned(),
            is_directory,
        })
    }
}

/// The maximum size of the paths that one process is asked for. They are an argument of it: execve(2) takes 128 KiB.
const MAX_PATHS: usize = 48 << 10;

/// Checks that no file replaces a directory, and no directory something else. `copied` has whether each file is a directory.
/// Only directories that exist already are looked at.
pub(super) fn check<'t>(
    files: &LayerFiles<'_>,
    targets: impl Iterator<Item = &'t CopyTarget>,
    copied: &BTreeMap<Vec<u8>, bool>,
    twice: Option<&[u8]>,
) -> Result<(), ContextError> {
    let wrong = |key: &str, path: &[u8]| {
        let path = printed(OsStr::from_bytes(&[b"/", path].concat()));
        Err(ContextError::Wrong(text_with(key, &[("path", &path)])))
    };
    if let Some(path) = twice {
        return wrong("build.copy.twice", path);
    }
    let mut inside: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for path in copied.keys() {
        let above = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |at| &path[..at]);
        inside.entry(above).or_default().push(path);
    }
    let mut directories: BTreeSet<Vec<u8>> = targets.map(|target| target.existing.clone()).collect();
    while !directories.is_empty() {
        let paths: Vec<&[u8]> =
            directories.iter().filter_map(|directory| inside.get(&**directory)).flatten().copied().collect();
        directories.clear();
        let mut left = &*paths;
        while !left.is_empty() {
            let mut size = 0;
            let fits = |path: &&&[u8]| {
                // A path that is not UTF-8 is written in base64.
                size += path.len() * 2 + 24;
                size <= MAX_PATHS
            };
            let (asked, rest) = left.split_at(left.iter().take_while(fits).count().max(1));
            left = rest;
            let kinds =
                files.kinds(asked.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())?;
            for (path, kind) in asked.iter().zip(kinds) {
                match (kind, copied[*path]) {
                    (PlaceKind::Directory, false) => return wrong("build.copy.directory", path),
                    (PlaceKind::Other, true) => return wrong("build.copy.nodirectory", path),
                    (PlaceKind::Directory, true) => drop(directories.insert(path.to_vec())),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_where_nothing_exists() {
        let files = LayerFiles { layers: &[], maps: None };
        let target = CopyTarget { existing: Vec::new(), rest: b"new".to_vec(), is_directory: true };
        let copied = BTreeMap::from([(b"new/file".to_vec(), false)]);
        assert!(check(&files, [&target].into_iter(), &copied, None).is_ok());
        assert!(check(&files, [&target].into_iter(), &copied, Some(b"new/file")).is_err());
    }
}
