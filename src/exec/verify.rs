//! Fail closed: just before the command begins, what the kernel shows is held against what the plan promises. Each side
//! reads what it can: the child its own /proc, the host the files of the cgroups.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::agent::Agent;
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::host;
use crate::host::cgroups::{self, Hierarchy};
use crate::host::files::unescape;
use crate::host::tree::Tree;
use crate::observe::proc::status_of;
use crate::plan::Plan;
use crate::plan::expect::{self, Expected, Wanted};
use crate::plan::gate::Difference;
use crate::plan::slots::Slots;
use crate::text::{text, text_with};

/// The caller's own namespaces, to be held against the child's.
pub(super) fn outside() -> Vec<(Feature, String)> {
    Feature::NAMESPACES.into_iter().filter_map(|kind| Some((kind, link(kind)?))).collect()
}

fn link(kind: Feature) -> Option<String> {
    Some(fs::read_link(format!("/proc/self/ns/{kind}")).ok()?.to_string_lossy().into_owned())
}

/// What differs, read by whoever calls: the host reads the files of cgroups, the child all others.
pub(super) fn differences(plan: &Plan, slots: &Slots, is_host: bool) -> Vec<Difference> {
    let mut shown = Shown::by("/proc/self");
    let mut found: Vec<Difference> = expect::of(plan)
        .iter()
        .filter(|expected| expected.is_hosts() == is_host)
        .filter_map(|expected| difference(expected, shown.of(expected), &slots.outside))
        .collect();
    if !is_host {
        found.extend(open_descriptors());
    }
    found
}

/// Holds a process that runs against a plan, from outside: how many values were as they must be. What only a process in there
/// can read is read by `reader`, which joined it.
///
/// # Errors
/// What differs, as a table; that the process can't be looked at.
pub fn process(plan: &Plan, pid: i32, reader: Option<&Agent>) -> Result<usize> {
    let process = format!("/proc/{pid}");
    let (outside, expected, groups) = (outside(), expect::of(plan), cgroups::hierarchies(&process));
    let mut shown = Shown::by(&process);
    let mut differences = Vec::new();
    for expected in &expected {
        let path = match expected.is_hosts() {
            // Its group has the name that its own run chose.
            true => own_file(&groups, &expected.path).unwrap_or_else(|| expected.path.clone()),
            false => expected.path.replace("/proc/self", &process),
        };
        let expected = Expected { path, ..expected.clone() };
        let words = match reader {
            Some(reader) if expected.path.starts_with("/proc/sys/") => {
                reader.read(&expected.path)?.ok().map(|words| one_line(&words))
            }
            _ => shown.of(&expected),
        };
        differences.extend(difference(&expected, words, &outside));
    }
    if differences.is_empty() {
        Ok(expected.len())
    } else {
        Err(differs(&text_with("verify.differs", &[("pid", &pid.to_string())]), &differences))
    }
}

/// The file of that name in a process's own group: `memory.max` belongs to the controller memory.
fn own_file(groups: &[Hierarchy], path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let controller = name.split('.').next()?;
    let has = |group: &&Hierarchy| group.controllers.iter().any(|known| known == controller);
    Some(groups.iter().find(has)?.own.as_ref()?.join(name).to_string_lossy().into_owned())
}

fn difference(
    expected: &Expected,
    shown: Option<String>,
    outside: &[(Feature, String)],
) -> Option<Difference> {
    let own = outside.iter().find(|(kind, _)| *kind == expected.feature).map(|(_, link)| link.as_str());
    let is_so = match &expected.wanted {
        Wanted::Is(words) => shown.as_deref() == Some(words),
        // A kernel without this kind of namespace has no link on either side.
        Wanted::Own => shown.is_some() && shown.as_deref() != own,
        Wanted::Shared => shown.as_deref() == own,
        Wanted::Mounted { kind, attributes, may_lack } => match shown.as_deref() {
            Some(NOWHERE) => *may_lack,
            Some(words) => {
                let (mounted, has) = words.split_once(' ').unwrap_or((words, ""));
                kind.as_ref().is_none_or(|kind| kind == mounted)
                    && attributes.options().iter().all(|option| has.split(',').any(|has| has == *option))
            }
            None => false,
        },
    };
    if is_so {
        return None;
    }
    // The words only now: to look them up takes longer than to read what is compared.
    let wanted = match &expected.wanted {
        Wanted::Is(words) => words.clone(),
        Wanted::Own => text_with("verify.own", &[("own", own.unwrap_or("?"))]),
        Wanted::Shared => own.unwrap_or("?").to_owned(),
        Wanted::Mounted { kind, attributes, .. } => {
            format!("{} {}", kind.as_deref().unwrap_or("*"), attributes.options().join(","))
        }
    };
    let source = match &expected.field {
        Some(field) => format!("{} {field}", expected.path),
        None => expected.path.clone(),
    };
    Some(Difference { source, wanted, shown: shown.unwrap_or_else(|| text("verify.unread")) })
}

/// What is shown of a place that isn't there.
const NOWHERE: &str = "ENOENT";

/// What the kernel shows of a process. Each file is read once: its lines are of one moment.
struct Shown {
    /// Its folder, `/proc/self` or `/proc/PID`.
    process: String,
    files: BTreeMap<String, Option<String>>,
}

impl Shown {
    fn by(process: &str) -> Shown {
        Shown { process: process.to_owned(), files: BTreeMap::new() }
    }

    /// What stands where a value is expected.
    fn of(&mut self, expected: &Expected) -> Option<String> {
        let path = &expected.path;
        if matches!(expected.wanted, Wanted::Own | Wanted::Shared) || path.ends_with("/cwd") {
            return Some(fs::read_link(path).ok()?.to_string_lossy().into_owned());
        }
        let words = self.files.entry(path.clone()).or_insert_with_key(|path| host::read(path).ok());
        let words = words.as_deref()?;
        match &expected.field {
            None => Some(one_line(words)),
            Some(place) if matches!(expected.wanted, Wanted::Mounted { .. }) => {
                mounted_at(words, place).or_else(|| elsewhere(&self.process, words, place))
            }
            // The name may have blanks in it, and is followed by the soft limit and the hard one. proc_pid_limits(5)
            Some(name) if path.ends_with("/limits") => {
                let line = words.lines().find_map(|line| line.strip_prefix(name.as_str()))?;
                Some(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            }
            Some(field) => status_of(words, field).map(one_line),
        }
    }
}

/// What is mounted at a place that links lead to: the table has it without them.
fn elsewhere(process: &str, table: &str, place: &str) -> Option<String> {
    let root = format!("{process}/root");
    let place = Tree::of(Some(Path::new(&root))).locate(Path::new(place));
    let is_there = place.today.is_some_and(|today| today.symlink_metadata().is_ok());
    let shown = mounted_at(table, &place.inside.to_string_lossy());
    shown.or_else(|| (!is_there).then(|| NOWHERE.to_owned()))
}

/// The filesystem and the options of the mount on top at a place: the last line of it. proc_pid_mountinfo(5)
fn mounted_at(table: &str, place: &str) -> Option<String> {
    let is_here = |line: &&str| line.split(' ').nth(4).is_some_and(|point| unescape(point) == place);
    let line = table.lines().rev().find(is_here)?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?;
    Some(format!("{kind} {}", line.split(' ').nth(5)?))
}

fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Descriptors beyond 0 to 2 that execve would hand to the command.
fn open_descriptors() -> Vec<Difference> {
    let listed = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let kept = numbers.filter(|number| *number > 2 && crate::sys::is_kept_by_exec(*number));
    kept.map(|number| Difference {
        source: format!("/proc/self/fd/{number}"),
        wanted: text("verify.closed"),
        shown: text("verify.kept"),
    })
    .collect()
}

/// The start is stopped: a table of what differs.
pub(super) fn refused(differences: &[Difference]) -> Error {
    differs(&text("verify.what"), differences).why(text("verify.why")).todo(text("verify.todo"))
}

fn differs(what: &str, differences: &[Difference]) -> Error {
    let mut error = Error::failed(what);
    for Difference { source, wanted, shown } in differences {
        error = error.why(format!(" {source}\n   wanted  {wanted}\n   shown   {shown}"));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::memory::Memory;
    use crate::host::cgroups::{Controller, Site, Version};
    use crate::host::{Cgroups, Host};
    use crate::namespaces::uts::Uts;
    use crate::spec::Spec;
    use crate::spec::compose::{self, Ending};
    use crate::spec::units::Size;

    fn ending() -> Ending {
        Ending::Command { path: "/bin/true".into(), arguments: vec!["true".into()] }
    }

    fn found(spec: &Spec) -> Vec<String> {
        let host = Host { privileged: true, ..compose::gather(spec) };
        let plan = compose::plan(spec, &host, Feature::Run, ending(), false);
        let slots = Slots { outside: outside(), ..Slots::default() };
        differences(&plan, &slots, false).into_iter().map(|difference| difference.source).collect()
    }

    /// This process was isolated in nothing: whatever a plan promises is missing, and what it doesn't is there.
    #[test]
    fn what_was_promised_and_is_not_there_is_found() {
        let is_link =
            |source: &String| source.starts_with("/proc/self/ns/") || source.contains("/sys/kernel/");
        let mut none = found(&Spec::default());
        none.retain(is_link);
        assert!(none.is_empty(), "{none:?}");
        let uts = Some(Uts { hostname: Some("not-this-machine".into()), domainname: None });
        let mut missing = found(&Spec { uts, ..Spec::default() });
        missing.retain(is_link);
        assert_eq!(missing, ["/proc/self/ns/uts", "/proc/sys/kernel/hostname"]);
    }

    #[test]
    fn mounts_and_rlimits_that_are_not_there_are_found() {
        let words = "rootfs: host\npid:\nrlimits: { nofile: 77 }\n";
        let mut found = found(&serde_yaml::from_str(words).unwrap());
        found.retain(|source| source.contains("/limits") || source.contains("/mountinfo"));
        for place in ["/proc/sys", "/proc/irq", "/etc"] {
            let source = format!("/proc/self/mountinfo {place}");
            let is_promised = place != "/etc";
            assert_eq!(found.contains(&source), is_promised, "{source}: {found:?}");
        }
        assert_eq!(found[0], "/proc/self/limits Max open files");
    }

    /// No group was made: each of its files is missing, with the number that the kernel would show.
    #[test]
    fn a_limit_that_is_not_there_is_found() {
        let site = Site {
            version: Version::V2,
            base: "/sys/fs/cgroup/no-such-folder".into(),
            controllers: vec![Controller::Memory],
            handed_down: Vec::new(),
            missing: Vec::new(),
            is_occupied: false,
            cpuset: None,
        };
        let cgroups = Cgroups {
            name: "group".into(),
            versions: vec![(Controller::Memory, Version::V2)],
            sites: vec![site],
            obstacles: Vec::new(),
        };
        let host = Host { privileged: true, cgroups: Some(cgroups), ..Host::gather() };
        let page = rustix::param::page_size() as u64;
        let memory = Memory { limit: Some(Size(9 * page + 1)), ..Memory::default() };
        let spec = Spec { memory: Some(memory), ..Spec::default() };
        let plan = compose::plan(&spec, &host, Feature::Run, ending(), false);
        let [Difference { source, wanted, .. }] = &*differences(&plan, &Slots::default(), true) else {
            panic!("one limit");
        };
        assert_eq!(source, "/sys/fs/cgroup/no-such-folder/sandbox/group/memory.max");
        assert_eq!(*wanted, (9 * page).to_string());
    }

    #[test]
    fn a_descriptor_that_the_command_would_get_is_found() {
        let file = fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let source = format!("/proc/self/fd/{number}");
        assert!(!found(&Spec::default()).contains(&source));
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        assert!(found(&Spec::default()).contains(&source));
    }
}
