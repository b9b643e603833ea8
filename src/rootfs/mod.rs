//! The root filesystem: the files that a container sees, without a path back to those of the host.
//!
//! # What it is
//!
//! The new root is built while the old one is still there. Its mounts are first made detached: they are in no mount
//! table, and only a descriptor refers to them. The new root is then mounted over the old one and filled. pivot_root(2)
//! makes it the root of the mount table, and the old root is unmounted.
//!
//! # Why in this order
//!
//! Until pivot_root(2) the old root is needed for the sources of bind mounts. In addition, the kernel lets a user
//! namespace mount a new proc or sysfs only where one is already visible.
//!
//! A path through the new root could contain a hostile symbolic link. Therefore every file in it is named by a
//! descriptor. See `plan::call::detached`.
//!
//! | file | what |
//! |---|---|
//! | `source` | the value of `rootfs`: which files a container sees |
//! | `root` | the same, with all defaults |
//! | `overlay` | where the files come from, and where writes go |
//! | `layers` | which directories an overlay can have as its layers |
//! | `init_layer` | the mount points that a container needs, between the lower directories and the upper one |
//! | `etc` | the three files of /etc that each container has of its own |
//! | `kernel` | /proc and /sys, and what of them is masked |
//! | `cgroups` | the container's own cgroups, in /sys/fs/cgroup |
//! | `dev` | a /dev with the devices that any program expects, and no others |
//! | `mount` | one mount, and the mounts that each new root has |
//! | `mounts` | the additional mounts of the spec |
//!
//! # What you see
//!
//! /proc/self/mountinfo inside lists only these mounts.

mod cgroups;
pub mod dev;
mod etc;
mod init_layer;
pub mod kernel;
mod layers;
pub mod mount;
mod mounts;
mod overlay;
mod root;
mod source;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use self::dev::DeviceFile;
use self::etc::EtcFiles;
use self::kernel::MaskedPath;
pub use self::layers::lower_only;
use self::mount::{ContainerMount, OwnMounts};
pub use self::root::{HiddenDirectory, RootFilesystem};
pub use self::source::{Layers, Rootfs};
use crate::error::Error;
use crate::feature::Feature;
use crate::host::joined::NetworkFiles;
use crate::host::resolver::{Resolved, Resolver};
use crate::host::{Files, Host};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::order::Phase;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call, Draft};
use crate::text::{printed, text, text_of_options, text_with};

/// The directories on which `sandbox` always mounts something.
const OURS: [&str; 3] = ["proc", "sys", "dev"];

/// The root filesystem of a container, and the facts about the rest of the container that it depends on.
#[derive(Debug, Default)]
pub struct RootRequest<'a> {
    /// The new root; none keeps the root of the host.
    pub root: Option<&'a RootFilesystem>,
    /// Whether the root is read-only.
    pub readonly: bool,
    /// The mounts, in their order. With a new root, those that it always has are among them.
    pub mounts: &'a [ContainerMount],
    /// The paths of a new root that are masked.
    pub masked_paths: &'a [MaskedPath],
    /// The paths of a new root that are read-only.
    pub readonly_paths: &'a [PathBuf],
    /// The device files in /dev of a new root.
    pub devices: &'a [DeviceFile],
    /// The working directory of the command. In an overlay that is not of the host, it is made if it does not exist.
    pub directory: Option<&'a Path>,
    /// What paths resolve to, if the root of the host is kept.
    pub resolver: Resolver,
    /// How the mounts of the new mount namespace propagate.
    pub propagation: Propagation,
    /// Whether `mnt.root` asks for another root too.
    pub has_other_root: bool,
    /// Whether there is a new user namespace.
    pub new_user: bool,
    /// Whether it maps other IDs than the caller's own.
    pub maps_ranges: bool,
    /// Whether there is a new network namespace.
    pub new_net: bool,
    /// Whether that network reaches other machines.
    pub leads_out: bool,
    /// Whether it has an address on the bridge.
    pub on_bridge: bool,
    /// Whether device files in the root can be opened: a cgroup or nothing decides about them.
    pub opens_devices: bool,
    /// The device files in /dev that may not be made here: those of the host are mounted.
    pub devices_to_bind: Vec<&'a Path>,
    /// The process of another container whose POSIX shared memory it has, with its IPC namespace.
    pub memory_of: Option<i32>,
    /// The hostname in the container, if it is not the host's.
    pub hostname: Option<&'a OsStr>,
    /// The domain name in the container.
    pub domainname: Option<&'a OsStr>,
    /// The files of the container whose network is joined.
    pub network_files: Option<&'a NetworkFiles>,
    /// Further lines of /etc/hosts.
    pub hosts: &'a [String],
    /// The DNS servers in place of the host's, if there are any.
    pub nameservers: &'a [IpAddr],
}

/// The plan of a root filesystem while its steps are added.
struct RootDraft<'a> {
    wanted: &'a RootRequest<'a>,
    host: &'a Host,
    files: &'a Files,
    /// What paths in the container resolve to, as far as the steps have been added.
    resolver: Resolver,
    /// The root, if it is one overlay.
    layers: Option<&'a RootFilesystem>,
    /// Whether the tmpfs of the layers is mounted over the old root.
    has_layer: bool,
    /// The additional mounts so far: each mount point, and whether further ones may be made in the mount.
    placed: Vec<(PathBuf, bool)>,
    /// Which files of /etc are ours, and when they are mounted.
    etc: EtcFiles,
    /// The files and directories that the init layer has so far, by their paths in the container.
    init: BTreeSet<PathBuf>,
    /// The phase of the steps that are added now.
    phase: Phase,
    /// The key of the spec whose steps are added.
    key: &'static str,
    draft: &'a mut Draft,
}

/// The first kernel whose overlay takes its lower directories one by one: `lowerdir+`.
const KERNEL_WITH_LAYERS: (u32, u32) = (6, 7);

impl RootDraft<'_> {
    /// Adds a step of the child.
    fn step(&mut self, call: impl Into<Call>, why: &'static str) {
        self.draft.step(self.phase, Actor::Child, Feature::Mnt, call, why);
    }

    /// Makes a filesystem and attaches it in the new root.
    fn filesystem<V: Into<OsString> + Clone>(
        &mut self,
        kind: &str,
        options: &[(&str, V)],
        attributes: Attributes,
        at: (Held, impl AsRef<Path>),
        why: &'static str,
    ) {
        self.make(kind, options, attributes, Held::Mount, why);
        self.attach(Held::Mount, at, why);
    }

    /// Makes a detached filesystem.
    fn make<V: Into<OsString> + Clone>(
        &mut self,
        kind: &str,
        options: &[(&str, V)],
        attributes: Attributes,
        to: Held,
        why: &'static str,
    ) {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
        // Only an overlay has it, on an older kernel.
        let at_once = kind == "overlay" && self.files.kernel < KERNEL_WITH_LAYERS;
        self.step(DetachedMountCall::Make { kind: kind.into(), options, attributes, at_once, to }, why);
    }

    /// Attaches a detached mount at a path.
    fn attach(&mut self, mount: Held, (at, path): (Held, impl AsRef<Path>), why: &'static str) {
        self.step(DetachedMountCall::Attach { mount, at, path: path.as_ref().to_owned() }, why);
    }

    /// Adds a problem to the plan.
    fn refuse(&mut self, what: String, why: String, todo: &str) {
        self.refuse_with(what, why, text_of_options(false, todo));
    }

    /// The same with an advice that has values in it.
    fn refuse_with(&mut self, what: String, why: String, todo: String) {
        self.refuse_for(Error::failed(what).why(why).todo(todo));
    }

    /// The same with a whole error.
    fn refuse_for(&mut self, error: Error) {
        self.draft.problem_at(Feature::Mnt, self.key, error);
    }

    /// Whether the new mount namespace belongs to a user namespace other than the initial one.
    fn is_user(&self) -> bool {
        self.wanted.new_user || self.files.is_nested
    }

    /// Whether the caller may change the mounts of the host.
    fn is_privileged(&self) -> bool {
        self.host.privileged && !self.files.is_nested
    }

    /// Whether a directory of `/` is bind-mounted read-only, where an overlay cannot show the mounts below it.
    fn is_read_only_piece(&self, directory: &Path) -> bool {
        self.wanted.root.is_some_and(|root| root.host)
            && !self.is_privileged()
            && self.files.is_mounted_below(directory)
    }

    /// Whether the additional mount that shows a path of the container takes new mount points. None: no such mount shows it.
    fn takes_mount_points(&self, path: &Path) -> Option<bool> {
        let showing = self.placed.iter().rev().find(|(place, _)| path.starts_with(place));
        showing.map(|(_, takes)| *takes)
    }

    /// Whether files that are made in the new root disappear with it.
    fn is_temporary(&self) -> bool {
        self.wanted.root.is_some_and(|root| root.overlay)
    }
}

/// The steps of a root filesystem.
pub fn plan(wanted: &RootRequest<'_>, host: &Host, draft: &mut Draft) {
    let Some(new) = wanted.root else { return plan_mounts(wanted, host, draft) };
    let Some(files) = &host.files else { return };
    let phase = Phase::Layers;
    let (resolver, init) = (resolver_of(new), BTreeSet::new());
    let mut root = RootDraft {
        wanted,
        host,
        files,
        resolver,
        layers: None,
        has_layer: false,
        placed: Vec::new(),
        etc: EtcFiles::default(),
        init,
        phase,
        key: "rootfs",
        draft,
    };
    // An ordinary user may not copy the mount of `/`.
    root.layers = Some(new).filter(|new| new.overlay && (!new.host || root.is_privileged()));
    let own = OwnMounts::of(wanted.mounts);
    root.etc = EtcFiles::of(&root, &own.others);
    check(&mut root, new);
    etc::note_nameservers(&mut root);
    mounts::copy_host(&mut root, &own.others);
    overlay::plan(&mut root, new);
    root.phase = Phase::Mounts;
    kernel::plan(&mut root, &own);
    cgroups::plan(&mut root, &own);
    dev::plan(&mut root, &own);
    kernel::mask(&mut root);
    root.key = mounts::KEY;
    let mut made = mounts::always_made(&mut root);
    let fixed = mounts::plan(&mut root, &own.others, &mut made);
    mounts::make_working_directory(&mut root, &mut made);
    mounts::fix(&mut root, fixed);
    root.phase = Phase::Root;
    plan_readonly(&mut root);
    root.step(DetachedMountCall::Enter, "rootfs.enter.why");
    let pivot = MountCall::PivotRoot { new_root: ".".into(), put_old: ".".into() };
    root.step(pivot, "mnt.pivot.why");
    // The old root is now mounted over the new one, and the tmpfs of the layers over the old root.
    if root.has_layer {
        root.step(MountCall::Detach { target: ".".into() }, "rootfs.detachlayer.why");
    }
    root.step(MountCall::Detach { target: ".".into() }, "mnt.detach.why");
    // By path, because `/` is now the new root, while a descriptor could still refer to the old one. The working
    // directory of the command is set last, in Phase::WorkingDirectory.
    root.step(MountCall::Chdir { path: "/".into() }, "mnt.chdir.why");
}

/// The steps of the additional mounts and of a read-only root, if the root of the host is kept.
fn plan_mounts(wanted: &RootRequest<'_>, host: &Host, draft: &mut Draft) {
    if wanted.mounts.is_empty() && !wanted.readonly {
        return;
    }
    let none = Files::default();
    let phase = Phase::Mounts;
    let (resolver, init) = (wanted.resolver.clone(), BTreeSet::new());
    let mut root = RootDraft {
        wanted,
        host,
        files: &none,
        resolver,
        layers: None,
        has_layer: false,
        placed: Vec::new(),
        etc: EtcFiles::default(),
        init,
        phase,
        key: mounts::KEY,
        draft,
    };
    if wanted.has_other_root {
        root.refuse("`mounts` below `mnt`".into(), text("rootfs.root"), "rootfs.root.todo");
    }
    root.step(DetachedMountCall::Open { path: "/".into(), to: Held::Root }, "rootfs.current.why");
    let mut made = mounts::always_made(&mut root);
    let fixed = mounts::plan(&mut root, &wanted.mounts.iter().collect::<Vec<_>>(), &mut made);
    mounts::fix(&mut root, fixed);
    plan_readonly(&mut root);
}

fn plan_readonly(root: &mut RootDraft<'_>) {
    if root.wanted.readonly {
        let call = DetachedMountCall::Restrict {
            mount: Held::Root,
            attributes: Attributes::READ_ONLY,
            below: false,
        };
        root.step(call, "rootfs.readonly.why");
    }
}

/// What paths in the container resolve to.
pub fn resolver(root: &RootFilesystem, mounts: &[ContainerMount]) -> Resolver {
    let mut resolver = resolver_of(root);
    for name in OURS {
        resolver.empty(&covered(root, &resolver, name));
    }
    for mount in OwnMounts::of(mounts).others {
        mounts::show(mount, &mut resolver);
    }
    resolver
}

/// The mount point of something that is always mounted in `/`. Below an overlay, the init layer has a directory there, whatever
/// the lower directories have.
fn covered(root: &RootFilesystem, resolver: &Resolver, name: &str) -> Resolved {
    let path = Path::new("/").join(name);
    if root.overlay { Resolved { container: path, host: None } } else { resolver.resolve(&path) }
}

/// The root before anything is mounted in it.
fn resolver_of(root: &RootFilesystem) -> Resolver {
    let mut resolver = Resolver::of_layers(root.upper.iter().chain(&root.lowers).cloned().collect());
    for hidden in &root.hidden {
        resolver.empty(&resolver.resolve(&Path::new("/").join(&hidden.name)));
    }
    resolver
}

/// Checks what can be known before the container is made.
fn check(root: &mut RootDraft<'_>, new: &RootFilesystem) {
    let (major, minor) = root.files.kernel;
    let what = layers::named(new);
    if (major, minor) < (5, 12) {
        let version = format!("{major}.{minor}");
        root.refuse(what.clone(), text_with("rootfs.kernel", &[("version", &version)]), "rootfs.kernel.todo");
    }
    if root.wanted.has_other_root {
        root.refuse(what.clone(), text("rootfs.root"), "rootfs.root.todo");
    }
    if matches!(root.wanted.propagation, Propagation::Shared | Propagation::Unchanged) {
        root.refuse(what, text("mnt.root.shared"), "mnt.root.private");
    }
    if !new.host && layers::check(root, new) && !new.overlay {
        check_mount_points(root);
    }
}

/// Checks that a root that is not below an overlay has the mount points that it needs.
fn check_mount_points(root: &mut RootDraft<'_>) {
    for name in OURS {
        let path = Path::new("/").join(name);
        let place = root.resolver.resolve(&path);
        if !place.host.is_some_and(|covered| covered.is_dir()) {
            let directory = root.resolver.resolve(Path::new("/")).host.unwrap_or_default();
            let what = format!("{} does not exist in {}", printed(&path), printed(&directory));
            root.refuse(what, text("mnt.target.missing"), "rootfs.missing.todo");
        }
    }
}
