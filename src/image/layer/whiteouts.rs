//! Removes whiteouts that hide nothing.
//!
//! An overlay merges a directory that several layers have, and hides the whiteouts in it. It shows a directory of a single layer as it
//! is: then readdir(2) returns the name of a whiteout, and stat(2) fails with ENOENT. Whether a lower layer has a directory is known
//! only when the whole archive was read, because an opaque directory may come last. overlayfs.rst, "Merged directories"

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, fstat, futimens, statat, unlinkat};
use rustix::io::Errno;

use super::files::times;
use super::merged::{LayerPath, is_opaque, is_whiteout, open, type_of};
use super::times::time_of;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Removes the whiteouts of a layer in directories that no layer below has, or that are opaque. The directories keep their times.
pub(super) fn remove_unneeded(layer: &OwnedFd, lowers: &[OwnedFd]) -> Result<(), Errno> {
    let mut left = vec![(LayerPath::default(), lowers.iter().collect::<Vec<_>>())];
    while let Some((path, lowers)) = left.pop() {
        let directory = open(layer, path.as_os_str(), DIRECTORY)?;
        let lowers = if is_opaque(&directory) { Vec::new() } else { lowers };
        let (before, mut unneeded) = (fstat(&directory)?, Vec::new());
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let found = statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            if type_of(&found) == FileType::Directory {
                let path = path.join(name);
                let lowers = with_directory(&lowers, &path)?;
                left.push((path, lowers));
            } else if lowers.is_empty() && is_whiteout(&found) {
                unneeded.push(name.to_vec());
            }
        }
        for name in &unneeded {
            unlinkat(&directory, OsStr::from_bytes(name), AtFlags::empty())?;
        }
        if !unneeded.is_empty() {
            futimens(&directory, &times(time_of(&before)))?;
        }
    }
    Ok(())
}

/// Those of the layers, the topmost first, that an overlay merges at a path.
fn with_directory<'l>(layers: &[&'l OwnedFd], path: &LayerPath) -> Result<Vec<&'l OwnedFd>, Errno> {
    let mut found = Vec::new();
    for layer in layers {
        match open(layer, path.as_os_str(), DIRECTORY) {
            Err(Errno::NOENT) => {}
            // A file, a link or a whiteout hides what is below it.
            Err(Errno::NOTDIR | Errno::LOOP) => break,
            directory => {
                let directory = directory?;
                found.push(*layer);
                if is_opaque(&directory) {
                    break;
                }
            }
        }
    }
    Ok(found)
}
