//! Reads what the machine has now.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use super::ending::supervisors;
use super::kinds::{
    Found, FoundThing, block_devices, cgroups, devices, files_in, is_in_our_cgroup, is_our_path, mounted,
    mounts_in, names, reason, state, sysv_things, tables,
};
use super::{FORMAT, Ledger, ThingKind, kept, now};
use crate::feature::Feature;
use crate::observe::hierarchy::cgroup_lines;
use crate::observe::mountinfo;
use crate::observe::processes::{HeldNamespaces, NamespaceHolder, ProcessEntry, processes};
use crate::observe::{file, proc};
use crate::teach::supervised::SupervisedContainer;
use crate::text::{printed, text};

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
    /// The supervisors among them.
    pub(super) supervisors: BTreeMap<i32, SupervisedContainer>,
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
    /// The user to whom it belongs.
    pub(super) owner: Option<u32>,
}

impl Survey {
    /// Reads everything. It changes nothing.
    pub fn take() -> Survey {
        let mut table = processes();
        for (_, entry) in table.iter_mut().filter(|(pid, entry)| is_renamed(**pid, &entry.name)) {
            env!("CARGO_PKG_NAME").clone_into(&mut entry.name);
        }
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
            supervisors: supervisors(&own),
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
            ThingKind::Containers => kept::containers(),
            ThingKind::Volumes => kept::volumes(),
            ThingKind::Images => kept::images(),
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

    /// The name of the container with this ID, of which the first digits are given.
    pub(super) fn name_of(&self, short: &str) -> Option<&str> {
        let all = self.ledger.things.get(&ThingKind::Containers)?;
        all.iter().find(|(_, id)| *id == short).map(|(name, _)| name.as_str())
    }

    /// A process by name and PID: `sleep 4711`.
    pub(super) fn process(&self, pid: i32) -> String {
        let name = self.processes.get(&pid).map_or_else(|| "?".to_owned(), |entry| printed(&entry.name));
        format!("{name} {pid}")
    }
}

/// A process and its ancestors, the nearest first.
pub(super) fn with_ancestors(table: &BTreeMap<i32, ProcessEntry>, pid: i32) -> impl Iterator<Item = i32> {
    let next = move |pid: &i32| table.get(pid).map(|entry| entry.parent).filter(|parent| *parent > 0);
    std::iter::successors(Some(pid), next).take(MAX_DEPTH)
}

/// Whether a process is `sandbox` that was executed by /proc/self/exe, as the daemon: its name is `exe`, and its arguments say what it is.
fn is_renamed(pid: i32, name: &str) -> bool {
    let has_argument = || {
        let arguments = file::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).next() == Some(env!("CARGO_PKG_NAME").as_bytes())
    };
    name == "exe" && has_argument()
}

/// The processes of `sandbox`: those of that name, all below them, and those in a cgroup `sandbox`. The caller and its
/// ancestors do not count. For an ordinary user, those of other users do not count either.
fn pids_of_sandbox(table: &BTreeMap<i32, ProcessEntry>) -> BTreeSet<i32> {
    let callers: BTreeSet<i32> = with_ancestors(table, nix::unistd::getpid().as_raw()).collect();
    let uid = nix::unistd::geteuid();
    let is_callers = |pid: &i32| {
        let status = file::parse::<procfs::process::Status>(format!("/proc/{pid}/status"));
        uid.is_root() || status.is_ok_and(|status| status.ruid == uid.as_raw())
    };
    let is_root = |pid: &i32| {
        let is_sandbox = table.get(pid).is_some_and(|entry| entry.name == env!("CARGO_PKG_NAME"));
        is_sandbox && !callers.contains(pid) && is_callers(pid)
    };
    let in_our_cgroup = |process: &str| {
        let content = file::read(format!("{process}/cgroup")).unwrap_or_default();
        cgroup_lines(&content).any(|line| is_in_our_cgroup(line.path))
    };
    // In a container of `sandbox`, all processes are in its cgroup.
    let by_cgroup = !in_our_cgroup("/proc/self");
    let is_ours = |pid: &i32| {
        with_ancestors(table, *pid).any(|pid| is_root(&pid))
            || (by_cgroup && in_our_cgroup(&format!("/proc/{pid}")) && is_callers(pid))
    };
    table.keys().copied().filter(|pid| !callers.contains(pid)).filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

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
