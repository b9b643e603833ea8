//! Fail closed: just before the command begins, what the kernel shows is held against what the plan promises. Each side
//! reads what it can: the child its own /proc, the host the files of the cgroups.

use std::{fs, io};

use super::agent::Agent;
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::plan::Plan;
use crate::plan::expect::{self, Expected, Wanted};
use crate::plan::gate::Difference;
use crate::plan::slots::Slots;
use crate::text::{text, text_with};

/// The caller's own namespaces, to be held against the child's.
///
/// # Errors
/// When a link can't be read. A kernel without that kind of namespace has none, which is no error.
pub(super) fn outside() -> Result<Vec<(Feature, String)>> {
    let mut links = Vec::new();
    for kind in Feature::NAMESPACES {
        let path = format!("/proc/self/ns/{kind}");
        match fs::read_link(&path) {
            Ok(link) => links.push((kind, link.to_string_lossy().into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::failed(format!("cannot read {path}")).why(error.to_string())),
        }
    }
    Ok(links)
}

/// What differs, read by whoever calls: the host reads the files of cgroups, the child all others.
pub(super) fn differences(plan: &Plan, slots: &Slots, is_host: bool) -> Vec<Difference> {
    let mut found: Vec<Difference> = expect::of(plan)
        .iter()
        .filter(|expected| expected.is_hosts() == is_host)
        .filter_map(|expected| difference(expected, slots))
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
    let slots = Slots { outside: outside()?, ..Slots::default() };
    let mut differences = Vec::new();
    // The files of its cgroups lie under the name that its own run chose.
    let expected: Vec<Expected> =
        expect::of(plan).into_iter().filter(|expected| !expected.is_hosts()).collect();
    for expected in &expected {
        let shown = match reader {
            Some(reader) if expected.path.starts_with("/proc/sys/") => reader
                .read(&expected.path)?
                .map(|words| Some(words.trim().to_owned()))
                .map_err(io::Error::from),
            _ => shown_at(expected, &expected.path.replace("/proc/self/", &format!("/proc/{pid}/"))),
        };
        differences.extend(difference_from(expected, shown, &slots));
    }
    if differences.is_empty() {
        Ok(expected.len())
    } else {
        Err(differs(&text_with("verify.differs", &[("pid", &pid.to_string())]), &differences))
    }
}

fn difference(expected: &Expected, slots: &Slots) -> Option<Difference> {
    difference_from(expected, shown_at(expected, &expected.path), slots)
}

fn difference_from(expected: &Expected, shown: Shown, slots: &Slots) -> Option<Difference> {
    let shown = shown.map_err(|error| text_with("verify.unread", &[("why", &error.to_string())]));
    // Not read is neither as it must be nor absent.
    let (shown, unread) = shown.map_or_else(|unread| (None, Some(unread)), |shown| (shown, None));
    let own = slots.outside.iter().find(|(kind, _)| *kind == expected.feature).map(|(_, link)| link.as_str());
    let (is_so, wanted) = match &expected.wanted {
        Wanted::Is(words) => (shown.as_deref() == Some(words), words.clone()),
        // A kernel without this kind of namespace has no link on either side.
        Wanted::Own => (
            shown.is_some() && own.is_some() && shown.as_deref() != own,
            text_with("verify.own", &[("own", own.unwrap_or("?"))]),
        ),
        Wanted::Shared => (unread.is_none() && shown.as_deref() == own, own.unwrap_or("?").to_owned()),
    };
    let source = match &expected.field {
        Some(field) => format!("{} {field}", expected.path),
        None => expected.path.clone(),
    };
    let shown = || shown.or(unread).unwrap_or_else(|| text("verify.absent"));
    (!is_so).then(|| Difference { source, wanted, shown: shown() })
}

/// What a file says; none where there is no such thing.
type Shown = io::Result<Option<String>>;

/// What a file says, read at `path`.
fn shown_at(expected: &Expected, path: &str) -> Shown {
    let read = if matches!(expected.wanted, Wanted::Own | Wanted::Shared) || path.ends_with("/cwd") {
        fs::read_link(path).map(|target| Some(target.to_string_lossy().into_owned()))
    } else {
        fs::read_to_string(path).map(|words| part_of(expected, &words))
    };
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read,
    }
}

/// The part of a file's words that is meant.
fn part_of(expected: &Expected, words: &str) -> Option<String> {
    match &expected.field {
        None => Some(words.split_whitespace().collect::<Vec<_>>().join(" ")),
        // The filesystem that is on top at a mount point: the last line of it. proc_pid_mountinfo(5)
        Some(point) if expected.path.ends_with("/mountinfo") => {
            let mut lines = words.lines().rev();
            let line = lines.find(|line| line.split(' ').nth(4) == Some(point))?;
            Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
        }
        Some(field) => {
            let words =
                words.lines().find_map(|line| line.strip_prefix(field.as_str())?.strip_prefix(':'))?;
            Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// Descriptors beyond 0 to 2 that execve would hand to the command.
fn open_descriptors() -> Vec<Difference> {
    let listed = match fs::read_dir("/proc/self/fd").and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(listed) => listed.into_iter(),
        Err(error) => {
            return vec![Difference {
                source: "/proc/self/fd".into(),
                wanted: text("verify.closed"),
                shown: text_with("verify.unread", &[("why", &error.to_string())]),
            }];
        }
    };
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
        let host = Host { privileged: true, ..Host::gather() };
        let plan = compose::plan(spec, &host, Feature::Run, ending(), false);
        let slots = Slots { outside: outside().unwrap(), ..Slots::default() };
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
        let page = 4096;
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
