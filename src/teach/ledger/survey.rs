//! Reads what the machine has now.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{FORMAT, Ledger, ThingKind, now};
use crate::feature::Feature;
use crate::host::run_directory;
use crate::network;
use crate::observe::hierarchy::cgroup_lines;
use crate::observe::mountinfo::{self, Mount};
use crate::observe::processes::{HeldNamespaces, NamespaceHolder, ProcessEntry, processes};
use crate::observe::{file, net, proc, sysv};
use crate::sys;
use crate::teach::course::place::Scratch;
use crate::teach::demo::is_unique_name;
use crate::text::{printed, text, text_with};

/// The most cgroups that are listed.
const MAX_CGROUPS: usize = 100_000;

/// The longest chain of parents that is followed. PIDs are reused, so a chain could be read with a loop in it.
const MAX_DEPTH: usize = 1000;

/// What the machine has now, with all that a description of a thing needs.
#[derive(Debug)]
pub struct Survey {
    /// What is compared, and stored.
    pub ledger: Ledger,
    /// The number of processes whose namespaces the caller may not see.
    pub(super) hidden: usize,
    pub(super) processes: BTreeMap<i32, ProcessEntry>,
    /// The processes of `sandbox`.
    pub(super) own: BTreeSet<i32>,
    pub(super) held: BTreeMap<String, Vec<NamespaceHolder>>,
    pub(super) details: BTreeMap<(ThingKind, String), ThingDetail>,
}

/// What is known about a thing, and is not compared.
#[derive(Debug, Clone)]
pub(super) struct ThingDetail {
    /// Its name as the kernel has it: any bytes.
    pub(super) raw: OsString,
    /// Whether it is known to be of `sandbox`.
    pub(super) ours: bool,
    /// The process that has made it.
    pub(super) creator: Option<i32>,
}

/// A thing that was found. Its key and its value are stored, so they are the same in every language.
struct FoundThing {
    key: String,
    value: String,
    detail: ThingDetail,
}

impl FoundThing {
    /// A thing whose key is its name.
    fn new(raw: impl Into<OsString>, value: impl Into<String>, ours: bool) -> FoundThing {
        let raw = raw.into();
        FoundThing::keyed(printed(&raw), raw, value, ours)
    }

    fn keyed(key: String, raw: impl Into<OsString>, value: impl Into<String>, ours: bool) -> FoundThing {
        let detail = ThingDetail { raw: raw.into(), ours, creator: None };
        FoundThing { key, value: value.into(), detail }
    }
}

/// The things of one kind, or why they cannot be read.
type Found = Result<Vec<FoundThing>, String>;

impl Survey {
    /// Reads everything. It changes nothing.
    pub fn take() -> Survey {
        let table = processes();
        let own = pids_of_sandbox(&table);
        let namespaces = HeldNamespaces::of(table.keys());
        let within = [Feature::Mnt, Feature::Net, Feature::Ipc, Feature::Uts, Feature::Pid, Feature::Cgroup];
        let within = within.into_iter().filter_map(|kind| {
            Some((kind.name().to_owned(), proc::namespace_link("/proc/self", kind).ok()?))
        });
        let mut survey = Survey {
            ledger: Ledger {
                format: FORMAT,
                taken: now(),
                boot: file::read_text("/proc/sys/kernel/random/boot_id")
                    .unwrap_or_default()
                    .trim()
                    .to_owned(),
                uid: nix::unistd::geteuid().as_raw(),
                within: within.collect(),
                things: BTreeMap::new(),
                unread: BTreeMap::new(),
            },
            hidden: namespaces.hidden,
            processes: table,
            own,
            held: namespaces.held,
            details: BTreeMap::new(),
        };
        let mounts = mountinfo::read("/proc/self").map_err(|error| reason(&error));
        for kind in ThingKind::ALL {
            // Without /proc, nothing is known about processes either.
            let found = match &mounts {
                Ok(mounts) => survey.read(kind, mounts),
                Err(why) => Err(why.clone()),
            };
            match found {
                Ok(found) => survey.add(kind, found),
                Err(why) => drop(survey.ledger.unread.insert(kind, why)),
            }
        }
        survey
    }

    fn read(&self, kind: ThingKind, mounts: &[u8]) -> Found {
        match kind {
            ThingKind::Namespaces => Ok(self.namespaces()),
            ThingKind::Processes => Ok(self.process_things()),
            ThingKind::Mounts => Ok(mounts_in(mounts)),
            ThingKind::Devices => devices().map_err(|error| reason(&error)),
            ThingKind::Tables => tables(),
            ThingKind::SharedMemory => sysv_things("shm"),
            ThingKind::Semaphores => sysv_things("sem"),
            ThingKind::MessageQueues => sysv_things("msg"),
            ThingKind::PosixQueues => match mounted(mounts, "mqueue").last() {
                Some(directory) => files_in(&directory).map_err(|error| reason(&error)),
                None => Err(text("ledger.unread.mqueue")),
            },
            ThingKind::SharedFiles => files_in(Path::new("/dev/shm")).map_err(|error| reason(&error)),
            ThingKind::Cgroups => cgroups(mounts),
            ThingKind::Names => names().map_err(|error| reason(&error)),
            ThingKind::BlockDevices => block_devices().map_err(|error| reason(&error)),
            ThingKind::State => state(),
        }
    }

    /// Adds things of a kind. Two things of one name get different keys.
    fn add(&mut self, kind: ThingKind, found: Vec<FoundThing>) {
        let things = self.ledger.things.entry(kind).or_default();
        for thing in found {
            let mut key = thing.key.clone();
            let mut number = 1;
            while things.contains_key(&key) {
                number += 1;
                key = format!("{} ({number})", thing.key);
            }
            things.insert(key.clone(), thing.value);
            self.details.insert((kind, key), thing.detail);
        }
    }

    fn namespaces(&self) -> Vec<FoundThing> {
        let is_ours = |holder: &NamespaceHolder| match holder {
            NamespaceHolder::Process(pid) | NamespaceHolder::Descriptor(pid, _) => self.own.contains(pid),
            NamespaceHolder::Mount(path) => is_our_path(path),
        };
        let thing = |(link, holders): (&String, &Vec<NamespaceHolder>)| {
            FoundThing::new(link, "", holders.iter().any(is_ours))
        };
        self.held.iter().map(thing).collect()
    }

    fn process_things(&self) -> Vec<FoundThing> {
        let thing = |pid: &i32| FoundThing::keyed(self.process(*pid), pid.to_string(), "", true);
        self.own.iter().map(thing).collect()
    }

    /// A process by name and PID: `sleep 4711`.
    pub(super) fn process(&self, pid: i32) -> String {
        let name = self.processes.get(&pid).map_or_else(|| "?".to_owned(), |entry| printed(&entry.name));
        format!("{name} {pid}")
    }
}

/// Why something cannot be read: the name of the errno.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        None => error.to_string(),
    }
}

/// A process and its ancestors, the nearest first.
pub(super) fn with_ancestors(table: &BTreeMap<i32, ProcessEntry>, pid: i32) -> impl Iterator<Item = i32> {
    let next = move |pid: &i32| table.get(pid).map(|entry| entry.parent).filter(|parent| *parent > 0);
    std::iter::successors(Some(pid), next).take(MAX_DEPTH)
}

/// The processes of `sandbox`: those of that name, all below them, and those in a cgroup `sandbox`. The caller and its
/// ancestors do not count.
fn pids_of_sandbox(table: &BTreeMap<i32, ProcessEntry>) -> BTreeSet<i32> {
    let callers: BTreeSet<i32> = with_ancestors(table, nix::unistd::getpid().as_raw()).collect();
    let is_root = |pid: &i32| {
        !callers.contains(pid) && table.get(pid).is_some_and(|entry| entry.name == env!("CARGO_PKG_NAME"))
    };
    let in_our_cgroup = |process: &str| {
        let content = file::read(format!("{process}/cgroup")).unwrap_or_default();
        cgroup_lines(&content).any(|line| is_in_our_cgroup(line.path))
    };
    // In a container of `sandbox`, all processes are in its cgroup.
    let by_cgroup = !in_our_cgroup("/proc/self");
    let is_ours = |pid: &i32| {
        with_ancestors(table, *pid).any(|pid| is_root(&pid))
            || (by_cgroup && in_our_cgroup(&format!("/proc/{pid}")))
    };
    table.keys().copied().filter(|pid| !callers.contains(pid)).filter(is_ours).collect()
}

/// Whether a cgroup is `sandbox` or below it.
fn is_in_our_cgroup(path: &Path) -> bool {
    path.components().any(|part| part == Component::Normal(OsStr::new("sandbox")))
}

/// Whether a path is in RUN, or a part of it has a name that a demonstration or an exercise gives. Files of the user can
/// be named `sandbox` or `sandbox-notes` too.
fn is_our_path(path: &Path) -> bool {
    let has_our_name = |part| matches!(part, Component::Normal(name) if is_temporary(name));
    path.starts_with(run_directory::path()) || path.components().any(has_our_name)
}

/// Whether a name is that of a temporary file of `sandbox`.
fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| is_unique_name(name) || Scratch::is_name(name))
}

/// Why a kind is not recorded of which there are too many things: a part of them would differ each time.
fn too_many(max: usize) -> String {
    text_with("ledger.unread.many", &[("max", &max.to_string())])
}

fn mounts_in(table: &[u8]) -> Vec<FoundThing> {
    let thing = |mount: Mount<'_>| {
        let ours = [&mount.mount_point, &mount.root].into_iter().any(|path| is_our_path(path));
        let description = mount.description();
        let place = file::path_text(&mount.mount_point);
        // The rest is the line of mountinfo without IDs.
        let value = description.strip_prefix(&place).unwrap_or(&description).trim_start();
        FoundThing::new(mount.mount_point.as_os_str(), printed(value), ours)
    };
    mountinfo::mounts(table).map(thing).collect()
}

/// The mount points of filesystems of a type. One that another mount hides is left out.
fn mounted<'a>(table: &'a [u8], filesystem: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let is_visible = |mount: &Mount<'_>| {
        let device = fs::metadata(&mount.mount_point).map(|directory| directory.dev());
        device.is_ok_and(|device| (major(device), minor(device)) == mount.device)
    };
    mountinfo::mounts(table)
        .filter(move |mount| *mount.filesystem == *filesystem)
        .filter(is_visible)
        .map(|mount| mount.mount_point.to_path_buf())
}

fn major(device: u64) -> u64 {
    nix::sys::stat::major(device)
}

fn minor(device: u64) -> u64 {
    nix::sys::stat::minor(device)
}

fn devices() -> io::Result<Vec<FoundThing>> {
    let thing = |name: OsString| {
        // A device that has gone meanwhile has no index.
        let index = nix::net::if_::if_nametoindex(name.as_os_str()).ok()?;
        let value = format!("index {index}");
        let ours = name.to_str().is_some_and(network::is_our_device);
        Some(FoundThing::new(name, value, ours))
    };
    Ok(net::own_devices()?.into_iter().filter_map(thing).collect())
}

fn tables() -> Found {
    let tables = sys::nftables::tables().map_err(|errno| match errno {
        nix::errno::Errno::EPERM => text("ledger.unread.root"),
        other => format!("{other:?}"),
    })?;
    let thing = |table: &sys::nftables::FoundTable| {
        let name = [table.family().as_bytes(), b" ", table.name()].concat();
        let value = format!("handle {}", table.number());
        FoundThing::new(OsString::from_vec(name), value, table.comment().is_some_and(network::is_our_device))
    };
    Ok(tables.iter().map(thing).collect())
}

fn sysv_things(kind: &str) -> Found {
    let objects = sysv::sysv_objects(kind).map_err(|error| reason(&error))?;
    let thing = |object: sysv::SysvObject| {
        let key = object.column("key").parse::<i32>().unwrap_or(0);
        let size = match kind {
            "shm" => format!(", {} bytes", object.column("size")),
            "sem" => format!(", {} in the set", object.column("nsems")),
            _ => String::new(),
        };
        let value = format!("key {key:#010x}{size}, user {}", object.column("cuid"));
        let mut thing = FoundThing::new(&object.id, value, false);
        thing.detail.creator = object.column("cpid").parse().ok();
        thing
    };
    Ok(objects.into_iter().map(thing).collect())
}

/// The files in a directory.
fn files_in(directory: &Path) -> io::Result<Vec<FoundThing>> {
    let thing = |entry: fs::DirEntry| {
        let path = entry.path();
        FoundThing::new(&path, "", is_our_path(&path))
    };
    Ok(fs::read_dir(directory)?.flatten().map(thing).collect())
}

/// The directories of all cgroups. Two mounts of one hierarchy show the same cgroups; the first one is read.
fn cgroups(table: &[u8]) -> Found {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let visible: Vec<PathBuf> = mounted(table, "cgroup").chain(mounted(table, "cgroup2")).collect();
    let mounts = mountinfo::mounts(table).filter(|mount| visible.iter().any(|path| mount.is_on(path)));
    for mount in mounts {
        let is_first = seen.insert((mount.device, mount.root.to_path_buf()));
        let mut open = if is_first { vec![mount.mount_point.to_path_buf()] } else { Vec::new() };
        while let Some(directory) = open.pop() {
            // A cgroup can be removed meanwhile.
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            for path in directories.map(|entry| entry.path()) {
                if found.len() == MAX_CGROUPS {
                    return Err(too_many(MAX_CGROUPS));
                }
                let below = path.strip_prefix(&mount.mount_point).unwrap_or(&path);
                found.push(FoundThing::new(&path, "", is_in_our_cgroup(below)));
                open.push(path);
            }
        }
    }
    Ok(found)
}

fn names() -> io::Result<Vec<FoundThing>> {
    let thing = |(name, key): (&str, &str)| {
        let value = file::read_text(format!("/proc/sys/kernel/{name}"))?;
        Ok(FoundThing::keyed(key.to_owned(), name, printed(value.trim_end()), false))
    };
    [("hostname", "host name"), ("domainname", "domain name")].into_iter().map(thing).collect()
}

/// Loop devices with a file, and device-mapper devices.
fn block_devices() -> io::Result<Vec<FoundThing>> {
    let thing = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let file = match name.as_bytes() {
            name if name.starts_with(b"loop") => "loop/backing_file",
            name if name.starts_with(b"dm-") => "dm/name",
            _ => return None,
        };
        // A loop device without a file does not have it.
        let content = file::read(entry.path().join(file)).ok()?;
        Some(FoundThing::new(name, printed(OsStr::from_bytes(content.trim_ascii_end())), false))
    };
    Ok(fs::read_dir("/sys/block")?.flatten().filter_map(thing).collect())
}

/// What is in RUN, and our temporary files.
fn state() -> Found {
    let run = run_directory::path();
    let mut found = Vec::new();
    if let Some(directory) = run_directory::find().map_err(|error| error.what)? {
        let (names, are_all) = directory.names().map_err(|error| reason(&error))?;
        if !are_all {
            return Err(too_many(run_directory::MAX_NAMES));
        }
        let names = names.into_iter().filter(|name| !run_directory::is_ledger(name));
        found.extend(names.map(|name| FoundThing::new(run.join(name), "", true)));
    }
    let own = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let temporary = entries.filter(|entry| {
        is_temporary(&entry.file_name()) && entry.metadata().is_ok_and(|file| file.uid() == own)
    });
    found.extend(temporary.map(|entry| FoundThing::new(entry.path(), "", true)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_below_a_sandbox_are_its_own_and_the_callers_are_not() {
        let own = nix::unistd::getpid().as_raw();
        let entry = |parent, name: &str| ProcessEntry { parent, name: name.to_owned() };
        let mut table = BTreeMap::from([(1, entry(0, "init")), (own, entry(1, "sandbox"))]);
        let free: Vec<i32> = (i32::MAX - 4..i32::MAX).collect();
        table.insert(free[0], entry(1, "sandbox"));
        table.insert(free[1], entry(free[0], "sleep"));
        // A chain of parents with a loop in it ends too.
        table.insert(free[2], entry(free[3], "a"));
        table.insert(free[3], entry(free[2], "b"));
        assert_eq!(pids_of_sandbox(&table).into_iter().collect::<Vec<_>>(), free[..2]);
    }

    #[test]
    fn files_of_the_user_are_not_those_of_sandbox() {
        let run = run_directory::path();
        for ours in
            ["/tmp/sandbox-mnt-4711-1/a", "/dev/shm/sandbox-shm-7-2", "/tmp/sandbox-lesson-abcdefg2/work"]
        {
            assert!(is_our_path(Path::new(ours)), "{ours}");
        }
        assert!(is_our_path(&run) && is_our_path(&run.join("4711-1/root")));
        for other in [
            "/tmp/sandbox-notes",
            "/tmp/sandbox-lessons",
            "/tmp/sandbox-lesson-notes",
            "/tmp/sandbox-lesson-plan2026",
            "/tmp/sandbox-backup-2026",
            "/tmp/sandbox-mnt-4711-01",
            "/tmp/sandbox-my-notes-1-2",
            "/home/user/sandbox/mount",
            "/mnt/sandbox",
        ] {
            assert!(!is_our_path(Path::new(other)), "{other}");
        }
        let table =
            b"1 0 8:1 / /mnt/sandbox rw - ext4 x rw\n2 1 0:5 / /tmp/sandbox-mnt-7-1 rw - tmpfs a rw\n";
        let ours: Vec<bool> = mounts_in(table).iter().map(|mount| mount.detail.ours).collect();
        assert_eq!(ours, [false, true]);
        let directory = tempfile::Builder::new().prefix("sandbox-notes-").tempdir().unwrap();
        let found = state().unwrap();
        assert!(found.iter().all(|thing| *thing.detail.raw != *directory.path().as_os_str()));
    }

    #[test]
    fn two_mounts_on_one_path_and_names_of_any_bytes_are_told_apart() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a\\012\xff rw - tmpfs a rw\n3 2 0:6 / /a\\012\xff rw - tmpfs b rw\n";
        let mut survey = Survey::take();
        survey.ledger.things.clear();
        survey.add(ThingKind::Mounts, mounts_in(table));
        let mounts = &survey.ledger.things[&ThingKind::Mounts];
        let names: Vec<&String> = mounts.keys().collect();
        assert_eq!(names, ["/", r"/a\n\xff", r"/a\n\xff (2)"]);
        assert_eq!(mounts["/"], "8:1 / rw private ext4 x rw");
        let raw = &survey.details[&(ThingKind::Mounts, r"/a\n\xff".to_owned())].raw;
        assert_eq!(raw.as_bytes(), b"/a\n\xff");
    }
}
