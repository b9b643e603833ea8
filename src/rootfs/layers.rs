//! Which directories can be the layers of an overlay. What the kernel would refuse is reported before anything is made.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{self, FsType};
use nix::unistd::{AccessFlags, access, geteuid};

use super::{RootDraft, RootFilesystem};
use crate::error::Error;
use crate::host::files::is_directory;
use crate::host::storage;
use crate::plan::call::file::opaque;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The name of the directory in which overlayfs prepares files, beside a temporary upper directory. overlayfs gives the same
/// name to a directory in it.
pub(super) const WORK: &str = "work";

/// What the name of a work directory has after that of its upper directory.
const OF_WORK: &str = ".work";

/// The work directory of an upper directory that is kept. It is named after that one, because the lock on it and the note in
/// it are about one upper directory.
pub(super) fn work_of(upper: &Path) -> PathBuf {
    let mut name = upper.file_name().unwrap_or_default().to_owned();
    name.push(OF_WORK);
    upper.with_file_name(name)
}

/// The upper directory whose work directory this would be, if there is one.
fn upper_of(work: &Path) -> Option<PathBuf> {
    let name = work.file_name()?.as_bytes().strip_suffix(OF_WORK.as_bytes())?;
    let upper = work.with_file_name(OsStr::from_bytes(name));
    (!name.is_empty() && upper.is_dir()).then_some(upper)
}

/// Filesystems that overlayfs accepts as a lower layer only: they are on other machines, or lack what an upper layer needs.
const LOWER_ONLY: [(FsType, &str); 6] = [
    (statfs::OVERLAYFS_SUPER_MAGIC, "overlay"),
    (statfs::NFS_SUPER_MAGIC, "NFS"),
    (statfs::FUSE_SUPER_MAGIC, "FUSE"),
    (statfs::SMB_SUPER_MAGIC, "SMB"),
    (FsType(0x0102_1997), "9p"),
    (statfs::MSDOS_SUPER_MAGIC, "FAT"),
];

/// The name of the filesystem of a path, if overlayfs accepts no upper directory on it.
pub fn lower_only(path: &Path) -> Option<&'static str> {
    let kind = statfs::statfs(path).ok()?.filesystem_type();
    LOWER_ONLY.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

/// Checks one directory that shall be the root, or a lower layer of it. Returns its path without symbolic links, or none if
/// it is refused.
fn check_directory(root: &mut RootDraft<'_>, what: &str, directory: &Path) -> Option<PathBuf> {
    let what = what.to_owned();
    let why = match is_directory(directory) {
        Ok(Some(true)) => None,
        Ok(_) => Some(text("mnt.root.why")),
        Err(why) => Some(why),
    };
    if let Some(why) = why {
        root.refuse(what, why, "mnt.root.todo");
        return None;
    }
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    if resolved == Path::new("/") {
        root.refuse(what, text("mnt.root.same"), "rootfs.same.todo");
        return None;
    }
    if root.is_user() && root.files.is_mounted_below(&resolved) {
        root.refuse(what, text("rootfs.locked"), "rootfs.locked.todo");
        return None;
    }
    Some(resolved)
}

/// How a message names the root.
pub(super) fn named(new: &RootFilesystem) -> String {
    match new.lowers.as_slice() {
        _ if new.host => "rootfs: host".to_owned(),
        [one] if new.upper.is_none() => format!("rootfs: {}", printed(one)),
        _ => "rootfs".to_owned(),
    }
}

/// Checks the lower directories and the upper one. Returns whether all can be used.
pub(super) fn check(root: &mut RootDraft<'_>, new: &RootFilesystem) -> bool {
    let is_plain = new.lowers.len() == 1 && new.upper.is_none();
    let mut known: Vec<(PathBuf, &Path)> = Vec::new();
    root.key = if is_plain { "rootfs" } else { "rootfs.layers" };
    if new.lowers.is_empty() {
        root.refuse("layers: []".into(), text("rootfs.layers.none"), "rootfs.layers.none.todo");
    }
    for layer in &new.lowers {
        let what = if is_plain { named(new) } else { format!("layers: {}", printed(layer)) };
        let Some(resolved) = check_directory(root, &what, layer) else { continue };
        if !refuse_overlap(root, &what, &resolved, &known) {
            known.push((resolved, layer));
        }
    }
    if let Some(upper) = &new.upper {
        root.key = "rootfs.upper";
        check_upper_path(root, upper, &known);
    }
    root.key = "rootfs";
    known.len() == new.lowers.len()
}

fn check_upper_path(root: &mut RootDraft<'_>, upper: &Path, known: &[(PathBuf, &Path)]) {
    let what = format!("upper: {}", printed(upper));
    if is_directory(upper) == Ok(None) {
        let todo = format!("{}\n   mkdir -p {}", text("rootfs.target.create"), quote(upper));
        return root.refuse_with(what, text("rootfs.upper.missing"), todo);
    }
    let Some(resolved) = check_directory(root, &what, upper) else { return };
    if !refuse_overlap(root, &what, &resolved, known) {
        check_upper(root, what, &resolved);
    }
}

/// Refuses a directory that is one of these, is in one of them, or contains one of them.
fn refuse_overlap(root: &mut RootDraft<'_>, what: &str, one: &Path, known: &[(PathBuf, &Path)]) -> bool {
    let found = known.iter().find(|(other, _)| one.starts_with(other) || other.starts_with(one));
    let Some((other, written)) = found else { return false };
    let key = match () {
        () if one == other => "rootfs.layers.same",
        () if one.starts_with(other) => "rootfs.layers.inside",
        () => "rootfs.layers.around",
    };
    root.refuse(what.to_owned(), text_with(key, &[("other", &printed(*written))]), "rootfs.layers.todo");
    true
}

/// Checks the upper directory: its filesystem, the permissions, and the work directory beside it.
fn check_upper(root: &mut RootDraft<'_>, what: String, upper: &Path) {
    let Some(parent) = upper.parent() else { return };
    if let Some(name) = lower_only(upper) {
        let why = text_with("rootfs.upper.kind", &[("kind", name)]);
        return root.refuse(what, why, "rootfs.upper.kind.todo");
    }
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    if device(upper) != device(parent) {
        return root.refuse(what, text("rootfs.upper.mount"), "rootfs.upper.mount.todo");
    }
    if let Some(other) = upper_of(upper) {
        let why = text_with("rootfs.upper.work", &[("other", &printed(&other))]);
        return root.refuse(what, why, "rootfs.beside.todo");
    }
    let work = work_of(upper);
    let values = [("work", &*printed(&work)), ("parent", &*printed(parent))];
    let is_missing = work.symlink_metadata().is_err();
    if let Some(why) = obstacle_of_work(&work) {
        return root.refuse(what, text_with(why, &values), "rootfs.beside.todo");
    }
    // A user who may open it can hold the lock on it.
    if let (Ok(found), Ok(of)) = (work.symlink_metadata(), upper.metadata()) {
        if ![geteuid().as_raw(), of.uid()].contains(&found.uid()) {
            return root.refuse(what, text_with("rootfs.beside.owner", &values), "rootfs.beside.todo");
        }
        if found.mode() & 0o077 != 0 {
            let todo = format!("{}\n   chmod 700 {}", text("rootfs.beside.open.todo"), quote(&work));
            return root.refuse_with(what, text_with("rootfs.beside.open", &values), todo);
        }
    }
    if !root.is_privileged() && opaque::was_user(&work) == Some(false) {
        return root.refuse(what, text("rootfs.upper.trusted"), "rootfs.upper.trusted.todo");
    }
    let needed = AccessFlags::W_OK | AccessFlags::X_OK;
    if let Err(errno) = access(upper, needed) {
        return refuse_unwritable(root, what, text("rootfs.upper.write"), (upper, errno));
    }
    let beside = if is_missing { parent } else { &work };
    if let Err(errno) = access(beside, needed) {
        refuse_unwritable(root, what, text_with("rootfs.beside.write", &values), (beside, errno));
    }
}

/// Refuses a directory that may not be written, with the remedy for the reason.
fn refuse_unwritable(root: &mut RootDraft<'_>, what: String, why: String, (path, errno): (&Path, Errno)) {
    let error = Error::failed(what).why(why);
    let is_own = || path.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw());
    root.refuse_for(match errno {
        Errno::EROFS => storage::explain(error, errno, path),
        Errno::EACCES if is_own() => {
            error.todo(format!("{}\n   chmod u+rwx {}", text("rootfs.upper.own.todo"), quote(path)))
        }
        _ => error.todo(text("rootfs.upper.write.todo")),
    });
}

/// Why a file that exists cannot be the work directory. overlayfs removes what is in its work directory, so it must be empty,
/// or one that overlayfs has used: then it has a directory `work` that nobody may enter.
fn obstacle_of_work(work: &Path) -> Option<&'static str> {
    match work.symlink_metadata() {
        Err(_) => return None,
        Ok(found) if !found.is_dir() => return Some("rootfs.beside.file"),
        Ok(_) => {}
    }
    let entries = fs::read_dir(work).into_iter().flatten().flatten();
    let is_kernels = |entry: fs::DirEntry| {
        let is_closed =
            entry.metadata().is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o777 == 0);
        is_closed && [WORK, "index"].into_iter().any(|name| entry.file_name() == OsStr::new(name))
    };
    (!entries.into_iter().all(is_kernels)).then_some("rootfs.beside.used")
}
