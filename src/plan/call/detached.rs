//! Mounts by descriptor. A mount is made detached, that is, attached nowhere. It is filled, and then attached to its
//! mount point. open_tree(2), fsopen(2), mount_setattr(2) and move_mount(2) do this; Linux 5.12 has them all.
//!
//! The files of a new root may be hostile. Its `proc` may be a symbolic link to `/etc`, or a program may replace its
//! `dev` by a link between two calls. So no file in it is named by a path of the host. openat2(2) with RESOLVE_IN_ROOT
//! resolves each path as if the new root were `/` already. It returns a descriptor, which nobody can replace, and the
//! mount is attached to that. Such a descriptor is printed as the path that it was opened on: `<root/proc>`.

mod attributes;
mod filesystem;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag};
use rustix::fs::{CWD, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use serde::{Deserialize, Serialize};

pub use self::attributes::Attributes;
use self::filesystem::{make, make_at_once, make_at_once_text, make_text};
use self::tree::{
    attach, clone_joined, clone_of, copy_directory, find, find_kernels, in_parent, make_file, make_place,
    open_tree_text, split, unmasked,
};
use super::c_string;
use crate::error::errno;
use crate::plan::slots::{Held, Slots};
use crate::sys;
use crate::text::printed;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetachedMountCall {
    /// openat(2) of a directory on the host.
    Open {
        /// The directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The slot.
        to: Held,
    },
    /// open_tree(2): a detached copy of a mount on the host, with `path` as its root.
    Clone {
        /// The file or directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Whether the mounts below are copied too.
        below: bool,
        /// The slot.
        to: Held,
    },
    /// setns(2), open_tree(2), setns(2): a detached copy of a mount of another process, in whose IPC namespace this one is. Only a
    /// process in the same mount namespace can copy a mount.
    CloneJoined {
        /// The process.
        pid: i32,
        /// The mount point, in its mount namespace.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The slot.
        to: Held,
    },
    /// openat2(2): a directory in one of our own trees.
    OpenOwn {
        /// The tree.
        of: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The slot.
        to: Held,
    },
    /// open_tree(2): a detached copy of a mount in one of our own trees, with `path` as its root.
    CloneOwn {
        /// The tree.
        of: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The slot.
        to: Held,
    },
    /// mount_setattr(2): an idmapped mount. The owners of its files are shown through the ID map of `<child>`'s user
    /// namespace.
    Idmap {
        /// The mount, which must not be attached yet.
        mount: Held,
    },
    /// fsopen(2), fsconfig(2), fsmount(2): a new filesystem. Or mount(2), see `at_once`.
    Make {
        /// The filesystem type, `tmpfs`.
        kind: String,
        /// The options of the filesystem, such as `size` and `64m`. The name of a slot in a value means a path to its
        /// descriptor.
        #[serde(with = "crate::value::bytes::pairs")]
        options: Vec<(String, OsString)>,
        /// The mount's attributes.
        attributes: Attributes,
        /// Whether mount(2) gets all options in one string: for the lower directories of an overlay on a kernel before 6.7,
        /// which does not know `lowerdir+`.
        #[serde(default)]
        at_once: bool,
        /// The slot.
        to: Held,
    },
    /// mount_setattr(2): adds attributes.
    Restrict {
        /// The mount.
        mount: Held,
        /// The attributes that are added.
        attributes: Attributes,
        /// Whether the mounts below get them too.
        below: bool,
    },
    /// move_mount(2) onto the old root. Paths from `/` on do not lead to the new mount: the root directory of a process
    /// stays the one below it.
    Stack {
        /// The mount.
        mount: Held,
    },
    /// move_mount(2) to a path in one of our own trees.
    Attach {
        /// The mount.
        mount: Held,
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// move_mount(2): /dev/null is mounted on a file, or an empty tmpfs on a directory. If the path does not exist,
    /// nothing is done.
    Hide {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Whether it is a directory.
        directory: bool,
    },
    /// A read-only bind mount of a path onto itself. If the path does not exist, nothing is done.
    Protect {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// mkdirat(2).
    MakeDirectory {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// mkdirat(2), fchownat(2) and fchmodat(2): an empty directory with the owner and the mode of another one.
    CopyDirectory {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The tree of the other directory.
        of: Held,
        /// The path of the other directory in its tree.
        #[serde(with = "crate::value::bytes")]
        like: PathBuf,
    },
    /// mkdirat(2), or openat(2) with O_CREAT|O_EXCL: a mount point in files that stay. Another container with the same files may
    /// make it at the same time, so EEXIST counts as success.
    MakePlace {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Whether it is a directory.
        directory: bool,
    },
    /// openat(2) with O_CREAT|O_EXCL, and one write, unless the file is empty.
    MakeFile {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// What is written.
        #[serde(with = "crate::value::bytes")]
        content: OsString,
    },
    /// symlinkat(2).
    MakeLink {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The target of the link.
        #[serde(with = "crate::value::bytes")]
        target: PathBuf,
    },
    /// mknodat(2) of a character device with mode 0666.
    MakeNode {
        /// The tree.
        at: Held,
        /// The path in it.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Its major and minor number.
        device: (u64, u64),
        /// Whether it is the file of a block device, such as a disk. Others are character devices.
        block: bool,
        /// Its permissions.
        mode: u32,
    },
    /// fchdir(2) into the new root. All slots are closed then: they are not needed any more, and `<lower>` would be a
    /// way out of the new root.
    Enter,
}

/// linux/mount.h
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

impl fmt::Display for DetachedMountCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let onto = |f: &mut fmt::Formatter<'_>, what: &str, at: &Held, path: &Path| {
            write!(
                f,
                "move_mount({what}, \"\", {}, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)",
                within(*at, path)
            )
        };
        match self {
            DetachedMountCall::Open { path, .. } => {
                write!(f, "openat(AT_FDCWD, {}, O_PATH|O_DIRECTORY|O_CLOEXEC)", c_string(path))
            }
            DetachedMountCall::Clone { path, below, .. } => {
                let below = if *below { "|AT_RECURSIVE" } else { "" };
                write!(f, "open_tree(AT_FDCWD, {}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC{below})", c_string(path))
            }
            DetachedMountCall::CloneJoined { pid, path, .. } => {
                let copied =
                    format!("open_tree(AT_FDCWD, {}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", c_string(path));
                let enter = |process: &str| format!("setns(</proc/{process}/ns/mnt>, CLONE_NEWNS)");
                write!(f, "{}; {copied}; {}", enter(&pid.to_string()), enter("self"))
            }
            DetachedMountCall::OpenOwn { of, path, .. } => {
                let path = c_string(path);
                write!(
                    f,
                    "openat2({of}, {path}, {{flags=O_PATH|O_CLOEXEC, mode=0, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}}, 24)"
                )
            }
            DetachedMountCall::CloneOwn { of, path, .. } => {
                f.write_str(&open_tree_text(&within(*of, path), false))
            }
            DetachedMountCall::Idmap { mount } => {
                let set = "{attr_set=MOUNT_ATTR_IDMAP, userns_fd=</proc/<child>/ns/user>}";
                write!(f, "mount_setattr({mount}, \"\", AT_EMPTY_PATH, {set}, 32)")
            }
            DetachedMountCall::Make { kind, options, attributes, at_once, .. } => {
                let options: Vec<(&str, &OsStr)> =
                    options.iter().map(|(key, value)| (key.as_str(), value.as_os_str())).collect();
                f.write_str(&match at_once {
                    true => make_at_once_text(kind, &options, *attributes),
                    false => make_text(kind, options, *attributes),
                })
            }
            DetachedMountCall::Restrict { mount, attributes, below } => {
                let below = if *below { "|AT_RECURSIVE" } else { "" };
                write!(f, "mount_setattr({mount}, \"\", AT_EMPTY_PATH{below}, {{attr_set={attributes}}}, 32)")
            }
            DetachedMountCall::Stack { mount } => {
                write!(f, "move_mount({mount}, \"\", AT_FDCWD, \"/\", MOVE_MOUNT_F_EMPTY_PATH)")
            }
            DetachedMountCall::Attach { mount, at, path } => onto(f, &mount.to_string(), at, path),
            DetachedMountCall::Hide { at, path, directory } => {
                let cover = match directory {
                    true => make_text(
                        "tmpfs",
                        EMPTY.map(|(key, value)| (key, value.as_ref())),
                        Attributes::PROTECTED,
                    ),
                    false => open_tree_text(&within(Held::Dev, Path::new("null")), false),
                };
                write!(f, "{cover}; ")?;
                onto(f, "<mount>", at, path)?;
                f.write_str(IF_IT_EXISTS)
            }
            DetachedMountCall::Protect { at, path } => {
                write!(f, "{}; ", open_tree_text(&within(*at, path), true))?;
                let set = Attributes::PROTECTED;
                write!(
                    f,
                    "mount_setattr(<mount>, \"\", AT_EMPTY_PATH|AT_RECURSIVE, {{attr_set={set}}}, 32); "
                )?;
                onto(f, "<mount>", at, path)?;
                f.write_str(IF_IT_EXISTS)
            }
            DetachedMountCall::MakeDirectory { at, path, mode } => {
                write!(f, "mkdirat({}, 0{mode:o})", entry(*at, path))
            }
            DetachedMountCall::CopyDirectory { at, path, of, like } => {
                let (new, like) = (entry(*at, path), within(*of, like));
                write!(f, "mkdirat({new}, 0700); fchownat({new}, <uid>, <gid>, AT_SYMLINK_NOFOLLOW); ")?;
                write!(f, "fchmodat({new}, <mode>)  [those of {like}]")
            }
            DetachedMountCall::MakePlace { at, path, directory } => {
                let entry = entry(*at, path);
                match directory {
                    true => write!(f, "mkdirat({entry}, 0755)")?,
                    false => write!(f, "openat({entry}, {NEW_FILE}, 0644)")?,
                }
                f.write_str("  [EEXIST counts as success]")
            }
            DetachedMountCall::MakeFile { at, path, content } => {
                let entry = entry(*at, path);
                write!(f, "openat({entry}, {NEW_FILE}, 0644)")?;
                if content.is_empty() {
                    return Ok(());
                }
                let path = within(*at, path);
                write!(f, "; write({path}, {}, {})", c_string(content), content.len())
            }
            DetachedMountCall::MakeLink { at, path, target } => {
                write!(f, "symlinkat({}, {})", c_string(target), entry(*at, path))
            }
            DetachedMountCall::MakeNode { at, path, device: (major, minor), block, mode } => {
                let kind = if *block { "S_IFBLK" } else { "S_IFCHR" };
                let entry = entry(*at, path);
                // As strace(1) prints numbers: 0 has no prefix.
                let hex = |number: u64| if number == 0 { "0".to_owned() } else { format!("{number:#x}") };
                let (major, minor) = (hex(*major), hex(*minor));
                write!(f, "mknodat({entry}, {kind}|0{mode:03o}, makedev({major}, {minor}))")
            }
            DetachedMountCall::Enter => f.write_str("fchdir(<root>)"),
        }
    }
}

/// What follows a call that is not made if its path does not exist.
const IF_IT_EXISTS: &str = "  [if it exists]";

/// The flags with which a file is made.
const NEW_FILE: &str = "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC";

/// The options of the empty tmpfs that hides a directory.
const EMPTY: [(&str, &str); 2] = [("size", "4k"), ("nr_inodes", "1")];

/// A descriptor, printed as the path that it was opened on.
fn within(at: Held, path: &Path) -> String {
    format!("<{}/{}>", at.name(), printed(path).trim_start_matches('/'))
}

/// The descriptor of a parent directory, and the name of a new file in it.
fn entry(at: Held, path: &Path) -> String {
    match split(path) {
        (Some(directory), name) => format!("{}, {}", within(at, directory), c_string(name)),
        (None, name) => format!("{at}, {}", c_string(name)),
    }
}

impl DetachedMountCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            DetachedMountCall::Open { path, to } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::openat(CWD, path, flags, rustix::fs::Mode::empty());
                keep(slots, *to, directory.map_err(errno)?)
            }
            DetachedMountCall::Clone { path, below, to } => {
                let below = if *below { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | below;
                let mount = rustix::mount::open_tree(CWD, path, flags).map_err(errno)?;
                keep(slots, *to, mount)
            }
            DetachedMountCall::CloneJoined { pid, path, to } => {
                let mount = clone_joined(*pid, path)?;
                keep(slots, *to, mount)
            }
            DetachedMountCall::OpenOwn { of, path, to } => {
                let directory = find(slots.held(*of)?, path)?;
                keep(slots, *to, directory)
            }
            DetachedMountCall::CloneOwn { of, path, to } => {
                let mount = clone_of(find(slots.held(*of)?, path)?.as_fd(), false)?;
                keep(slots, *to, mount)
            }
            DetachedMountCall::Idmap { mount } => {
                let owner = std::fs::File::open(format!("/proc/{}/ns/user", slots.made()?)).map_err(errno)?;
                let mount = slots.held(*mount)?;
                sys::mount::set_attributes(mount, MOUNT_ATTR_IDMAP, false, Some(owner.as_fd())).map(|()| 0)
            }
            DetachedMountCall::Make { kind, options, attributes, at_once, to } => {
                let options: Vec<(&str, OsString)> =
                    options.iter().map(|(key, value)| (key.as_str(), slots.fill_held(value))).collect();
                let options: Vec<(&str, &OsStr)> =
                    options.iter().map(|(key, value)| (*key, value.as_os_str())).collect();
                let make = if *at_once { make_at_once } else { make };
                keep(slots, *to, make(kind, &options, *attributes)?)
            }
            DetachedMountCall::Restrict { mount, attributes, below } => {
                sys::mount::set_attributes(slots.held(*mount)?, attributes.0, *below, None).map(|()| 0)
            }
            DetachedMountCall::Stack { mount } => {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                rustix::mount::move_mount(slots.held(*mount)?, "", CWD, "/", flags).map_err(errno)?;
                Ok(0)
            }
            DetachedMountCall::Attach { mount, at, path } => {
                attach(slots.held(*mount)?, find(slots.held(*at)?, path)?.as_fd()).map(|()| 0)
            }
            DetachedMountCall::Hide { at, path, directory } => {
                let tree = slots.held(*at)?;
                let found = match at {
                    // A file of the host can be a symbolic link. Then the file to which it leads is covered.
                    Held::Root => match find(tree, path) {
                        Err(Errno::ENOENT) => Ok(None),
                        found => found.map(Some),
                    },
                    _ => find_kernels(tree, path),
                };
                let Some(place) = found? else { return Ok(0) };
                let cover = if *directory {
                    make("tmpfs", &EMPTY.map(|(key, value)| (key, value.as_ref())), Attributes::PROTECTED)?
                } else {
                    clone_of(find(slots.held(Held::Dev)?, Path::new("null"))?.as_fd(), false)?
                };
                attach(cover.as_fd(), place.as_fd()).map(|()| 0)
            }
            DetachedMountCall::Protect { at, path } => {
                let Some(place) = find_kernels(slots.held(*at)?, path)? else { return Ok(0) };
                let copy = clone_of(place.as_fd(), true)?;
                sys::mount::set_attributes(copy.as_fd(), Attributes::PROTECTED.0, true, None)?;
                attach(copy.as_fd(), place.as_fd()).map(|()| 0)
            }
            DetachedMountCall::MakeDirectory { at, path, mode } => {
                let mode = Mode::from_bits_truncate(*mode);
                in_parent(slots.held(*at)?, path, |parent, name| {
                    unmasked(|| nix::sys::stat::mkdirat(parent, name, mode))
                })
            }
            DetachedMountCall::CopyDirectory { at, path, of, like } => {
                let like = find(slots.held(*of)?, like)?;
                in_parent(slots.held(*at)?, path, |parent, name| copy_directory(parent, name, like.as_fd()))
            }
            DetachedMountCall::MakePlace { at, path, directory } => {
                in_parent(slots.held(*at)?, path, |parent, name| make_place(parent, name, *directory))
            }
            DetachedMountCall::MakeFile { at, path, content } => {
                let mut file = in_parent(slots.held(*at)?, path, make_file)?;
                let content = slots.with_address(content.as_bytes());
                if content.is_empty() {
                    return Ok(0);
                }
                let written = file.write(&content).map_err(errno)?;
                if written == content.len() { Ok(written as i64) } else { Err(Errno::ENOSPC) }
            }
            DetachedMountCall::MakeLink { at, path, target } => {
                in_parent(slots.held(*at)?, path, |parent, name| {
                    nix::unistd::symlinkat(target, parent, name).map(|()| 0)
                })
            }
            DetachedMountCall::MakeNode { at, path, device: (major, minor), block, mode } => {
                let kind = if *block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
                let device = nix::sys::stat::makedev(*major, *minor);
                let mode = Mode::from_bits_truncate(*mode);
                in_parent(slots.held(*at)?, path, |parent, name| {
                    unmasked(|| nix::sys::stat::mknodat(parent, name, kind, mode, device))
                })
            }
            DetachedMountCall::Enter => {
                let root = slots.held(Held::Root)?;
                nix::unistd::fchdir(root)?;
                slots.held.clear();
                Ok(0)
            }
        }
    }
}

fn keep(slots: &mut Slots, to: Held, descriptor: OwnedFd) -> Result<i64, Errno> {
    slots.held.insert(to, descriptor);
    Ok(0)
}

#[cfg(test)]
mod tests;
