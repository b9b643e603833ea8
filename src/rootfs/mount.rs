//! One mount of a container, in the terms of the OCI runtime specification, and the mounts that each new root has.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dev::SHARED_MEMORY;
use crate::host::sysfs::CGROUPS;
use crate::plan::call::detached::Attributes;
use crate::value::bytes;
use crate::value::mount::{ExtraMount, TmpfsOption, default_size};

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerMount {
    /// The mount point in the container.
    #[serde(with = "bytes")]
    #[schemars(with = "bytes::Form")]
    pub destination: PathBuf,
    /// The filesystem type, `tmpfs`, or `bind`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `bind`, an absolute path on the host. For another type, its name in the mount table.
    #[serde(with = "bytes")]
    #[schemars(with = "bytes::Form")]
    pub source: PathBuf,
    /// Options as mount(8) takes them: `ro`, `nosuid`, `nodev` and `noexec`, and those of the filesystem, such as `size=64m`.
    pub options: Vec<String>,
}

/// The type of a bind mount.
const BIND: &str = "bind";

/// The option of a bind in which mount points are made. mount(8) keeps names that begin with `x-` for other programs.
const MOUNT_POINTS: &str = "x-mountpoints";

/// The type of the mount that shows the container's own cgroups. It is not a type of the kernel.
const CGROUP: &str = "cgroup";

impl ContainerMount {
    /// A new filesystem.
    fn new(kind: &str, destination: &str, options: &[&str]) -> ContainerMount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        ContainerMount { destination: destination.into(), kind: kind.into(), source: kind.into(), options }
    }

    /// The path on the host that is bound. None: it is a new filesystem.
    pub fn bound(&self) -> Option<&Path> {
        (self.kind == BIND).then_some(&self.source)
    }

    /// Whether the mounts below a path that is bound are bound too.
    pub fn is_recursive(&self) -> bool {
        self.options.iter().any(|option| option == "rbind")
    }

    /// Whether a mount point that does not exist may be made in it: in a new filesystem, and in a bind that allows it.
    pub fn takes_mount_points(&self) -> bool {
        let is_open = self.bound().is_none() || self.options.iter().any(|option| option == MOUNT_POINTS);
        self.is_fixed_later() || is_open && !self.attributes().contains(Attributes::READ_ONLY)
    }

    /// Whether it becomes read-only when all mount points in it are made: a filesystem in memory. It would have none otherwise.
    pub fn is_fixed_later(&self) -> bool {
        self.kind == "tmpfs" && self.attributes().contains(Attributes::READ_ONLY)
    }

    /// The options that restrict the mount.
    pub fn attributes(&self) -> Attributes {
        let named = |option: &String| Attributes::named(option);
        self.options.iter().filter_map(named).fold(Attributes::NONE, Attributes::and)
    }

    /// The options of the filesystem. One without a value has an empty one.
    pub fn data(&self) -> Vec<(&str, &str)> {
        let of_filesystem = self.options.iter().filter(|option| Attributes::named(option).is_none());
        of_filesystem.map(|option| option.split_once('=').unwrap_or((option, ""))).collect()
    }
}

/// Set-user-ID programs in a mount of the spec have no effect.
impl From<ExtraMount> for ContainerMount {
    fn from(mount: ExtraMount) -> ContainerMount {
        match mount {
            ExtraMount::Bind { source, target, readonly, mountpoints } => {
                let readonly = if readonly { &["ro"][..] } else { &[] };
                let open = if mountpoints { &[MOUNT_POINTS][..] } else { &[] };
                let options = [&["rbind", "nosuid"], readonly, open].concat();
                let options = options.into_iter().map(str::to_owned).collect();
                ContainerMount { destination: target, kind: BIND.into(), source, options }
            }
            ExtraMount::Tmpfs { target, size, options } => {
                let usual = [("nosuid", TmpfsOption::Suid), ("nodev", TmpfsOption::Dev)];
                let usual = usual.iter().filter(|(_, instead)| !options.contains(instead));
                let usual = usual.map(|(option, _)| (*option).to_owned()).chain([format!("size={}", size.0)]);
                let options = usual.chain(options.iter().map(TmpfsOption::to_string)).collect();
                ContainerMount { destination: target, options, ..ContainerMount::new("tmpfs", "", &[]) }
            }
        }
    }
}

/// What decides which filesystems of the kernel are new in a container.
#[derive(Debug, Clone, Copy)]
pub struct Isolated {
    /// Whether /proc is mounted for a new PID namespace.
    pub proc: bool,
    /// Whether there is a new network namespace.
    pub net: bool,
    /// Whether there is a new IPC namespace.
    pub ipc: bool,
    /// Whether POSIX shared memory is the container's own.
    pub shm: bool,
}

/// The mounts that each new root has. A new proc, sysfs or mqueue shows a namespace, so it is made for a new one. Without
/// one, the container gets those of the host. The cgroups are the container's own in any case, if it has some.
pub fn defaults(isolated: Isolated) -> Vec<ContainerMount> {
    let hosts = |path: &str, options: &[&str]| ContainerMount {
        source: path.into(),
        ..ContainerMount::new(BIND, path, options)
    };
    let data = ["nosuid", "nodev", "noexec"];
    let read_only = ["ro", "nosuid", "nodev", "noexec"];
    let mut all = vec![
        if isolated.proc { ContainerMount::new("proc", "/proc", &data) } else { hosts("/proc", &data) },
        if isolated.net {
            ContainerMount::new("sysfs", "/sys", &read_only)
        } else {
            hosts("/sys", &read_only)
        },
        ContainerMount::new(CGROUP, CGROUPS, &read_only),
        ContainerMount::new("tmpfs", "/dev", &["nosuid", "noexec", "size=64k", "mode=755"]),
        ContainerMount::new(
            "devpts",
            "/dev/pts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        if isolated.shm { shared_memory() } else { hosts(SHARED_MEMORY, &data) },
    ];
    if isolated.ipc {
        all.push(ContainerMount::new("mqueue", "/dev/mqueue", &data));
    }
    all
}

/// The filesystem for POSIX shared memory that each new root has.
pub fn shared_memory() -> ContainerMount {
    let size = format!("size={}", default_size().docker());
    ContainerMount::new("tmpfs", SHARED_MEMORY, &["nosuid", "nodev", "noexec", &size, "mode=1777"])
}

/// The mounts of a new root, by the way in which they are made.
#[derive(Debug, Default)]
pub(super) struct OwnMounts<'a> {
    pub(super) proc: Option<&'a ContainerMount>,
    pub(super) sys: Option<&'a ContainerMount>,
    pub(super) cgroups: Option<&'a ContainerMount>,
    pub(super) dev: Option<&'a ContainerMount>,
    pub(super) pts: Option<&'a ContainerMount>,
    pub(super) shm: Option<&'a ContainerMount>,
    pub(super) mqueue: Option<&'a ContainerMount>,
    /// All others. A second mount on one of the places above is among them, and covers the first one.
    pub(super) others: Vec<&'a ContainerMount>,
}

impl<'a> OwnMounts<'a> {
    pub(super) fn of(mounts: &'a [ContainerMount]) -> OwnMounts<'a> {
        let mut own = OwnMounts::default();
        for mount in mounts {
            let place = match (mount.destination.to_str(), mount.kind.as_str()) {
                (Some("/proc"), "proc" | BIND) => &mut own.proc,
                (Some("/sys"), "sysfs" | BIND) => &mut own.sys,
                (Some(CGROUPS), CGROUP) => &mut own.cgroups,
                (Some("/dev"), "tmpfs") => &mut own.dev,
                (Some("/dev/pts"), "devpts") => &mut own.pts,
                (Some(SHARED_MEMORY), "tmpfs") => &mut own.shm,
                (Some("/dev/mqueue"), "mqueue") => &mut own.mqueue,
                _ => {
                    own.others.push(mount);
                    continue;
                }
            };
            match place {
                Some(_) => own.others.push(mount),
                none => *none = Some(mount),
            }
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::units::Size;

    #[test]
    fn options_restrict_the_mount_or_belong_to_the_filesystem() {
        let pts = &defaults(Isolated { proc: true, net: true, ipc: true, shm: true })[4];
        assert_eq!(pts.attributes(), Attributes::NO_SUID.and(Attributes::NO_EXEC));
        let data = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
        assert_eq!(pts.data(), data);
        let bind = ContainerMount::from(ExtraMount::bind("/a", "/b", true));
        assert_eq!((bind.bound(), bind.data()), (Some(Path::new("/a")), vec![]));
        assert_eq!(bind.attributes(), Attributes::READ_ONLY.and(Attributes::NO_SUID));
    }

    #[test]
    fn the_second_mount_on_a_place_is_an_additional_one() {
        let mut all = defaults(Isolated { proc: false, net: false, ipc: false, shm: true });
        all.push(ExtraMount::tmpfs("/dev/shm", Size(1)).into());
        all.push(ExtraMount::tmpfs("/dev/mqueue", Size(1)).into());
        let own = OwnMounts::of(&all);
        assert_eq!((own.shm, own.mqueue), (Some(&all[5]), None));
        assert_eq!(own.others, [&all[6], &all[7]]);
        assert_eq!(own.proc.and_then(ContainerMount::bound), Some(Path::new("/proc")));
    }
}
