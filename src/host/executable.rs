//! Why a file cannot be executed, as far as its path, its type, its permissions and its mount show. What is in the
//! file is another question: `diagnose::executable`.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{AccessFlags, access};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};

use super::home::HomePlace;
use super::resolver::Resolver;
use crate::observe::mountinfo;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// What prevents that a file is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// Whether no such file exists. Otherwise it exists, but cannot be executed.
    pub is_missing: bool,
    /// The reason, as a sentence.
    pub why: String,
    /// What to do, if there is something.
    pub todo: Option<String>,
}

impl Hindrance {
    fn missing(why: String) -> Hindrance {
        Hindrance { is_missing: true, why, todo: None }
    }

    fn refused(why: String) -> Hindrance {
        Hindrance { is_missing: false, why, todo: None }
    }

    fn todo(self, todo: String) -> Hindrance {
        Hindrance { todo: Some(todo), ..self }
    }
}

/// A file that can perhaps be executed.
#[derive(Debug)]
pub struct Executable {
    /// Its path on the host, without symbolic links.
    pub host: PathBuf,
    /// Its path in the container, without symbolic links.
    pub container: PathBuf,
    /// Opened with O_PATH: a device or a FIFO is not touched by that.
    file: OwnedFd,
}

impl Executable {
    /// Opens the file for reading.
    ///
    /// # Errors
    /// It may not be read.
    pub fn open(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

/// Advice to change a file, and the command line that changes it. `line` makes it for a path.
///
/// All images with the same layer share its files, and a digest names them. So a file of an image is changed in a Dockerfile.
pub fn change(advice: &str, (host, container): (&Path, &Path), line: impl Fn(&str) -> String) -> String {
    match is_in_image(host) {
        true => format!("{}\n   RUN {}\n{}", text(advice), line(&quote(container)), text("exec.image")),
        false => format!("{}\n   {}", text(advice), line(&quote(host))),
    }
}

/// Whether a file belongs to an image that is unpacked.
fn is_in_image(host: &Path) -> bool {
    let layers = HomePlace::find().path.join("layers");
    host.starts_with(&layers) || layers.canonicalize().is_ok_and(|layers| host.starts_with(layers))
}

/// Looks at the file of a path in the container. Nothing follows a link out of the container's root.
///
/// # Errors
/// The file is missing, is no regular file, has no execute permission, or its mount forbids it.
pub fn look(path: &Path, tree: &Resolver) -> Result<Executable, Hindrance> {
    let shown = printed(path);
    let resolved = tree.resolve(path);
    let (Some(host), Some(place)) = (resolved.host, tree.place(&resolved.container)) else {
        return Err(match tree.on_host(&resolved.container) {
            Some(_) => Hindrance::refused(text_with("exec.loop", &[("path", &shown)])),
            None => Hindrance::missing(match file_above(&resolved.container, tree) {
                Some(file) => text_with("exec.component", &[("path", &shown), ("file", &printed(file))]),
                None if tree.is_in_mount(&resolved.container) => {
                    text_with("exec.covered", &[("path", &shown)])
                }
                // A layer has deleted it.
                None => text_with("exec.nofile", &[("path", &shown)]),
            }),
        });
    };
    let file = match open_as_path(place) {
        Ok(file) => file,
        Err(error) => return Err(unopened(path, &resolved.container, tree, &error)),
    };
    let Ok(metadata) = std::fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return Ok(Executable { host, container: resolved.container, file });
    };
    match refused(&shown, (&host, &resolved.container), &file, &metadata) {
        Some(obstacle) => Err(obstacle),
        None => Ok(Executable { host, container: resolved.container, file }),
    }
}

/// Opens a file below the directory or file on the host that is mounted above it. If a container puts a symbolic link
/// into that path meanwhile, this fails.
fn open_as_path((base, rest): (&Path, &Path)) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let above = rustix::fs::open(base, flags, Mode::empty())?;
    if rest.as_os_str().is_empty() {
        return Ok(above);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(&above, rest, flags, Mode::empty(), resolve)?)
}

/// The reason why a path leads to no file.
fn unopened(path: &Path, container: &Path, tree: &Resolver, error: &io::Error) -> Hindrance {
    let shown = printed(path);
    match error.raw_os_error() {
        Some(libc::ELOOP) => Hindrance::refused(text_with("exec.loop", &[("path", &shown)])),
        Some(libc::ENAMETOOLONG) => Hindrance::missing(text("exec.toolong")),
        Some(libc::EACCES) => Hindrance::refused(text_with("exec.search", &[("path", &shown)]))
            .todo(format!("{}\n   namei -l {}", text("exec.search.todo"), quote(path))),
        Some(libc::ENOTDIR) => {
            let above = file_above(container, tree).unwrap_or(container);
            let above = printed(above);
            Hindrance::missing(text_with("exec.component", &[("path", &shown), ("file", &above)]))
        }
        _ if is_link(path, tree) => {
            let target = printed(container);
            Hindrance::missing(text_with("exec.dangling", &[("path", &shown), ("target", &target)]))
        }
        _ => Hindrance::missing(text_with("exec.nofile", &[("path", &shown)])),
    }
}

/// The file that a path goes through as if it were a directory.
fn file_above<'p>(container: &'p Path, tree: &Resolver) -> Option<&'p Path> {
    let is_file =
        |above: &&Path| tree.resolve(above).host.is_some_and(|host| host.exists() && !host.is_dir());
    container.ancestors().skip(1).find(is_file)
}

/// Whether the last component of a path is a symbolic link.
fn is_link(path: &Path, tree: &Resolver) -> bool {
    let above = path.parent().map(|above| tree.resolve(above).container);
    let link = above.zip(path.file_name()).map(|(above, name)| above.join(name));
    link.and_then(|link| tree.on_host(&link)).is_some_and(|host| host.is_symlink())
}

/// The reason why a file that exists is not executed: its type, its mode, its mount.
fn refused(
    shown: &str,
    (host, container): (&Path, &Path),
    file: &OwnedFd,
    metadata: &Metadata,
) -> Option<Hindrance> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Some(Hindrance::refused(text_with("exec.directory", &[("path", shown)])));
    }
    if !kind.is_file() {
        let kind = match kind {
            kind if kind.is_socket() => "exec.kind.socket",
            kind if kind.is_fifo() => "exec.kind.fifo",
            _ => "exec.kind.device",
        };
        let kind = text(kind);
        return Some(Hindrance::refused(text_with("exec.irregular", &[("path", shown), ("kind", &kind)])));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o111 == 0 {
        let why = text_with("exec.mode", &[("path", shown), ("mode", &format!("{mode:04o}"))]);
        // On a read-only filesystem, the mode cannot be changed.
        let is_readonly = fstatvfs(file).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_RDONLY));
        let todo = match is_readonly && !is_in_image(host) {
            true => text("exec.mode.readonly"),
            false => change("exec.mode.todo", (host, container), |file| format!("chmod +x {file}")),
        };
        return Some(Hindrance::refused(why).todo(todo));
    }
    if fstatvfs(file).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOEXEC)) {
        let mount = mount_of(file).unwrap_or_default();
        let why = text_with("exec.noexec", &[("path", shown), ("mount", &mount)]);
        return Some(Hindrance::refused(why).todo(text("exec.noexec.todo")));
    }
    // The caller's own permissions; those of another user of the command are known only to the kernel.
    access(host, AccessFlags::X_OK).err().map(|_| {
        let why = text_with("exec.mode", &[("path", shown), ("mode", &format!("{mode:04o}"))]);
        Hindrance::refused(why)
    })
}

/// The mount point of the mount of a file.
fn mount_of(file: impl AsFd) -> Option<String> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let table = mountinfo::read("/proc/self").ok()?;
    let mount = mountinfo::mounts(&table).find(|mount| u64::from(mount.id) == found.stx_mnt_id)?;
    Some(printed(&*mount.mount_point))
}
