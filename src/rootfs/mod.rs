//! The root filesystem: the files that a container sees, and no path back to those that it was made from.
//!
//! A root is built beside the old one, out of mounts that lie nowhere yet, then laid on top of it, filled, and made the
//! root of the mount table by pivot_root(2); after that the old one is detached. Until then the old root is needed: for
//! the sources of binds, and because the kernel gives a user namespace a new proc or sysfs only where one is in sight.
//! Everything is named by descriptors, never by a path through the new root, which may be hostile: `plan::call::detached`.
//!
//! | file | what |
//! |---|---|
//! | `overlay` | where the files come from, and where what's written goes |
//! | `etc` | the three files of /etc that every container has of its own |
//! | `kernel` | /proc and /sys, and what of them is masked |
//! | `dev` | a /dev with the devices that any program expects, and no other |
//! | `mounts` | what the spec mounts besides |
//!
//! What you'll see: /proc/self/mountinfo inside lists mounts of ours alone.

mod dev;
mod etc;
mod kernel;
mod mounts;
mod overlay;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::host::files::is_directory;
use crate::host::resolver::Resolver;
use crate::host::{Files, Host};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::order::Phase;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call, Draft};
use crate::text::{text, text_with};
use crate::value::mount::ExtraMount;

/// Which files the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rootfs {
    /// `host`: this machine's own, under a throw-away overlay.
    Host,
    /// `./dir`: those of a directory.
    Dir(PathBuf),
}

impl Rootfs {
    /// The same, with a relative path made absolute from `base`: the directory of the file that it was read from.
    pub fn resolve(self, base: &Path) -> Rootfs {
        match self {
            Rootfs::Dir(path) => Rootfs::Dir(base.join(path)),
            Rootfs::Host => Rootfs::Host,
        }
    }
}

impl FromStr for Rootfs {
    type Err = String;

    /// A directory begins with `.` or `/`: any other word could be the name of an image.
    fn from_str(words: &str) -> Result<Self, String> {
        match words {
            "host" => Ok(Rootfs::Host),
            path if path.starts_with(['.', '/']) => Ok(Rootfs::Dir(path.into())),
            _ => Err(text("rootfs.form")),
        }
    }
}

impl TryFrom<String> for Rootfs {
    type Error = String;

    fn try_from(words: String) -> Result<Self, String> {
        words.parse()
    }
}

impl From<Rootfs> for String {
    fn from(rootfs: Rootfs) -> String {
        rootfs.to_string()
    }
}

impl fmt::Display for Rootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rootfs::Host => f.write_str("host"),
            // A relative path that somebody put together without its dot stays a path when it's read again.
            Rootfs::Dir(path) if path.starts_with(".") || path.starts_with("..") || path.is_absolute() => {
                path.display().fmt(f)
            }
            Rootfs::Dir(path) => write!(f, "./{}", path.display()),
        }
    }
}

/// Of this machine's files these are another's business: empty directories unless something is bound there.
const HIDDEN: [(&str, u32); 4] = [("home", 0o755), ("root", 0o700), ("run", 0o755), ("tmp", 0o1777)];
/// What an empty tmpfs may hold, and the layer that takes what is written: it's memory, and nobody else's disk.
const ROOM: &str = "64m";
/// The directories that are ours: what is mounted there doesn't come from a directory's files.
const OURS: [&str; 3] = ["proc", "sys", "dev"];

/// What is asked for, and what of the rest of the container it depends on.
#[derive(Debug, Default)]
pub struct RootRequest<'a> {
    /// The root; none keeps the one of the host.
    pub rootfs: Option<&'a Rootfs>,
    /// A directory is kept as it is: what is written goes to an overlay.
    pub overlay: bool,
    /// Whether the root is read-only.
    pub readonly: bool,
    /// The mounts besides, in their order.
    pub mounts: Vec<ExtraMount>,
    /// What paths resolve to where the root of the host is kept.
    pub resolver: Resolver,
    /// How the mounts of the new mount namespace propagate.
    pub propagation: Propagation,
    /// Another root is asked for too: `mnt.root`.
    pub has_other_root: bool,
    /// There is a new user namespace.
    pub new_user: bool,
    /// It maps other IDs than the caller's own.
    pub maps_ranges: bool,
    /// There is a new network namespace.
    pub new_net: bool,
    /// That network leads out of the machine.
    pub leads_out: bool,
    /// There is a new IPC namespace.
    pub new_ipc: bool,
    /// /proc is mounted for a new PID namespace.
    pub new_proc: bool,
    /// The host name, where it is not the host's.
    pub hostname: Option<&'a str>,
}

/// The plan of a root file system while its steps are added.
struct Site<'a> {
    wanted: &'a RootRequest<'a>,
    host: &'a Host,
    files: &'a Files,
    /// What paths in the container resolve to, as far as the steps have been added.
    resolver: Resolver,
    /// When the steps that are drawn now are made.
    phase: Phase,
    draft: &'a mut Draft,
}

impl Site<'_> {
    /// A step of the child's.
    fn step(&mut self, call: impl Into<Call>, why: &'static str) {
        self.draft.step(self.phase, Actor::Child, Feature::Mnt, call, why);
    }

    /// A new filesystem, put into the new root.
    fn filesystem(
        &mut self,
        kind: &str,
        options: &[(&str, &str)],
        attributes: Attributes,
        at: (Held, &str),
        why: &'static str,
    ) {
        self.make(kind, options, attributes, Held::Mount, why);
        self.attach(Held::Mount, at, why);
    }

    fn make(
        &mut self,
        kind: &str,
        options: &[(&str, &str)],
        attributes: Attributes,
        to: Held,
        why: &'static str,
    ) {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.step(DetachedMountCall::Make { kind: kind.into(), options, attributes, to }, why);
    }

    fn attach(&mut self, mount: Held, (at, path): (Held, &str), why: &'static str) {
        self.step(DetachedMountCall::Attach { mount, at, path: path.into() }, why);
    }

    fn refuse(&mut self, what: String, why: String, todo: &str) {
        self.draft.problem(Feature::Mnt, Error::failed(what).why(why).todo(text(todo)));
    }

    /// Whether the new namespaces belong to another user namespace than the first.
    fn is_user(&self) -> bool {
        self.wanted.new_user || self.files.is_nested
    }

    /// Whether the caller may do what it likes with the mounts that there are.
    fn is_privileged(&self) -> bool {
        self.host.privileged && !self.files.is_nested
    }

    /// Whether what is made in the new root is gone with it.
    fn is_throw_away(&self) -> bool {
        match self.wanted.rootfs {
            Some(Rootfs::Host) => true,
            Some(Rootfs::Dir(_)) => self.wanted.overlay,
            None => false,
        }
    }
}

/// The steps of a root filesystem.
pub fn plan(wanted: &RootRequest<'_>, host: &Host, draft: &mut Draft) {
    let Some(rootfs) = wanted.rootfs else { return plan_mounts(wanted, host, draft) };
    let Some(files) = &host.files else { return };
    let phase = Phase::Layers;
    let mut site = Site { wanted, host, files, resolver: resolver_of(rootfs), phase, draft };
    check(&mut site, rootfs);
    etc::say(&mut site);
    overlay::plan(&mut site, rootfs);
    site.phase = Phase::Mounts;
    kernel::plan(&mut site);
    dev::plan(&mut site);
    kernel::mask(&mut site);
    mounts::plan(&mut site, &wanted.mounts);
    site.phase = Phase::Root;
    plan_readonly(&mut site);
    site.step(DetachedMountCall::Enter, "rootfs.enter.why");
    let pivot = MountCall::PivotRoot { new_root: ".".into(), put_old: ".".into() };
    site.step(pivot, "mnt.pivot.why");
    site.step(MountCall::Detach { target: ".".into() }, "mnt.detach.why");
    // By its path, now that it's the only `/` there is: a directory that was opened before could be one of the old root. The
    // command's own directory comes last, in Phase::WorkingDirectory.
    site.step(MountCall::Chdir { path: "/".into() }, "mnt.chdir.why");
}

/// The steps of mounts, and of a read-only root, where the root stays the one that it is.
fn plan_mounts(wanted: &RootRequest<'_>, host: &Host, draft: &mut Draft) {
    if wanted.mounts.is_empty() && !wanted.readonly {
        return;
    }
    let none = Files::default();
    let phase = Phase::Mounts;
    let mut site = Site { wanted, host, files: &none, resolver: wanted.resolver.clone(), phase, draft };
    if wanted.has_other_root {
        site.refuse("`mounts` below `mnt`".into(), text("rootfs.root"), "rootfs.root.todo");
    }
    site.step(DetachedMountCall::Open { path: "/".into(), to: Held::Root }, "rootfs.current.why");
    mounts::plan(&mut site, &wanted.mounts);
    plan_readonly(&mut site);
}

fn plan_readonly(site: &mut Site<'_>) {
    if site.wanted.readonly {
        let call = DetachedMountCall::Restrict {
            mount: Held::Root,
            attributes: Attributes::READ_ONLY,
            below: false,
        };
        site.step(call, "rootfs.readonly.why");
    }
}

/// What paths in the container resolve to.
pub fn resolver(rootfs: &Rootfs, mounts: &[ExtraMount]) -> Resolver {
    let mut resolver = resolver_of(rootfs);
    for name in OURS {
        resolver.empty(&resolver.resolve(&Path::new("/").join(name)));
    }
    for mount in mounts {
        mounts::show(mount, &mut resolver);
    }
    resolver
}

/// The root before anything is mounted in it.
fn resolver_of(rootfs: &Rootfs) -> Resolver {
    match rootfs {
        Rootfs::Dir(directory) => Resolver::new(Some(directory)),
        Rootfs::Host => {
            let mut resolver = Resolver::new(Some(Path::new("/")));
            for (name, _) in HIDDEN {
                resolver.empty(&resolver.resolve(&Path::new("/").join(name)));
            }
            resolver
        }
    }
}

/// What can be known before.
fn check(site: &mut Site<'_>, rootfs: &Rootfs) {
    let (major, minor) = site.files.kernel;
    let what = format!("rootfs: {rootfs}");
    if (major, minor) < (5, 12) {
        let version = format!("{major}.{minor}");
        site.refuse(what.clone(), text_with("rootfs.kernel", &[("version", &version)]), "rootfs.kernel.todo");
    }
    if site.wanted.has_other_root {
        site.refuse(what.clone(), text("rootfs.root"), "rootfs.root.todo");
    }
    if matches!(site.wanted.propagation, Propagation::Shared | Propagation::Unchanged) {
        site.refuse(what.clone(), text("mnt.root.shared"), "mnt.root.private");
    }
    let Rootfs::Dir(directory) = rootfs else { return };
    match is_directory(directory) {
        Ok(Some(true)) => {}
        Ok(_) => return site.refuse(what, text("mnt.root.why"), "mnt.root.todo"),
        Err(why) => return site.refuse(what, why, "mnt.root.todo"),
    }
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.clone());
    if resolved == Path::new("/") {
        return site.refuse(what, text("mnt.root.same"), "rootfs.same.todo");
    }
    if site.is_user() && site.files.is_mounted_below(&resolved) {
        site.refuse(what, text("rootfs.locked"), "rootfs.locked.todo");
    }
    for name in OURS {
        let place = site.resolver.resolve(&Path::new("/").join(name));
        if !site.is_throw_away() && !place.host.is_some_and(|today| today.is_dir()) {
            let what = format!("/{name} does not exist in {}", directory.display());
            site.refuse(what, text("mnt.target.missing"), "rootfs.missing.todo");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rootfs_is_a_word_or_a_path() {
        assert_eq!("host".parse(), Ok(Rootfs::Host));
        assert_eq!("./host".parse(), Ok(Rootfs::Dir("./host".into())));
        assert!("alpine".parse::<Rootfs>().is_err());
        let resolved = Rootfs::Dir("./dir".into()).resolve(Path::new("/specs"));
        assert_eq!(resolved, Rootfs::Dir("/specs/dir".into()));
        assert_eq!(Rootfs::Dir("dir".into()).to_string().parse(), Ok(Rootfs::Dir("./dir".into())));
    }
}
