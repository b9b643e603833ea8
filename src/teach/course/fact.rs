//! Reads facts about a process from the kernel.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::data::{Fact, MountPart, Predicate, SpecFact, Transport};
use super::relatives;
use super::seed::{StudentValues, fill};
use crate::error::Result;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{self, Version};
use crate::observe::proc::{self, status_of};
use crate::observe::{Observation, Value, file, mountinfo, net};
use crate::sys::signal::{self, SignalSet};
use crate::teach::compare::{self, Subject};

/// The value of a fact: items, and how they are written as one text. Or the reason why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactValue {
    /// The words of a field, the lines of a file, or names.
    pub items: Vec<String>,
    separator: &'static str,
    /// Why it cannot be read: `ENOENT`.
    pub refused: Option<String>,
}

impl FactValue {
    /// The value as one text.
    pub fn text(&self) -> String {
        match &self.refused {
            Some(reason) => reason.clone(),
            None => self.items.join(self.separator),
        }
    }

    pub(super) fn words(text: &str) -> FactValue {
        FactValue {
            items: text.split_whitespace().map(str::to_owned).collect(),
            separator: " ",
            refused: None,
        }
    }

    pub(super) fn one(text: &str) -> FactValue {
        FactValue { items: vec![text.to_owned()], separator: " ", refused: None }
    }

    pub(super) fn list(items: Vec<String>) -> FactValue {
        FactValue { items, separator: " ", refused: None }
    }

    /// The lines of a text. Each run of blanks is one blank.
    pub(super) fn lines(text: &str) -> FactValue {
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        FactValue { items: text.lines().map(line).collect(), separator: " | ", refused: None }
    }

    pub(super) fn refused(reason: impl Into<String>) -> FactValue {
        FactValue { items: Vec::new(), separator: " ", refused: Some(reason.into()) }
    }

    pub(super) fn of(result: std::io::Result<String>, read: impl Fn(&str) -> FactValue) -> FactValue {
        match result {
            Ok(content) => read(&content),
            Err(error) => match error.raw_os_error() {
                Some(number) => FactValue::refused(format!("{:?}", nix::errno::Errno::from_raw(number))),
                None => FactValue::refused(error.to_string()),
            },
        }
    }

    fn seen(observation: Observation, read: impl Fn(&str) -> FactValue) -> FactValue {
        match observation.value {
            Value::Is(text) => read(&text),
            Value::Not(reason) => FactValue::refused(reason),
            other => FactValue::one(&other.to_string()),
        }
    }
}

/// Where facts are read.
pub(super) struct Standpoint<'a> {
    /// The process; none for the checker itself.
    pub(super) subject: Option<&'a Subject>,
    /// The work directory of the learner.
    pub(super) directory: &'a Path,
    /// The values of the student.
    pub(super) values: &'a StudentValues,
}

impl Standpoint<'_> {
    /// Its directory in /proc.
    fn process(&self) -> String {
        self.subject.map_or_else(|| "/proc/self".to_owned(), Subject::directory)
    }

    /// Reads a fact.
    ///
    /// # Errors
    /// The helper that reads inside cannot be started.
    pub(super) fn read(&self, fact: &Fact) -> Result<FactValue> {
        let process = self.process();
        let filled = |text: &str| fill(text, self.values);
        Ok(match fact {
            Fact::Status(field) => FactValue::of(file::read_text(format!("{process}/status")), |status| {
                match status_of(status, field) {
                    Some(value) => FactValue::words(value),
                    None => FactValue::refused("no such field"),
                }
            }),
            Fact::Namespace(kind) => FactValue::of(proc::namespace_link(&process, *kind), FactValue::one),
            Fact::Capabilities(set) => set_of(&process, set, capability_names),
            Fact::Signals(set) => set_of(&process, set, signal_names),
            Fact::File(path) => {
                FactValue::of(file::read_text(format!("{process}/{}", filled(path))), FactValue::lines)
            }
            Fact::Link(path) => {
                FactValue::of(file::read_link(format!("{process}/{}", filled(path))), FactValue::one)
            }
            Fact::Inside(path) => match self.subject {
                Some(subject) => match compare::read_inside(subject, &filled(path))? {
                    Ok(content) => FactValue::lines(&content),
                    Err(reason) => FactValue::refused(reason),
                },
                None => FactValue::of(file::read_text(filled(path)), FactValue::lines),
            },
            Fact::Open(path) => match self.subject {
                Some(subject) => match compare::open_inside(subject, &filled(path))? {
                    Ok(result) => FactValue::one(&result),
                    Err(reason) => FactValue::refused(reason),
                },
                None => FactValue::of(std::fs::File::open(filled(path)).map(|_| "ok".into()), FactValue::one),
            },
            Fact::NetworkDevice(name) => match self.subject {
                Some(subject) => match compare::device_inside(subject, &filled(name))? {
                    Ok(kind) => FactValue::one(&kind),
                    Err(reason) => FactValue::refused(reason),
                },
                None => FactValue::refused("only of another process"),
            },
            Fact::DeviceFile(path) => device_file(&format!("{process}/root{}", filled(path))),
            Fact::Mount(mount) => match mountinfo::read(&process) {
                Ok(table) => mount_value(&table, &filled(&mount.on), mount.show),
                Err(error) => FactValue::of(Err(error), FactValue::one),
            },
            Fact::Cgroup(wanted) => match ProcessCgroup::of(&process, wanted.controller) {
                Some(cgroup) => {
                    let path = cgroup.directory().join(cgroup.name(&wanted.v1, &wanted.v2));
                    FactValue::of(file::read_text(path), |content| match &wanted.key {
                        Some(key) => value_of(content, key),
                        None => FactValue::lines(content),
                    })
                }
                None => FactValue::refused("no hierarchy"),
            },
            Fact::CgroupPath(controller) => {
                FactValue::seen(crate::observe::cgroup::membership(&process, *controller), FactValue::one)
            }
            Fact::Limit(name) => FactValue::of(file::read_text(format!("{process}/limits")), |content| {
                match proc::limit_of(content, name) {
                    Some(limits) => FactValue::list(limits.iter().map(ToString::to_string).collect()),
                    None => FactValue::refused("no such limit"),
                }
            }),
            Fact::Listening(transport) => {
                listening(&process, *transport, |address| address.port().to_string())
            }
            Fact::ListeningOn(transport) => listening(&process, *transport, SocketAddr::to_string),
            Fact::Socket(path) => socket(&process, &filled(path)),
            Fact::Links(path) => {
                FactValue::of(links_in(&format!("{process}/{}", filled(path))), FactValue::lines)
            }
            Fact::Relatives(relation) => relatives::names(&process, *relation),
            Fact::Parent(path) => relatives::file_of_parent(&process, &filled(path)),
            Fact::Starters(path) => relatives::file_of_starters(&process, &filled(path)),
            Fact::Spec(spec) => self.spec(spec),
        })
    }

    /// What a fact must be here: of two cgroup versions, that of its controller counts.
    pub(super) fn expectation<'p>(&self, fact: &Fact, expect: &'p Predicate) -> &'p Predicate {
        if !matches!(expect, Predicate::ByVersion(_)) {
            return expect;
        }
        let hierarchies = fact.controller().map(|_| hierarchy::hierarchies(&self.process()));
        let found = hierarchies.as_deref().zip(fact.controller());
        let found = found.and_then(|(all, controller)| hierarchy::find(all, controller));
        expect.in_version(found.map_or(Version::V2, |hierarchy| hierarchy.version))
    }

    fn spec(&self, spec: &SpecFact) -> FactValue {
        let content = match file::read_text(self.directory.join(&spec.file)) {
            Ok(content) => content,
            Err(error) => return FactValue::of(Err(error), FactValue::one),
        };
        let Ok(document) = serde_yaml::from_str::<serde_yaml::Value>(&content) else {
            return FactValue::refused("not YAML");
        };
        let mut node = Some(&document);
        for part in spec.key.split('.') {
            node = node.and_then(|node| node.get(part));
        }
        match node {
            Some(serde_yaml::Value::String(text)) => FactValue::one(text),
            Some(value) => FactValue::lines(serde_yaml::to_string(value).unwrap_or_default().trim_end()),
            None => FactValue::refused("no such key"),
        }
    }
}

/// The kind of the socket that a link leads to: the name of the table of the network namespace that has its inode.
fn socket(process: &str, link: &str) -> FactValue {
    FactValue::of(file::read_link(format!("{process}/{link}")), |target| {
        let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
            return FactValue::refused(format!("no socket: {target}"));
        };
        let has_it = |table: &&str| {
            let content = file::read_text(format!("{process}/net/{table}")).unwrap_or_default();
            content.lines().any(|line| line.split_whitespace().any(|word| word == inode))
        };
        let tables = ["unix", "tcp", "tcp6", "udp", "udp6"];
        match tables.into_iter().find(has_it) {
            Some(table) => FactValue::one(table.trim_end_matches('6')),
            None => FactValue::refused("another kind of socket"),
        }
    })
}

/// The targets of the links in a directory, one a line. A link that is removed meanwhile has none.
fn links_in(directory: &str) -> std::io::Result<String> {
    let entries = std::fs::read_dir(directory)?;
    let targets = entries.flatten().filter_map(|entry| file::read_link(entry.path()).ok());
    Ok(targets.map(|target| target + "\n").collect())
}

/// The value of a key in a file with lines `KEY VALUE`.
pub(super) fn value_of(content: &str, key: &str) -> FactValue {
    let mut lines = content.lines().filter_map(|line| line.split_once(char::is_whitespace));
    match lines.find(|(known, _)| *known == key) {
        Some((_, value)) => FactValue::words(value),
        None => FactValue::refused("no such key"),
    }
}

/// A set in /proc/PID/status, which is written as a hexadecimal mask.
fn set_of(process: &str, field: &str, names: fn(u64) -> Vec<String>) -> FactValue {
    FactValue::of(file::read_text(format!("{process}/status")), |status| {
        match status_of(status, field).and_then(|mask| u64::from_str_radix(mask, 16).ok()) {
            Some(mask) => FactValue::list(names(mask)),
            None => FactValue::refused("no such field"),
        }
    })
}

/// The names of the signals in a mask.
fn signal_names(mask: u64) -> Vec<String> {
    let set = SignalSet::from_bits(mask);
    (1..=64).filter(|number| set.contains(*number)).map(signal::name).collect()
}

/// The names of the capabilities in a mask, as capabilities(7) writes them.
fn capability_names(mask: u64) -> Vec<String> {
    let mut names: Vec<String> = caps::all()
        .into_iter()
        .filter(|capability| mask & capability.bitmask() != 0)
        .map(|capability| capability.to_string())
        .collect();
    names.sort_unstable();
    names
}

fn mount_value(table: &[u8], on: &str, part: MountPart) -> FactValue {
    let Some(mount) = mountinfo::mounts(table).rev().find(|mount| mount.is_on(on)) else {
        return FactValue::refused("not a mount point");
    };
    let options = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match part {
        MountPart::Type => FactValue::one(&mount.filesystem.to_string_lossy()),
        MountPart::Source => FactValue::one(&mount.source.to_string_lossy()),
        MountPart::Options => {
            let all = options(&mount.options).into_iter();
            FactValue::list(all.chain(options(&mount.super_options.to_string_lossy())).collect())
        }
        MountPart::Propagation => {
            // Without the number of the peer group, which differs on every run.
            let names = mount.propagation_text();
            let names = names.split(' ').map(|name| match name.split(':').next().unwrap_or_default() {
                "master" => "slave".to_owned(),
                name => name.to_owned(),
            });
            FactValue::list(names.collect())
        }
    }
}

/// The type and the numbers of a device file: `c 1:5`. Another file has neither.
fn device_file(path: &str) -> FactValue {
    let found = std::fs::symlink_metadata(path).map(|metadata| {
        let (kind, device) = (metadata.file_type(), metadata.rdev());
        let letter = if kind.is_char_device() { "c" } else { "b" };
        let is_device = kind.is_char_device() || kind.is_block_device();
        is_device.then(|| format!("{letter} {}:{}", major(device), minor(device)))
    });
    match found {
        Ok(Some(numbers)) => FactValue::one(&numbers),
        Ok(None) => FactValue::refused("no device file"),
        Err(error) => FactValue::of(Err(error), FactValue::one),
    }
}

/// The sockets that listen, each as `part` of its address. Sockets with one text are named once.
fn listening(process: &str, transport: Transport, part: impl Fn(&SocketAddr) -> String) -> FactValue {
    let found = match transport {
        Transport::Tcp => net::tcp_listeners(process),
        Transport::Udp => net::udp_listeners(process),
    };
    match found {
        Ok(mut addresses) => {
            addresses.sort_unstable_by_key(|address| (address.port(), *address));
            let mut items: Vec<String> = addresses.iter().map(part).collect();
            items.dedup();
            FactValue::list(items)
        }
        Err(error) => FactValue::of(Err(error), FactValue::one),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::teach::course::data::Relation;

    #[test]
    fn the_facts_of_this_process_are_those_of_the_kernel() {
        let values = StudentValues::new();
        let place = Standpoint { subject: None, directory: Path::new("/"), values: &values };
        let read = |fact| place.read(&fact).unwrap();
        assert_eq!(read(Fact::Status("Pid".into())).text(), std::process::id().to_string());
        let pid = proc::namespace_link("/proc/self", crate::feature::Feature::Pid).unwrap();
        assert_eq!(read(Fact::Namespace(crate::feature::Feature::Pid)).text(), pid);
        assert_eq!(read(Fact::Limit("Max open files".into())).items.len(), 2);
        assert_eq!(signal_names(0x1_4002), ["SIGINT", "SIGTERM", "SIGCHLD"]);
        assert!(read(Fact::Signals("SigCgt".into())).refused.is_none());
        assert!(!read(Fact::Relatives(Relation::Ancestors)).items.is_empty());
        assert!(read(Fact::Relatives(Relation::Starters)).items.is_empty());
        assert!(read(Fact::Starters("cmdline".into())).items.is_empty());
        let pair = std::os::unix::net::UnixStream::pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(read(Fact::Links("fd".into())).items.contains(&"/dev/null".to_owned()));
        drop(null);
        let parent = nix::unistd::getppid().as_raw().to_string();
        assert_eq!(read(Fact::Parent("stat".into())).text().split(' ').next(), Some(&*parent));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port().to_string();
        assert!(read(Fact::Listening(Transport::Tcp)).items.contains(&port));
        let on = |address: &str| format!("{address}:{port}");
        let listening = read(Fact::ListeningOn(Transport::Tcp)).items;
        assert!(listening.contains(&on("127.0.0.1")) && !listening.contains(&on("0.0.0.0")), "{listening:?}");
        let socket = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        assert!(read(Fact::ListeningOn(Transport::Udp)).items.contains(&address));
        // A connected socket does not wait for others.
        let link = |descriptor| Fact::Socket(format!("fd/{descriptor}"));
        assert_eq!(read(link(socket.as_raw_fd())).text(), "udp");
        assert_eq!(read(link(pair.0.as_raw_fd())).text(), "unix");
        socket.connect("127.0.0.2:9").unwrap();
        assert!(!read(Fact::ListeningOn(Transport::Udp)).items.contains(&address));
        assert_eq!(read(Fact::Open("/no/such".into())).text(), "ENOENT");
        assert_eq!(read(Fact::Open("/dev/null".into())).text(), "ok");
        assert_eq!(read(Fact::DeviceFile("/dev/zero".into())).text(), "c 1:5");
        assert_eq!(read(Fact::DeviceFile("/".into())).text(), "no device file");
    }
}
