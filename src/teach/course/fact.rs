//! Reads facts about a process from the kernel.

use std::net::SocketAddr;
use std::path::Path;

use super::data::{Fact, MountSet, OwnIdKind, Predicate, QuotaUnit, SpecFact, Transport};
use super::seed::{StudentValues, fill};
use super::{cgroup, container, files, mounts, relatives};
use crate::error::Result;
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
    /// The files that the learner got.
    pub(super) shipped: &'a [(&'a str, Vec<u8>)],
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
                FactValue::of(file::read_text(format!("{process}/{}", filled(path))), |content| {
                    // Not even its own sentence shows a byte 0.
                    FactValue::lines(&content.replace('\0', "\n"))
                })
            }
            Fact::Environment(name) => {
                FactValue::of(file::read_text(format!("{process}/environ")), |content| {
                    let value = |variable: &str| {
                        variable.strip_prefix(&*filled(name))?.strip_prefix('=').map(str::to_owned)
                    };
                    FactValue::list(content.split('\0').find_map(value).into_iter().collect())
                })
            }
            Fact::Link(path) => {
                FactValue::of(file::read_link(format!("{process}/{}", filled(path))), FactValue::one)
            }
            Fact::Inside(path) => self.inside(&filled(path), FactValue::lines)?,
            Fact::Column(column) => {
                self.inside(&filled(&column.file), |content| column_of(content, &column.name))?
            }
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
            Fact::DeviceFile(path) => files::device(&format!("{process}/root{}", filled(path))),
            Fact::Mount(mount) => match mountinfo::read(&process) {
                Ok(table) => mounts::part(&table, &filled(&mount.on), mount.show),
                Err(error) => FactValue::of(Err(error), FactValue::one),
            },
            Fact::Cgroup(wanted) => cgroup::file_of(&process, wanted),
            Fact::CpuQuota(QuotaUnit::Percent) => cgroup::cpu_percent(&process),
            Fact::DiskLimit(wanted) => cgroup::disk_limit(&process, &filled(&wanted.path), wanted.limit),
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
            Fact::ListeningAt(wanted) => listening_at(&process, wanted.transport, &filled(&wanted.port)),
            Fact::Links(path) => {
                FactValue::of(files::links_in(&format!("{process}/{}", filled(path))), FactValue::lines)
            }
            Fact::SameFile(wanted) => {
                let other = self.directory.join(filled(&wanted.file));
                files::are_one(&process, &filled(&wanted.process), &other)
            }
            Fact::Shipped(name) => files::shipped(self.directory, name, self.shipped),
            Fact::Directory(path) => files::names_in(&process, &filled(path)),
            Fact::TerminalSize(path) => files::terminal_size(&format!("{process}/{}", filled(path))),
            Fact::Mounts(MountSet::FromHost) => mounts::from_host(&process),
            Fact::OwnId(kind) => own_id(&process, *kind),
            Fact::Container(part) => container::about(&process, *part),
            Fact::Image(part) => container::image(&process, *part),
            Fact::LayersWith(path) => container::layers_with(&process, &filled(path)),
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

    /// A file, read by a process in the same namespaces.
    fn inside(&self, path: &str, read: impl Fn(&str) -> FactValue) -> Result<FactValue> {
        Ok(match self.subject {
            Some(subject) => match compare::read_inside(subject, path)? {
                Ok(content) => read(&content),
                Err(reason) => FactValue::refused(reason),
            },
            None => FactValue::of(file::read_text(path), read),
        })
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

/// The values of a column of a file whose first line has a word above each column.
pub(super) fn column_of(content: &str, name: &str) -> FactValue {
    let mut lines = content.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(at) = heading.split_whitespace().position(|word| word == name) else {
        return FactValue::refused("no such column");
    };
    FactValue::list(lines.filter_map(|line| line.split_whitespace().nth(at)).map(str::to_owned).collect())
}

/// The ID that a process has in its own user namespace. What its map does not have is shown there as the overflow ID.
fn own_id(process: &str, kind: OwnIdKind) -> FactValue {
    let (field, map) = match kind {
        OwnIdKind::User => ("Uid", "uid_map"),
        OwnIdKind::Group => ("Gid", "gid_map"),
    };
    FactValue::of(file::read_text(format!("{process}/status")), |status| {
        // The second one of the four is the effective ID.
        let effective = status_of(status, field).and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok());
        match effective.and_then(|id| proc::id_inside(&format!("{process}/{map}"), id)) {
            Some(id) => FactValue::one(&id.to_string()),
            None => FactValue::refused("not in the map"),
        }
    })
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

/// The addresses on which something listens at a port.
fn listening_at(process: &str, transport: Transport, port: &str) -> FactValue {
    let mut found = listening(process, transport, SocketAddr::to_string);
    let end = format!(":{port}");
    found.items =
        found.items.iter().filter_map(|address| address.strip_suffix(&end)).map(str::to_owned).collect();
    found
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
    use crate::teach::course::data::{ContainerPart, ImagePart, PortFact, Relation, SameFileFact};

    #[test]
    fn the_facts_of_this_process_are_those_of_the_kernel() {
        let values = StudentValues::new();
        let place = Standpoint { subject: None, directory: Path::new("/"), values: &values, shipped: &[] };
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

    #[test]
    fn files_of_the_work_directory_are_told_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| std::fs::write(directory.path().join(name), content).unwrap();
        write("log", "");
        write("copy", "");
        let shipped = [("log", b"".to_vec()), ("copy", b"as it was".to_vec())];
        let values = StudentValues::new();
        let place =
            Standpoint { subject: None, directory: directory.path(), values: &values, shipped: &shipped };
        let read = |fact| place.read(&fact).unwrap().text();
        let open = std::fs::File::open(directory.path().join("log")).unwrap();
        let is_one = |process: String, file: &str| {
            read(Fact::SameFile(SameFileFact { process, file: file.to_owned() }))
        };
        let descriptor = format!("fd/{}", open.as_raw_fd());
        let inside = format!("root{}", directory.path().join("copy").display());
        assert_eq!([is_one(descriptor.clone(), "log"), is_one(descriptor, "copy")], ["yes", "no"]);
        assert_eq!([is_one(inside.clone(), "copy"), is_one(inside, "none")], ["yes", "no"]);
        assert_eq!(is_one("fd/none".into(), "log"), "ENOENT");
        let state = |name: &str| read(Fact::Shipped(name.into()));
        assert_eq!([state("log"), state("copy"), state("other")], ["unchanged", "changed", "no such file"]);
        let names = |path: &Path| read(Fact::Directory(path.to_string_lossy().into_owned()));
        assert_eq!(names(directory.path()), "copy log");
        assert_eq!([names(Path::new("/no/such")), names(Path::new("/dev/null"))], ["ENOENT", "ENOTDIR"]);
        // A file that has no size is no terminal.
        assert_eq!(read(Fact::TerminalSize(format!("fd/{}", open.as_raw_fd()))), "ENOTTY");
    }

    #[test]
    fn a_column_has_the_values_below_its_heading() {
        let table = "       key      shmid perms  size  cpid\n  5000001    0   600   4096   12\n 0 1 600 5000001 13\n";
        assert_eq!(column_of(table, "size").items, ["4096", "5000001"]);
        assert_eq!(column_of(table, "key").items, ["5000001", "0"]);
        assert_eq!(column_of(table, "bytes").refused.as_deref(), Some("no such column"));
        assert_eq!(column_of("key size\n", "size").items, [""; 0]);
    }

    #[test]
    fn a_process_without_a_container_has_no_facts_of_one() {
        let values = StudentValues::new();
        let place = Standpoint { subject: None, directory: Path::new("/"), values: &values, shipped: &[] };
        let read = |fact| place.read(&fact).unwrap();
        for fact in [
            Fact::Container(ContainerPart::Name),
            Fact::Container(ContainerPart::Starts),
            Fact::Image(ImagePart::Layers),
            Fact::Image(ImagePart::Names),
            Fact::LayersWith("/etc".into()),
        ] {
            assert!(read(fact.clone()).refused.is_some(), "{fact:?}");
        }
        // In its own user namespace, the process has the ID that getuid(2) returns.
        let ids = [OwnIdKind::User, OwnIdKind::Group].map(|kind| read(Fact::OwnId(kind)).text());
        assert_eq!(ids, [nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string()]);
        let all = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = all.local_addr().unwrap().port().to_string();
        let at =
            |port: &str| Fact::ListeningAt(PortFact { transport: Transport::Tcp, port: port.to_owned() });
        assert_eq!(read(at(&port)).items, ["0.0.0.0"]);
    }
}
