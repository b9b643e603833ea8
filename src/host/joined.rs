//! The namespaces that a container joins, as they are found before its plan is made.
//!
//! What is named may be anything: a FIFO, a device, a file of another user. So it is first opened only for its path
//! (O_PATH), which never waits and has no effect. It is opened for setns(2) when it has proved to be a namespace.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, fstatfs, openat, stat};

use super::containers;
use super::identity::JoinedMaps;
use super::untrusted::{UntrustedRoot, within_patience};
use crate::error::{Error, Result, errno};
use crate::feature::Feature;
use crate::sys::ns_ioctl;
use crate::text::{printed, text, text_with};
use crate::value::join::{JoinTarget, short};
use crate::value::typed::TypedCommand;

/// The type of the filesystem of namespaces: `NSFS_MAGIC` of statfs(2).
const NSFS: u64 = 0x6e73_6673;

/// The maximum number of user namespaces between the caller's and another one. The kernel allows 32 levels.
const MAX_LEVELS: usize = 33;

/// The maximum size of a file that is taken over from a container.
const MAX_FILE: u64 = 64 << 10;

/// A namespace that a container joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedNamespace {
    /// Its kind.
    pub kind: Feature,
    /// What the user wrote.
    pub target: JoinTarget,
    /// The process of the container, or the one that the path names.
    pub pid: Option<i32>,
    /// The file that refers to it.
    pub path: PathBuf,
    /// The device and the inode of that file: the identity of the namespace, as long as it is open.
    pub identity: (u64, u64),
    /// Keeps it open.
    pub open: OpenNamespace,
    /// Whether it is the caller's own.
    pub is_own: bool,
    /// Whether it is a PID namespace in which the caller can have no child: neither the caller's own nor one below it.
    pub is_above: bool,
    /// The inodes of the user namespaces that own it: the owner, the owner's parent, and so on up to the caller's. Empty:
    /// the owner is neither the caller's user namespace nor below it.
    pub owners: Vec<u64>,
    /// The maps of a user namespace. None: it has no process in which they could be read.
    pub maps: Option<JoinedMaps>,
    /// Of a user namespace: the user who made it.
    pub made_by: Option<u32>,
}

/// A namespace that is open. Without a process or a descriptor in it, it ends, and the kernel gives its inode to the next
/// new one at once. So it stays open from the look at it to the end of the plan: meanwhile its inode means no other one.
#[derive(Debug, Clone)]
pub struct OpenNamespace {
    _file: Arc<OwnedFd>,
}

/// Which namespace it is, the identity beside it says.
impl PartialEq for OpenNamespace {
    fn eq(&self, _: &OpenNamespace) -> bool {
        true
    }
}

impl Eq for OpenNamespace {}

/// The files of a container that depend on its network. One that does not exist, or is no regular file, is missing here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFiles {
    /// Its hostname.
    pub hostname: Option<OsString>,
    /// /etc/hosts.
    pub hosts: Option<OsString>,
    /// /etc/resolv.conf.
    pub resolvers: Option<OsString>,
}

impl JoinedNamespace {
    /// Looks at the namespace of this kind that `target` names. None: it is the caller's own, by its name `host`.
    ///
    /// # Errors
    /// There is no such container or file, it is no namespace of this kind, or the caller may not open it.
    pub fn find(kind: Feature, target: &JoinTarget) -> Result<Option<JoinedNamespace>> {
        let (container, pid, path) = match target {
            JoinTarget::Host => return Ok(None),
            JoinTarget::Path(path) => (None, process_of(path), path.clone()),
            JoinTarget::Container(name) => {
                let line = containers::find(name)?;
                let (pid, path) = (line.pid, PathBuf::from(format!("/proc/{}/ns/{kind}", line.pid)));
                (Some(line), Some(pid), path)
            }
        };
        let namespace = open(kind, &path)?;
        let found = fstat(&namespace).map_err(|error| failed(&path, "fstat", error))?;
        let identity = identity(&found);
        let name = name_of(kind, identity);
        if let Some(container) = container.filter(|container| container.has_left(kind, &name)) {
            return Err(container.left(kind, &name));
        }
        let own = PathBuf::from(format!("/proc/self/ns/{kind}"));
        let own = match stat(&own) {
            Ok(found) => Some(self::identity(&found)),
            Err(rustix::io::Errno::NOENT) => None,
            Err(error) => return Err(failed(&own, "stat", error)),
        };
        let is_user = kind == Feature::User;
        let is_above = kind == Feature::Pid && !is_below(&namespace, own, &path)?;
        let owners = owners(&namespace, &path)?;
        let made_by = is_user.then(|| ns_ioctl::owner_uid(&namespace)).transpose();
        let made_by = made_by.map_err(|errno| unanswered(&path, "NS_GET_OWNER_UID", errno))?;
        Ok(Some(JoinedNamespace {
            kind,
            target: target.clone(),
            pid,
            path,
            identity,
            is_own: own == Some(identity),
            is_above,
            owners,
            maps: if is_user { maps(pid, identity)? } else { None },
            made_by,
            open: OpenNamespace { _file: Arc::new(namespace) },
        }))
    }

    /// Its name, as the kernel shows it: `net:[4026532281]`.
    pub fn name(&self) -> String {
        name_of(self.kind, self.identity)
    }

    /// The container to which it belongs, for a message: `container web, pid 4711`.
    pub fn whose(&self) -> String {
        let pid = self.pid.map(|pid| pid.to_string()).unwrap_or_default();
        match &self.target {
            JoinTarget::Container(name) if *name != pid => {
                text_with("join.container", &[("name", short(name)), ("pid", &pid)])
            }
            JoinTarget::Container(_) => text_with("join.process", &[("pid", &pid)]),
            _ => printed(&self.path),
        }
    }

    /// The files of the container whose network is joined. None: it is not a container's, so no process is known.
    ///
    /// # Errors
    /// They do not answer.
    pub fn network_files(&self) -> Result<Option<NetworkFiles>> {
        let JoinTarget::Container(_) = self.target else { return Ok(None) };
        let Some(pid) = self.pid else { return Ok(None) };
        within_patience(pid, move || Ok(UntrustedRoot::of(pid).ok().map(|root| NetworkFiles::of(&root))))
    }
}

impl NetworkFiles {
    fn of(root: &UntrustedRoot) -> NetworkFiles {
        let read = |path: &str| root.read(path, MAX_FILE).ok().map(OsString::from_vec);
        let hostname = read("etc/hostname").and_then(|name| {
            let name = name.to_str()?.trim().to_owned();
            let is_name = !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
            is_name.then(|| name.into())
        });
        NetworkFiles { hostname, hosts: read("etc/hosts"), resolvers: read("etc/resolv.conf") }
    }
}

/// The path of an open descriptor.
fn link_of(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Opens a namespace of this kind.
fn open(kind: Feature, path: &Path) -> Result<OwnedFd> {
    let place = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| unopened(path, error))?;
    let filesystem = fstatfs(&place).map_err(|error| failed(path, "fstatfs", error))?;
    if filesystem.f_type as u64 != NSFS {
        let found = fstat(&place).map_err(|error| failed(path, "fstat", error))?;
        let key = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => "gc.kind.file",
            FileType::Directory => "gc.kind.directory",
            FileType::Fifo => "gc.kind.fifo",
            FileType::Socket => "gc.kind.socket",
            _ => "gc.kind.device",
        };
        return Err(other(kind, path).why(text(key)));
    }
    let namespace = openat(CWD, link_of(&place), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| unopened(path, error))?;
    let flag = ns_ioctl::kind(&namespace).map_err(|errno| unanswered(path, "NS_GET_NSTYPE", errno))?;
    match Feature::NAMESPACES.iter().find(|kind| kind.clone_flag() == flag) {
        Some(found) if *found == kind => Ok(namespace),
        found => {
            let name = found.map_or("?", |found| found.name());
            let values = [("name", name), ("kind", kind.name())];
            Err(other(kind, path).why(text_with("join.kind.reason", &values)))
        }
    }
}

/// Why a file cannot be opened.
fn unopened(path: &Path, error: rustix::io::Errno) -> Error {
    let failed = failed(path, "openat", error);
    match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => {
            failed.why(text("join.missing.reason")).todo("lsns")
        }
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => {
            let error = failed.why(text("join.refused.reason"));
            match rustix::process::geteuid().is_root() {
                true => error,
                false => error.paste(TypedCommand::of_this_process().as_root()),
            }
        }
        _ => failed,
    }
}

fn failed(path: &Path, call: &str, error: rustix::io::Errno) -> Error {
    Error::failed(cannot(path)).call(format!("{call}({:?})", printed(path)), errno(error))
}

fn cannot(path: &Path) -> String {
    text_with("join.cannot", &[("path", &printed(path))])
}

/// The error of a file that is no namespace of this kind.
fn other(kind: Feature, path: &Path) -> Error {
    let values = [("path", &*printed(path)), ("kind", kind.name())];
    Error::failed(text_with("join.other", &values)).todo(format!("ls -l /proc/self/ns/{kind}"))
}

/// The name of a namespace, as the kernel shows it.
fn name_of(kind: Feature, (_, inode): (u64, u64)) -> String {
    format!("{kind}:[{inode}]")
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// The PID in `/proc/PID/ns/net`.
fn process_of(path: &Path) -> Option<i32> {
    let mut parts = path.strip_prefix("/proc").ok()?.iter();
    let pid = parts.next()?.to_str()?.parse().ok()?;
    (parts.next()? == "ns").then_some(pid)
}

/// The inodes of the user namespaces that own a namespace, up to the caller's.
fn owners(namespace: &OwnedFd, path: &Path) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    let mut owner = visible(ns_ioctl::owner(namespace), path, "NS_GET_USERNS")?;
    while let Some(found) = owner.filter(|_| all.len() < MAX_LEVELS) {
        all.push(fstat(&found).map_err(|error| failed(path, "fstat", error))?.st_ino);
        owner = visible(ns_ioctl::parent(&found), path, "NS_GET_PARENT")?;
    }
    Ok(all)
}

/// Whether a PID namespace is this one or below it. setns(2) accepts no other.
fn is_below(namespace: &OwnedFd, own: Option<(u64, u64)>, path: &Path) -> Result<bool> {
    let identity_of = |file: &OwnedFd| fstat(file).map_err(|error| failed(path, "fstat", error));
    let mut is_own = own == Some(identity(&identity_of(namespace)?));
    let mut above = visible(ns_ioctl::parent(namespace), path, "NS_GET_PARENT")?;
    while let Some(found) = above.filter(|_| !is_own) {
        is_own = own == Some(identity(&identity_of(&found)?));
        above = visible(ns_ioctl::parent(&found), path, "NS_GET_PARENT")?;
    }
    Ok(is_own)
}

/// A related namespace. None (EPERM): the caller cannot see it, because it is above the caller's own one.
fn visible(
    found: std::result::Result<OwnedFd, Errno>,
    path: &Path,
    request: &str,
) -> Result<Option<OwnedFd>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::EPERM) => Ok(None),
        Err(errno) => Err(unanswered(path, request, errno)),
    }
}

fn unanswered(path: &Path, request: &str, errno: Errno) -> Error {
    Error::failed(cannot(path)).call(format!("ioctl(<{}>, {request})", printed(path)), errno)
}

/// The maps of a user namespace, from one of its processes. None: it has no process.
///
/// # Errors
/// As [`JoinedMaps::of`].
fn maps(pid: Option<i32>, namespace: (u64, u64)) -> Result<Option<JoinedMaps>> {
    let is_in =
        |pid: &i32| stat(format!("/proc/{pid}/ns/user")).is_ok_and(|found| identity(&found) == namespace);
    let all = || {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find(is_in)
    };
    pid.filter(is_in).or_else(all).map(JoinedMaps::of).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: impl Into<PathBuf>) -> JoinTarget {
        JoinTarget::Path(path.into())
    }

    #[test]
    fn a_namespace_is_known_by_its_inode() {
        let own = JoinedNamespace::find(Feature::Uts, &path("/proc/self/ns/uts")).unwrap().unwrap();
        assert!(own.is_own && !own.owners.is_empty());
        let link = std::fs::read_link("/proc/self/ns/uts").unwrap();
        assert_eq!(own.name(), link.to_str().unwrap());
        assert_eq!(JoinedNamespace::find(Feature::Uts, &JoinTarget::Host), Ok(None));
    }

    #[test]
    fn only_a_namespace_of_the_kind_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (other, word) in [
            (fifo, "FIFO"),
            ("/etc/passwd".into(), "regular"),
            ("/proc/self/status".into(), "regular"),
            ("/dev/null".into(), "device"),
            ("/".into(), "directory"),
            ("/proc/self/ns/net".into(), "net"),
            ("/no/such/file".into(), "does not exist"),
        ] {
            let error = JoinedNamespace::find(Feature::Uts, &path(&other)).unwrap_err();
            assert!(error.reasons().contains(word), "{other:?}: {error:?}");
        }
    }

    #[test]
    fn a_path_in_proc_names_a_process() {
        assert_eq!(process_of(Path::new("/proc/12/ns/net")), Some(12));
        for other in ["/proc/12", "/proc/self/ns/net", "/run/netns/12", "/proc/12/root/ns"] {
            assert_eq!(process_of(Path::new(other)), None);
        }
    }
}
