//! Reads facts about a process from the kernel, and compares them with what an exercise asks for.

use std::net::SocketAddr;
use std::path::Path;

use super::data::{Fact, MountPart, Predicate, Relation, SpecFact, Transport};
use super::seed::{StudentValues, fill};
use crate::error::Result;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{self, Version};
use crate::observe::proc::{self, status_of};
use crate::observe::{Observation, Value, file, mountinfo, net, processes};
use crate::sys::signal::{self, SignalSet};
use crate::teach::compare::{self, Subject};
use crate::value::units::Size;

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

    fn words(text: &str) -> FactValue {
        FactValue {
            items: text.split_whitespace().map(str::to_owned).collect(),
            separator: " ",
            refused: None,
        }
    }

    fn one(text: &str) -> FactValue {
        FactValue { items: vec![text.to_owned()], separator: " ", refused: None }
    }

    fn list(items: Vec<String>) -> FactValue {
        FactValue { items, separator: " ", refused: None }
    }

    /// The lines of a text. Each run of blanks is one blank.
    fn lines(text: &str) -> FactValue {
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        FactValue { items: text.lines().map(line).collect(), separator: " | ", refused: None }
    }

    fn refused(reason: impl Into<String>) -> FactValue {
        FactValue { items: Vec::new(), separator: " ", refused: Some(reason.into()) }
    }

    fn of(result: std::io::Result<String>, read: impl Fn(&str) -> FactValue) -> FactValue {
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
            Fact::Relatives(relation) => relatives(&process, *relation),
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

/// The value of a key in a file with lines `KEY VALUE`.
fn value_of(content: &str, key: &str) -> FactValue {
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

/// The names of related processes.
fn relatives(process: &str, relation: Relation) -> FactValue {
    let status = |pid: &str| file::read_text(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |status: &str, name: &str| status_of(status, name).unwrap_or_default().to_owned();
    let own = match file::read_text(format!("{process}/status")) {
        Ok(own) => own,
        Err(error) => return FactValue::of(Err(error), FactValue::one),
    };
    let mut names = Vec::new();
    if relation == Relation::Ancestors {
        let mut parent = field(&own, "PPid");
        while parent != "0" && !parent.is_empty() {
            let status = status(&parent);
            names.push(field(&status, "Name"));
            parent = field(&status, "PPid");
        }
        return FactValue::list(names);
    }
    let pid = field(&own, "Pid");
    for status in processes::pids().iter().map(|child| status(&child.to_string())) {
        let is_zombie = field(&status, "State").starts_with('Z');
        if field(&status, "PPid") == pid && is_zombie == (relation == Relation::Zombies) {
            names.push(field(&status, "Name"));
        }
    }
    FactValue::list(names)
}

/// Whether a value is what it must be. `other` is the same fact of the process that the predicate names.
pub(super) fn holds(
    predicate: &Predicate,
    seen: &FactValue,
    other: Option<&FactValue>,
    values: &StudentValues,
) -> bool {
    let text = seen.text();
    let filled = |text: &String| fill(text, values);
    let compared = |expected: &String, is: fn(f64, f64) -> bool| {
        number(&text).zip(number(&filled(expected))).is_some_and(|(seen, expected)| is(seen, expected))
    };
    let can_be_read = seen.refused.is_none();
    match predicate {
        // See `Standpoint::expectation`.
        Predicate::ByVersion(_) => false,
        Predicate::Exists(wanted) => can_be_read == *wanted,
        // A reason why it cannot be read is a value of `is` only: `ENOENT`.
        Predicate::Is(expected) => text == filled(expected),
        Predicate::OneOf(all) => all.iter().any(|expected| text == filled(expected)),
        _ if !can_be_read => false,
        Predicate::IsNot(expected) => text != filled(expected),
        Predicate::Has(item) => seen.items.contains(&filled(item)),
        Predicate::HasNot(item) => !seen.items.contains(&filled(item)),
        Predicate::Contains(part) => text.contains(&filled(part)),
        Predicate::ContainsNot(part) => !text.contains(&filled(part)),
        Predicate::Count(count) => seen.items.len() == *count,
        Predicate::Equals(expected) => compared(expected, |seen, expected| seen == expected),
        Predicate::AtLeast(expected) => compared(expected, |seen, expected| seen >= expected),
        Predicate::AtMost(expected) => compared(expected, |seen, expected| seen <= expected),
        Predicate::SameAs(_) => {
            other.is_some_and(|other| other.refused.is_none() && other.items == seen.items)
        }
        Predicate::DiffersFrom(_) => {
            other.is_some_and(|other| other.refused.is_none() && other.items != seen.items)
        }
    }
}

/// The value that a message names as expected.
pub(super) fn expected(predicate: &Predicate, values: &StudentValues) -> String {
    let text = match predicate {
        Predicate::Is(text)
        | Predicate::IsNot(text)
        | Predicate::Has(text)
        | Predicate::HasNot(text)
        | Predicate::Contains(text)
        | Predicate::ContainsNot(text)
        | Predicate::AtLeast(text)
        | Predicate::AtMost(text)
        | Predicate::Equals(text)
        | Predicate::SameAs(text)
        | Predicate::DiffersFrom(text) => text.clone(),
        Predicate::OneOf(all) => all.join(", "),
        Predicate::Count(count) => count.to_string(),
        Predicate::Exists(exists) => exists.to_string(),
        Predicate::ByVersion(_) => String::new(),
    };
    fill(&text, values)
}

/// How cgroup v1 writes that there is no limit of memory: the greatest number of whole pages that fits into 63 bits.
const NO_LIMIT: &str = "9223372036854771712";

/// A number, a size or `max`.
fn number(text: &str) -> Option<f64> {
    match text {
        "max" | "unlimited" | NO_LIMIT => Some(f64::INFINITY),
        _ => text.parse::<f64>().ok().or_else(|| text.parse::<Size>().ok().map(|size| size.0 as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(predicate: &str, seen: &FactValue) -> bool {
        let predicate: serde_yaml::Value = serde_yaml::from_str(predicate).unwrap();
        let predicate: Predicate = serde_yaml::with::singleton_map::deserialize(predicate).unwrap();
        let values = StudentValues::from([("mib".into(), "48".into())]);
        holds(&predicate, seen, None, &values)
    }

    #[test]
    fn predicates_compare_texts_items_and_numbers() {
        let depth = FactValue::words("4711\t2 1");
        assert!(is("{count: 3}", &depth) && !is("{count: 2}", &depth));
        assert!(is("{is: 4711 2 1}", &depth) && is("{has: '2'}", &depth) && !is("{has: '47'}", &depth));
        assert!(is("{has_not: '3'}", &depth) && is("{contains: '47'}", &depth));
        let limit = FactValue::lines("50331648\n");
        assert!(is("{equals: '{mib}MiB'}", &limit) && !is("{equals: 49MiB}", &limit));
        assert!(is("{at_most: max}", &limit) && !is("{at_least: max}", &limit));
        assert!(is("{at_least: max}", &FactValue::lines("max\n")));
        assert!(!is("{equals: '1'}", &FactValue::lines("none\n")));
        // Without a limit, v1 has a number.
        assert!(is("{at_least: max}", &FactValue::lines("9223372036854771712\n")));
    }

    #[test]
    fn of_two_versions_that_of_the_machine_counts() {
        let both: serde_yaml::Value =
            serde_yaml::from_str("{by_version: {v1: {is: '30000'}, v2: {is: 30000 100000}}}").unwrap();
        let both: Predicate = serde_yaml::with::singleton_map::deserialize(both).unwrap();
        let values = StudentValues::new();
        let holds =
            |version, text: &str| holds(both.in_version(version), &FactValue::lines(text), None, &values);
        assert!(holds(Version::V1, "30000\n") && holds(Version::V2, "30000 100000\n"));
        assert!(!holds(Version::V2, "30000\n") && !holds(Version::V1, "30000 100000\n"));
    }

    #[test]
    fn a_key_is_a_whole_word() {
        let stat = "nr_periods 12\nnr_throttled 11\nthrottled_time 5\n";
        let seen = value_of(stat, "nr_throttled");
        assert!(is("{at_least: '10'}", &seen) && !is("{at_least: '12'}", &seen));
        assert!(!is("{at_least: '0'}", &value_of(stat, "nr")) && !is("{at_least: '0'}", &value_of("", "nr")));
    }

    #[test]
    fn what_cannot_be_read_is_nothing_but_its_reason() {
        let missing = FactValue::refused("ENOENT");
        for never in ["{count: 0}", "{is_not: x}", "{has_not: x}", "{contains_not: x}", "{at_most: max}"] {
            assert!(!is(never, &missing), "{never}");
        }
        assert!(
            is("{is: ENOENT}", &missing)
                && is("{exists: false}", &missing)
                && !is("{exists: true}", &missing)
        );
    }

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
        socket.connect("127.0.0.2:9").unwrap();
        assert!(!read(Fact::ListeningOn(Transport::Udp)).items.contains(&address));
        assert_eq!(read(Fact::Open("/no/such".into())).text(), "ENOENT");
        assert_eq!(read(Fact::Open("/dev/null".into())).text(), "ok");
    }
}
