//! Reads the things of each kind.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::survey::ThingDetail;
use crate::host::{private_directory, run_directory};
use crate::network;
use crate::observe::mountinfo::{self, Mount};
use crate::observe::{file, net, sysv};
use crate::sys;
use crate::teach::course::place::Scratch;
use crate::teach::demo::is_unique_name;
use crate::text::{printed, text, text_with};

/// The most cgroups that are listed.
const MAX_CGROUPS: usize = 100_000;

/// A thing that was found. Its key and its value are stored, so they are the same in every language.
pub(super) struct FoundThing {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) detail: ThingDetail,
}

impl FoundThing {
    /// A thing whose key is its name.
    pub(super) fn new(raw: impl Into<OsString>, value: impl Into<String>, ours: bool) -> FoundThing {
        let raw = raw.into();
        FoundThing::keyed(printed(&raw), raw, value, ours)
    }

    pub(super) fn keyed(
        key: String,
        raw: impl Into<OsString>,
        value: impl Into<String>,
        ours: bool,
    ) -> FoundThing {
        let detail = ThingDetail { raw: raw.into(), ours, creator: None, owner: None };
        FoundThing { key, value: value.into(), detail }
    }

    /// The same with the owner of its file.
    fn owned(mut self, path: &Path) -> FoundThing {
        self.detail.owner = fs::symlink_metadata(path).ok().map(|file| file.uid());
        self
    }
}

/// The things of one kind, or why they cannot be read.
pub(super) type Found = Result<Vec<FoundThing>, String>;

/// Why something cannot be read: the name of the errno.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        None => error.to_string(),
    }
}

/// Whether a cgroup is `sandbox` or below it.
pub(super) fn is_in_our_cgroup(path: &Path) -> bool {
    path.components().any(|part| part == Component::Normal(OsStr::new("sandbox")))
}

/// Whether a path is in RUN, or a part of it has a name that a demonstration or an exercise gives. Files of the user can
/// be named `sandbox` or `sandbox-notes` too.
pub(super) fn is_our_path(path: &Path) -> bool {
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

pub(super) fn mounts_in(table: &[u8]) -> Vec<FoundThing> {
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
pub(super) fn mounted<'a>(table: &'a [u8], filesystem: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
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

pub(super) fn devices() -> io::Result<Vec<FoundThing>> {
    let thing = |name: OsString| {
        // A device that has gone meanwhile has no index.
        let index = nix::net::if_::if_nametoindex(name.as_os_str()).ok()?;
        let value = format!("index {index}");
        let ours = name.to_str().is_some_and(network::is_our_device);
        Some(FoundThing::new(name, value, ours))
    };
    Ok(net::own_devices()?.into_iter().filter_map(thing).collect())
}

pub(super) fn tables() -> Found {
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

pub(super) fn sysv_things(kind: &str) -> Found {
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
        thing.detail.owner = object.column("cuid").parse().ok();
        thing
    };
    Ok(objects.into_iter().map(thing).collect())
}

/// The files in a directory.
pub(super) fn files_in(directory: &Path) -> io::Result<Vec<FoundThing>> {
    let thing = |entry: fs::DirEntry| {
        let path = entry.path();
        FoundThing::new(&path, "", is_our_path(&path)).owned(&path)
    };
    Ok(fs::read_dir(directory)?.flatten().map(thing).collect())
}

/// The directories of all cgroups. Two mounts of one hierarchy show the same cgroups; the first one is read.
pub(super) fn cgroups(table: &[u8]) -> Found {
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
                found.push(FoundThing::new(&path, "", is_in_our_cgroup(below)).owned(&path));
                open.push(path);
            }
        }
    }
    Ok(found)
}

pub(super) fn names() -> io::Result<Vec<FoundThing>> {
    let thing = |(name, key): (&str, &str)| {
        let value = file::read_text(format!("/proc/sys/kernel/{name}"))?;
        Ok(FoundThing::keyed(key.to_owned(), name, printed(value.trim_end()), false))
    };
    [("hostname", "hostname"), ("domainname", "domain name")].into_iter().map(thing).collect()
}

/// Loop devices with a file, and device-mapper devices.
pub(super) fn block_devices() -> io::Result<Vec<FoundThing>> {
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
pub(super) fn state() -> Found {
    let run = run_directory::path();
    let mut found = Vec::new();
    if let Some(directory) = run_directory::find().map_err(|error| error.what)? {
        let (names, are_all) = directory.names().map_err(|error| reason(&error))?;
        if !are_all {
            return Err(too_many(private_directory::MAX_NAMES));
        }
        // The file of a lock holds nothing. Each command makes some, and the next one removes those that are left.
        let is_lock = |name: &OsString| name.as_bytes().ends_with(b".lock");
        let names = names.into_iter().filter(|name| !run_directory::is_ledger(name) && !is_lock(name));
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
}
