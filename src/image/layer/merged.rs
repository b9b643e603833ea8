//! Where a path of a layer leads: through the layer itself and through those below it, as the container will see them.
//!
//! A layer that is unpacked is a directory of its own. But the names in its archive are meant for the files of all
//! layers below too: `lib/x` belongs into `usr/lib` if a lower layer has a symbolic link `lib`. So each directory of a
//! path is looked up in all of them, and a symbolic link is followed within the root. The kernel never follows one:
//! every path that it gets is resolved, and openat2(2) refuses a link in it.

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat};
use rustix::io::Errno;

/// The maximum number of symbolic links that are followed for one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// The attributes by which an overlay hides what lower layers have in a directory.
pub(in crate::image) const OPAQUE: [&str; 2] = ["user.overlay.opaque", "trusted.overlay.opaque"];

/// The layer that is unpacked, and those below it.
pub(super) struct Merged {
    pub(super) layer: OwnedFd,
    /// The layers below, the topmost first.
    lowers: OnceCell<Vec<OwnedFd>>,
    /// Waits until they are complete.
    wait: Cell<Option<AwaitLowers>>,
}

/// Returns the layers below when they are complete.
type AwaitLowers = Box<dyn FnOnce() -> Result<Vec<OwnedFd>, Errno>>;

/// A path without links, below the root of a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// The path of something in this directory.
    pub(super) fn join(&self, name: &[u8]) -> LayerPath {
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        LayerPath(path)
    }

    pub(super) fn parent(&self) -> LayerPath {
        LayerPath(self.split().0.to_owned())
    }

    /// Its last part.
    pub(super) fn name(&self) -> &[u8] {
        self.split().1
    }

    /// The directory above, and the name in it.
    fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(if self.0.is_empty() { b"." } else { &self.0 })
    }
}

/// What there is at a path.
#[derive(Debug)]
pub(super) enum LayerPlace {
    /// Nothing, or a whiteout.
    Nothing,
    /// The layer itself has it.
    Here(OwnedFd, Stat),
    /// A layer below has it.
    Below(OwnedFd, Stat),
}

/// What one layer has at a path.
pub(super) enum LayerLook {
    Hit(OwnedFd, Stat),
    /// Nothing, and layers below are looked at.
    Miss,
    /// Nothing, and layers below are hidden.
    Hidden,
}

pub(super) fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is the mark of an overlay for a deleted file.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    type_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Opens something for its path only.
pub(super) fn open(directory: &OwnedFd, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(directory, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Whether a directory hides what lower layers have in it.
pub(in crate::image) fn is_opaque(directory: &OwnedFd) -> bool {
    let has = |name: &&str| {
        let mut value = [0; 2];
        matches!(rustix::fs::fgetxattr(directory, *name, &mut value), Ok(1)) && value[0] == b'y'
    };
    OPAQUE.iter().any(has)
}

impl Merged {
    pub(super) fn new(layer: OwnedFd, lowers: Vec<OwnedFd>) -> Merged {
        Merged { layer, lowers: OnceCell::from(lowers), wait: Cell::new(None) }
    }

    /// The layers below are unpacked at the same time. Most archives have each directory of their files, so what is in a
    /// layer below is seldom asked for. Only then it is waited for.
    pub(super) fn awaiting(layer: OwnedFd, wait: AwaitLowers) -> Merged {
        Merged { layer, lowers: OnceCell::new(), wait: Cell::new(Some(wait)) }
    }

    /// The layers below, the topmost first.
    pub(super) fn lowers(&self) -> Result<&[OwnedFd], Errno> {
        if let Some(wait) = self.wait.take() {
            let _ = self.lowers.set(wait()?);
        }
        // After an error, nothing can be known about them.
        self.lowers.get().map(Vec::as_slice).ok_or(Errno::CANCELED)
    }

    /// This layer hides all of them.
    pub(super) fn hide_lowers(&mut self) {
        self.wait.set(None);
        self.lowers = OnceCell::from(Vec::new());
    }

    /// What there is at a path. Its last part is not followed.
    pub(super) fn find(&self, path: &LayerPath) -> Result<LayerPlace, Errno> {
        match look(&self.layer, path)? {
            LayerLook::Hit(file, stat) => return Ok(LayerPlace::Here(file, stat)),
            LayerLook::Hidden => return Ok(LayerPlace::Nothing),
            LayerLook::Miss => {}
        }
        for lower in self.lowers()? {
            match look(lower, path)? {
                LayerLook::Hit(file, stat) => return Ok(LayerPlace::Below(file, stat)),
                LayerLook::Hidden => break,
                LayerLook::Miss => {}
            }
        }
        Ok(LayerPlace::Nothing)
    }

    /// The directory that a path leads to. `missing` makes one that the layer itself does not have; if it makes none,
    /// the result is None.
    pub(super) fn resolve(
        &self,
        parts: &[&[u8]],
        mut missing: impl FnMut(&LayerPath, &LayerPlace) -> Result<bool, Errno>,
    ) -> Result<Option<LayerPath>, Errno> {
        let mut left: VecDeque<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let (mut at, mut links) = (LayerPath::default(), 0);
        // Below a directory that no layer has, no layer has anything. So a path of many levels is not looked up at each of them.
        let mut is_new = false;
        while let Some(part) = left.pop_front() {
            match part.as_slice() {
                b"" | b"." => continue,
                // Only a symbolic link has it. The parent of the root is the root.
                b".." => {
                    at = at.parent();
                    is_new = false;
                    continue;
                }
                _ => {}
            }
            let next = at.join(&part);
            let place = if is_new { LayerPlace::Nothing } else { self.find(&next)? };
            is_new = matches!(place, LayerPlace::Nothing);
            if let LayerPlace::Here(file, stat) | LayerPlace::Below(file, stat) = &place {
                match type_of(stat) {
                    FileType::Symlink => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP);
                        }
                        let target = readlinkat(file, "", Vec::new())?.into_bytes();
                        if target.starts_with(b"/") {
                            at = LayerPath::default();
                        }
                        target
                            .split(|byte| *byte == b'/')
                            .rev()
                            .for_each(|part| left.push_front(part.to_vec()));
                        continue;
                    }
                    FileType::Directory => {}
                    _ => return Err(Errno::NOTDIR),
                }
            }
            if !matches!(place, LayerPlace::Here(..)) && !missing(&next, &place)? {
                return Ok(None);
            }
            at = next;
        }
        Ok(Some(at))
    }
}

/// What one layer has at a path.
pub(super) fn look(layer: &OwnedFd, path: &LayerPath) -> Result<LayerLook, Errno> {
    match open(layer, path.as_os_str(), OFlags::PATH) {
        Ok(file) => {
            let stat = fstat(&file)?;
            Ok(if is_whiteout(&stat) { LayerLook::Hidden } else { LayerLook::Hit(file, stat) })
        }
        // The path goes through something else than a directory here.
        Err(Errno::NOTDIR | Errno::LOOP) => Ok(LayerLook::Hidden),
        Err(Errno::NOENT) => {
            // Each directory is opened from the one above, so a path of many levels takes a short lookup for each.
            let open_directory = |from: &OwnedFd, name: &[u8]| {
                open(from, OsStr::from_bytes(name), OFlags::RDONLY | OFlags::DIRECTORY)
            };
            let mut directory = open_directory(layer, b".")?;
            let (above, _) = path.split();
            for name in above.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
                if is_opaque(&directory) {
                    return Ok(LayerLook::Hidden);
                }
                directory = match open_directory(&directory, name) {
                    Err(Errno::NOENT) => return Ok(LayerLook::Miss),
                    opened => opened?,
                };
            }
            Ok(if is_opaque(&directory) { LayerLook::Hidden } else { LayerLook::Miss })
        }
        Err(errno) => Err(errno),
    }
}
