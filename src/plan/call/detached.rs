//! Mounts by descriptor: they are made nowhere, filled, and put in their place when they're ready. open_tree(2), fsopen(2),
//! mount_setattr(2), move_mount(2); all of them are there since Linux 5.12.
//!
//! What lies in a new root may be hostile: its `proc` a link to `/etc`, its `dev` exchanged for one between two calls.
//! So nothing in it is named by a path from here. openat2(2) with RESOLVE_IN_ROOT resolves each path as if the new root
//! were `/` already, the descriptor that comes back can't be exchanged any more, and the mount is put onto that. Such a
//! descriptor is printed as what it was opened on: `<root/proc>`.

mod attributes;

use std::fmt;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag};
use rustix::fs::{CWD, OFlags, ResolveFlags, openat2};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use serde::{Deserialize, Serialize};

pub use self::attributes::Attributes;
use super::c_string;
use crate::error::errno;
use crate::plan::slots::{Held, Slots};
use crate::sys;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetachedMountCall {
    /// openat(2) of a directory of today.
    Open {
        /// Which.
        path: String,
        /// The slot.
        to: Held,
    },
    /// open_tree(2): a copy of a mount of today, from `path` down.
    Clone {
        /// What.
        path: String,
        /// Whether what is mounted below comes along.
        below: bool,
        /// The slot.
        to: Held,
    },
    /// open_tree(2): a copy of a mount, from a path in a tree of ours down.
    CloneOwn {
        /// The tree.
        of: Held,
        /// The path in it.
        path: String,
        /// The slot.
        to: Held,
    },
    /// mount_setattr(2): the ids of files are seen through the map of `<child>`'s user namespace.
    Idmap {
        /// The mount, which must be nowhere yet.
        mount: Held,
    },
    /// fsopen(2), fsconfig(2), fsmount(2): a new filesystem.
    Make {
        /// Its kind, `tmpfs`.
        kind: String,
        /// Its own options, `size` and `64m`. A slot in a value stands for that descriptor.
        options: Vec<(String, String)>,
        /// The mount's attributes.
        attributes: Attributes,
        /// The slot.
        to: Held,
    },
    /// mount_setattr(2).
    Restrict {
        /// The mount.
        mount: Held,
        /// Its attributes.
        attributes: Attributes,
        /// Whether those below get them too.
        below: bool,
    },
    /// move_mount(2): on top of the old root. Paths from `/` on don't see it: a process keeps the root below it.
    Stack {
        /// The mount.
        mount: Held,
    },
    /// move_mount(2): to a place in a tree of ours.
    Attach {
        /// The mount.
        mount: Held,
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
    },
    /// move_mount(2): the null device over a file, or an empty tmpfs over a directory. If it isn't there, nothing is done.
    Hide {
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
        /// Whether it's a directory.
        directory: bool,
    },
    /// A mount of a path onto itself that refuses writes. If it isn't there, nothing is done.
    Protect {
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
    },
    /// mkdirat(2).
    MakeDirectory {
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// openat2(2) with O_CREAT|O_EXCL, and one write.
    MakeFile {
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
        /// What is written.
        content: String,
    },
    /// symlinkat(2).
    MakeLink {
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// mknodat(2) of a character device that all may use.
    MakeNode {
        /// The tree.
        at: Held,
        /// The path in it.
        path: String,
        /// The device.
        device: (u64, u64),
    },
    /// fchdir(2) into the new root. From here on no descriptor is needed, and none is kept: `<lower>` would be a way out.
    Enter,
}

/// linux/mount.h
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

impl fmt::Display for DetachedMountCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let onto = |f: &mut fmt::Formatter<'_>, what: &str, at: &Held, path: &str| {
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
            DetachedMountCall::CloneOwn { of, path, .. } => {
                let own = within(*of, path);
                write!(f, "open_tree({own}, \"\", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH)")
            }
            DetachedMountCall::Idmap { mount } => {
                let set = "{attr_set=MOUNT_ATTR_IDMAP, userns_fd=</proc/<child>/ns/user>}";
                write!(f, "mount_setattr({mount}, \"\", AT_EMPTY_PATH, {set}, 32)")
            }
            DetachedMountCall::Make { kind, options, attributes, .. } => {
                let mut options = options
                    .iter()
                    .map(|(key, value)| if value.is_empty() { key.clone() } else { format!("{key}={value}") })
                    .collect::<Vec<_>>()
                    .join(",");
                if !options.is_empty() {
                    options.insert(0, ' ');
                }
                write!(f, "fsmount(<{kind}{options}>, FSMOUNT_CLOEXEC, {attributes})")
            }
            DetachedMountCall::Restrict { mount, attributes, below } => {
                let below = if *below { "|AT_RECURSIVE" } else { "" };
                write!(f, "mount_setattr({mount}, \"\", AT_EMPTY_PATH{below}, {{attr_set={attributes}}}, 32)")
            }
            DetachedMountCall::Stack { mount } => {
                write!(f, "move_mount({mount}, \"\", AT_FDCWD, \"/\", MOVE_MOUNT_F_EMPTY_PATH)")
            }
            DetachedMountCall::Attach { mount, at, path } => onto(f, &mount.to_string(), at, path),
            DetachedMountCall::Hide { at, path, directory: false } => onto(f, "<dev/null>", at, path),
            DetachedMountCall::Hide { at, path, directory: true } => onto(f, "<tmpfs ro>", at, path),
            DetachedMountCall::Protect { at, path } => {
                let path = within(*at, path);
                write!(
                    f,
                    "mount_setattr({path}, \"\", AT_EMPTY_PATH|AT_RECURSIVE, {{attr_set={}}}, 32)",
                    Attributes::PROTECTED
                )
            }
            DetachedMountCall::MakeDirectory { at, path, mode } => {
                write!(f, "mkdirat({}, 0{mode:o})", entry(*at, path))
            }
            DetachedMountCall::MakeFile { at, path, content } => {
                let path = within(*at, path);
                write!(f, "write({path}, {}, {})  [O_CREAT|O_EXCL]", c_string(content), content.len())
            }
            DetachedMountCall::MakeLink { at, path, target } => {
                write!(f, "symlinkat({}, {})", c_string(target), entry(*at, path))
            }
            DetachedMountCall::MakeNode { at, path, device: (major, minor) } => {
                let entry = entry(*at, path);
                write!(f, "mknodat({entry}, S_IFCHR|0666, makedev({major:#x}, {minor:#x}))")
            }
            DetachedMountCall::Enter => f.write_str("fchdir(<root>)"),
        }
    }
}

/// A descriptor as what it was opened on.
fn within(at: Held, path: &str) -> String {
    format!("<{}/{}>", at.name(), path.trim_start_matches('/'))
}

/// A descriptor of the directory that something is made in, and its name there.
fn entry(at: Held, path: &str) -> String {
    match path.trim_start_matches('/').rsplit_once('/') {
        Some((directory, name)) => format!("{}, {}", within(at, directory), c_string(name)),
        None => format!("{at}, {}", c_string(path.trim_start_matches('/'))),
    }
}

impl DetachedMountCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            DetachedMountCall::Open { path, to } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = rustix::fs::open(path.as_str(), flags, rustix::fs::Mode::empty());
                keep(slots, *to, directory.map_err(errno)?)
            }
            DetachedMountCall::Clone { path, below, to } => {
                let below = if *below { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | below;
                let mount = rustix::mount::open_tree(CWD, path.as_str(), flags).map_err(errno)?;
                keep(slots, *to, mount)
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
            DetachedMountCall::Make { kind, options, attributes, to } => {
                let options: Vec<(&str, String)> =
                    options.iter().map(|(key, value)| (key.as_str(), slots.fill_held(value))).collect();
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
                let Some(place) = find_kernels(slots.held(*at)?, path)? else { return Ok(0) };
                let cover = if *directory {
                    let options = [("size", "4k".to_owned()), ("nr_inodes", "1".to_owned())];
                    make("tmpfs", &options, Attributes::PROTECTED)?
                } else {
                    clone_of(find(slots.held(Held::Dev)?, "null")?.as_fd(), false)?
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
            DetachedMountCall::MakeFile { at, path, content } => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                let mut file = None;
                in_parent(slots.held(*at)?, path, |parent, name| {
                    unmasked(|| {
                        let made = rustix::fs::openat(parent, name, flags, mode).map_err(errno)?;
                        file = Some(std::fs::File::from(made));
                        Ok(())
                    })
                })?;
                let written = file.ok_or(Errno::EBADF)?.write(content.as_bytes()).map_err(errno)?;
                if written == content.len() { Ok(written as i64) } else { Err(Errno::ENOSPC) }
            }
            DetachedMountCall::MakeLink { at, path, target } => {
                in_parent(slots.held(*at)?, path, |parent, name| {
                    nix::unistd::symlinkat(target.as_str(), parent, name).map(|()| 0)
                })
            }
            DetachedMountCall::MakeNode { at, path, device: (major, minor) } => {
                let device = nix::sys::stat::makedev(*major, *minor);
                let mode = Mode::from_bits_truncate(0o666);
                in_parent(slots.held(*at)?, path, |parent, name| {
                    unmasked(|| nix::sys::stat::mknodat(parent, name, SFlag::S_IFCHR, mode, device))
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

/// A name that nobody can give a second meaning: the kernel takes `tree` for `/`, whatever links and `..` lie in the path.
/// Magic links, those of /proc/PID/fd, lead out of any root and are refused. EAGAIN: something was renamed meanwhile, so
/// the kernel can't say whether `..` led out. openat2(2)
fn find(tree: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..100 {
        match openat2(tree, path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty(), how) {
            Err(rustix::io::Errno::AGAIN) => {}
            found => return found.map_err(errno),
        }
    }
    Err(Errno::EAGAIN)
}

/// A file of the kernel's own (/proc, /sys), which no link leads to. None where this kernel doesn't have it; any other
/// answer is an error, since a mask that can't be made must not be passed over.
fn find_kernels(tree: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(tree, path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty(), how) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(errno(error)),
    }
}

/// Makes something in the directory that `path` is in, by its last name: a name alone is one in the tree's own directory.
fn in_parent<T>(
    tree: BorrowedFd<'_>,
    path: &str,
    make: impl FnOnce(BorrowedFd<'_>, &str) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match path.trim_start_matches('/').rsplit_once('/') {
        Some((directory, name)) => make(find(tree, directory)?.as_fd(), name),
        None => make(tree, path.trim_start_matches('/')),
    }
}

fn clone_of(what: BorrowedFd<'_>, below: bool) -> Result<OwnedFd, Errno> {
    let below = if below { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(what, "", flags | OpenTreeFlags::AT_EMPTY_PATH | below).map_err(errno)
}

fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags).map_err(errno)
}

/// A new filesystem. `source` is only what the mount table shows of it.
fn make(kind: &str, options: &[(&str, String)], attributes: Attributes) -> Result<OwnedFd, Errno> {
    let make = || {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", kind)?;
        for (key, value) in options {
            if value.is_empty() {
                rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?;
            } else {
                rustix::mount::fsconfig_set_string(context.as_fd(), *key, value.as_str())?;
            }
        }
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::from_bits_retain(attributes.0 as u32);
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(errno)
}

fn keep(slots: &mut Slots, to: Held, descriptor: OwnedFd) -> Result<i64, Errno> {
    slots.held.insert(to, descriptor);
    Ok(0)
}

/// Modes as they are said: the caller's umask would take bits away. To set them afterwards would take a second look-up.
fn unmasked(make: impl FnOnce() -> Result<(), Errno>) -> Result<i64, Errno> {
    let mask = nix::sys::stat::umask(Mode::empty());
    let made = make();
    nix::sys::stat::umask(mask);
    made.map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory as a hostile image has it: links to a place outside, absolute and by `..`.
    fn hostile() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        let root = directory.path().join("root");
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("relative")).unwrap();
        std::os::unix::fs::symlink("/proc/self/root", root.join("magic")).unwrap();
        let root = rustix::fs::open(&root, OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        (directory, root)
    }

    #[test]
    fn no_link_leads_out_of_a_tree() {
        let (directory, root) = hostile();
        assert!(directory.path().join("root/absolute").is_dir(), "a path from here does lead there");
        for link in ["absolute", "relative", "magic", "../outside"] {
            assert_eq!(find(root.as_fd(), link).map(|_| ()), Err(Errno::ENOENT), "{link}");
            let made = in_parent(root.as_fd(), &format!("{link}/x"), |_, _| Ok(()));
            assert_eq!(made, Err(Errno::ENOENT), "{link}");
        }
        assert!(find(root.as_fd(), "/").is_ok());
    }

    #[test]
    fn calls_are_printed_with_what_their_descriptors_were_opened_on() {
        let call = DetachedMountCall::Attach { mount: Held::Mount, at: Held::Root, path: "/srv".into() };
        let words =
            "move_mount(<mount>, \"\", <root/srv>, \"\", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)";
        assert_eq!(call.to_string(), words);
        let call = DetachedMountCall::MakeDirectory { at: Held::Root, path: "/home/me".into(), mode: 0o755 };
        assert_eq!(call.to_string(), "mkdirat(<root/home>, \"me\", 0755)");
        assert_eq!(
            Attributes::PROTECTED.to_string(),
            "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC"
        );
    }
}
