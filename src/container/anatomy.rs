//! What a container consists of now: its processes, namespaces, cgroups, mounts and ports, as the kernel shows them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::listing::{bound, inside};
use super::log::LOG;
use super::processes::{pids, relays, user_network};
use super::store::KeptContainer;
use super::usage::{LIMITED, limit_of};
use crate::feature::Feature;
use crate::host::own_run::CONTROL;
use crate::host::run_directory;
use crate::observe::hierarchy::{Hierarchy, Version, hierarchies};
use crate::observe::proc::namespace_link;
use crate::observe::{file, mountinfo, processes};
use crate::text::printed;

/// The parts of a container.
#[derive(Debug)]
pub struct Anatomy {
    /// Its name, or its ID.
    pub name: String,
    /// Its short ID.
    pub id: String,
    /// HOME and RUN, in which its files are.
    pub places: [PathBuf; 2],
    /// What it does, in a word.
    pub status: &'static str,
    /// Its processes: first the supervisor and what it has started. Empty if it does not run.
    pub processes: Vec<AnatomyProcess>,
    /// The PID of its process 1.
    pub command: Option<i32>,
    /// The namespaces of that process.
    pub namespaces: Vec<AnatomyNamespace>,
    /// Its cgroups that are not those of the supervisor.
    pub cgroups: Vec<AnatomyCgroup>,
    /// The mounts that the caller does not have.
    pub mounts: Vec<AnatomyMount>,
    /// How many mounts it has.
    pub mount_count: usize,
    /// The published ports, outside and inside.
    pub ports: Vec<(String, String)>,
    /// Its files and its socket. Their paths begin with the names HOME or RUN.
    pub files: Vec<(AnatomyFile, PathBuf)>,
}

/// What a process does for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessRole {
    /// It makes the container and waits for its end.
    Supervisor,
    /// It forwards the published ports.
    Relay,
    /// It copies the packets of an ordinary user's container.
    Network,
    /// It is in the container.
    Inside,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnatomyProcess {
    /// What it does.
    pub role: ProcessRole,
    /// How many of its ancestors are listed.
    pub depth: usize,
    /// Its name.
    pub name: String,
    /// Its PID as the caller sees it.
    pub pid: i32,
    /// Its PID in the innermost PID namespace, if that is another namespace than the caller's.
    pub inside: Option<i32>,
    /// Its arguments.
    pub command: String,
}

/// A namespace of the container, and that of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnatomyNamespace {
    /// Its kind.
    pub kind: Feature,
    /// Its name: `pid:[4026532577]`. None: the kernel does not show it to the caller.
    pub name: Option<String>,
    /// The name of the caller's.
    pub callers: Option<String>,
}

/// A cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnatomyCgroup {
    /// The controllers of its hierarchy, or `v2`.
    pub hierarchy: String,
    /// Its path in the hierarchy, with `ID` for the ID of the container.
    pub path: String,
    /// Its limits: the name of a file and its value.
    pub limits: Vec<(String, String)>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnatomyMount {
    /// Where it is, in the container.
    pub place: String,
    /// The type of its filesystem.
    pub filesystem: String,
    /// The part of its options that matters here: `ro`, `rw`.
    pub access: &'static str,
    /// The directory of the filesystem that is mounted.
    pub root: String,
}

/// A file of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnatomyFile {
    /// What it is.
    Config,
    /// What it does.
    State,
    /// What it has printed.
    Log,
    /// What it has written.
    Upper,
    /// The link with its name.
    Name,
    /// A volume that it mounts.
    Volume,
    /// The socket of its supervisor.
    Socket,
    /// What is undone if the supervisor is killed.
    Journal,
}

impl Anatomy {
    /// The parts as JSON.
    pub fn to_json(&self) -> Value {
        let process = |process: &AnatomyProcess| {
            let role = match process.role {
                ProcessRole::Supervisor => "supervisor",
                ProcessRole::Relay => "relay",
                ProcessRole::Network => "network",
                ProcessRole::Inside => "inside",
            };
            let AnatomyProcess { depth, name, pid, inside, command, .. } = process;
            json!({"role": role, "depth": depth, "name": name, "pid": pid, "pid_inside": inside, "command": command})
        };
        let namespace = |one: &AnatomyNamespace| {
            let is_new = one.name.is_some() && one.name != one.callers;
            json!({"kind": one.kind.name(), "container": one.name, "caller": one.callers, "is_new": is_new})
        };
        let cgroup = |one: &AnatomyCgroup| {
            let limits: Map<String, Value> =
                one.limits.iter().map(|(file, value)| (file.clone(), Value::from(value.clone()))).collect();
            json!({"hierarchy": one.hierarchy, "path": one.path, "limits": limits})
        };
        let mount = |one: &AnatomyMount| {
            let AnatomyMount { place, filesystem, access, root } = one;
            json!({"place": place, "filesystem": filesystem, "access": access, "root": root})
        };
        let port = |(outside, inside): &(String, String)| json!({"outside": outside, "inside": inside});
        let [home, run] = self.places.each_ref().map(printed);
        json!({
            "name": self.name,
            "id": self.id,
            "status": self.status,
            "home": home,
            "run": run,
            "processes": self.processes.iter().map(process).collect::<Vec<_>>(),
            "namespaces": self.namespaces.iter().map(namespace).collect::<Vec<_>>(),
            "cgroups": self.cgroups.iter().map(cgroup).collect::<Vec<_>>(),
            "mounts": self.mounts.iter().map(mount).collect::<Vec<_>>(),
            "mount_count": self.mount_count,
            "ports": self.ports.iter().map(port).collect::<Vec<_>>(),
            "files": self.files.iter().map(|(_, path)| printed(path)).collect::<Vec<_>>(),
        })
    }

    /// The parts of a container. A process that ends meanwhile is left out.
    pub fn of(container: &KeptContainer) -> Anatomy {
        let KeptContainer { record, state, directory, .. } = container;
        let command = state.command.filter(|_| state.status.is_active()).map(|command| command.pid);
        let home = directory.path();
        let (kept, run) = (PathBuf::from("HOME/containers/ID"), PathBuf::from("RUN/ID"));
        let mut files = vec![
            (AnatomyFile::Config, kept.join("config.json")),
            (AnatomyFile::State, kept.join("state.json")),
            (AnatomyFile::Log, kept.join(LOG)),
        ];
        files.extend(record.own_upper().map(|_| (AnatomyFile::Upper, kept.join("upper"))));
        if !container.name.is_empty() {
            files.push((AnatomyFile::Name, Path::new("HOME/names").join(&container.name)));
        }
        let volumes = record.volumes.iter().map(|volume| Path::new("HOME/volumes").join(&volume.name));
        files.extend(volumes.map(|path| (AnatomyFile::Volume, path)));
        if state.status.is_active() {
            files.extend([
                (AnatomyFile::Socket, run.join(CONTROL)),
                (AnatomyFile::Journal, run.join("journal")),
            ]);
        }
        let (mut mounts, mount_count) = command.map(mounts_of).unwrap_or_default();
        // Those that its maker has asked for are first: a picture has room for few.
        let asked: Vec<String> = record
            .volumes
            .iter()
            .map(|volume| &volume.target)
            .chain(bound(container).map(|mount| &mount.destination))
            .map(|place| file::path_text(place))
            .collect();
        mounts.sort_by_key(|mount| !asked.contains(&mount.place));
        Anatomy {
            name: container.shown_name().to_owned(),
            id: record.id.short().to_owned(),
            places: [home.ancestors().nth(2).unwrap_or(home).to_owned(), run_directory::path()],
            status: state.status.word(),
            processes: processes_of(container, command),
            command,
            namespaces: command.map(namespaces_of).unwrap_or_default(),
            cgroups: command.map(|pid| cgroups_of(pid, container)).unwrap_or_default(),
            mounts,
            mount_count,
            ports: state.ports.iter().map(|port| (port.at.to_string(), inside(port))).collect(),
            files,
        }
    }
}

fn processes_of(container: &KeptContainer, command: Option<i32>) -> Vec<AnatomyProcess> {
    let supervisor = container.state.supervisor.filter(|_| container.state.status.is_active());
    let supervisor = supervisor.map(|supervisor| supervisor.pid);
    let all = processes::processes();
    let process = |pid: i32, role, depth| {
        let arguments = file::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = arguments.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let words = arguments.map(|word| file::text(word.to_vec())).collect::<Vec<_>>();
        Some(AnatomyProcess {
            role,
            depth,
            name: printed(&all.get(&pid)?.name),
            pid,
            inside: inner_pid(pid).filter(|_| role == ProcessRole::Inside),
            command: printed(words.join(" ")),
        })
    };
    let mut found: Vec<AnatomyProcess> = Vec::new();
    found.extend(supervisor.and_then(|pid| process(pid, ProcessRole::Supervisor, 0)));
    let below = usize::from(supervisor.is_some());
    let relays = supervisor.map(|supervisor| relays(&all, supervisor, command)).unwrap_or_default();
    found.extend(relays.into_iter().filter_map(|pid| process(pid, ProcessRole::Relay, below)));
    let network = supervisor
        .zip(command)
        .and_then(|(supervisor, command)| user_network(&all, container, supervisor, command));
    found.extend(network.and_then(|pid| process(pid, ProcessRole::Network, below)));
    let inside = command.map(|command| pids(container, command)).unwrap_or_default();
    // Depth first, each process below its parent. One whose parent is not listed is below the supervisor.
    let is_top = |pid: &i32| all.get(pid).is_none_or(|entry| !inside.contains(&entry.parent));
    let mut stack: Vec<(i32, usize)> =
        inside.iter().rev().filter(|pid| is_top(pid)).map(|pid| (*pid, below)).collect();
    while let Some((pid, depth)) = stack.pop() {
        found.extend(process(pid, ProcessRole::Inside, depth));
        let is_child = |child: &&i32| all.get(*child).is_some_and(|entry| entry.parent == pid);
        stack.extend(inside.iter().rev().filter(is_child).map(|child| (*child, depth + 1)));
    }
    found
}

/// The PID of a process in its innermost PID namespace, if it has more than one PID.
fn inner_pid(pid: i32) -> Option<i32> {
    let status = file::read_text(format!("/proc/{pid}/status")).ok()?;
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    pids.split_whitespace().skip(1).last()?.parse().ok()
}

fn namespaces_of(command: i32) -> Vec<AnatomyNamespace> {
    let of = |process: &str, kind| namespace_link(process, kind).ok();
    let one = |kind: &Feature| AnatomyNamespace {
        kind: *kind,
        name: of(&format!("/proc/{command}"), *kind),
        callers: of("/proc/self", *kind),
    };
    Feature::NAMESPACES.iter().map(one).collect()
}

fn cgroups_of(command: i32, container: &KeptContainer) -> Vec<AnatomyCgroup> {
    let supervisor = container.state.supervisor.map(|supervisor| format!("/proc/{}", supervisor.pid));
    let others = supervisor.map(|supervisor| hierarchies(&supervisor)).unwrap_or_default();
    let is_own = |of: &Hierarchy| others.iter().any(|other| other.mount == of.mount && other.path != of.path);
    let process = format!("/proc/{command}");
    let cgroup = |of: Hierarchy| {
        let has = |name: &str| of.controllers.iter().any(|controller| controller == name);
        let limits = LIMITED.iter().filter(|controller| controller.name(of.version).is_some_and(has));
        AnatomyCgroup {
            hierarchy: match of.version {
                Version::V1 => of
                    .controllers
                    .iter()
                    .filter(|name| is_controller(name))
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(","),
                Version::V2 => "v2".to_owned(),
            },
            path: file::path_text(&of.path).replace(container.record.id.as_str(), "ID"),
            limits: limits.filter_map(|controller| limit_of(&process, *controller)).collect(),
        }
    };
    hierarchies(&process).into_iter().filter(is_own).map(cgroup).collect()
}

/// Whether an option of a cgroup v1 mount is the name of a controller.
fn is_controller(option: &str) -> bool {
    !["rw", "ro", "xattr", "clone_children", "noprefix"].contains(&option) && !option.contains('=')
}

/// The mounts of the container that the caller does not have, and the number of all.
fn mounts_of(command: i32) -> (Vec<AnatomyMount>, usize) {
    let own = mountinfo::read("/proc/self").unwrap_or_default();
    let callers: Vec<_> = mountinfo::mounts(&own).collect();
    let table = mountinfo::read(&format!("/proc/{command}")).unwrap_or_default();
    let all: Vec<_> = mountinfo::mounts(&table).collect();
    // A copy of a mount table has other IDs and another propagation.
    let is_same = |one: &mountinfo::Mount<'_>, other: &mountinfo::Mount<'_>| {
        one.mount_point == other.mount_point
            && (one.device, &one.root, &one.options) == (other.device, &other.root, &other.options)
    };
    let is_new = |mount: &&mountinfo::Mount<'_>| !callers.iter().any(|known| is_same(known, mount));
    let shown = |mount: &mountinfo::Mount<'_>| AnatomyMount {
        place: file::path_text(&mount.mount_point),
        filesystem: printed(&*mount.filesystem),
        access: if mount.options.split(',').any(|option| option == "ro") { "ro" } else { "rw" },
        root: file::path_text(&mount.root),
    };
    (all.iter().filter(is_new).map(shown).collect(), all.len())
}
