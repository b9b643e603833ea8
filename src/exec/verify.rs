//! Fail closed: just before the command begins, what the kernel shows is held against what the plan promises. Each side
//! reads what it can: the child its own /proc, the host the files of the cgroups.

use std::collections::BTreeMap;
use std::fs;

use super::agent::Agent;
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::host;
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
    let mut files = Files::default();
    let mut found: Vec<Difference> = expect::of(plan)
        .iter()
        .filter(|expected| expected.is_hosts() == is_host)
        .filter_map(|expected| difference(expected, files.show(expected, &expected.path), slots))
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
    let slots = Slots { outside: outside(), ..Slots::default() };
    let (mut differences, mut files) = (Vec::new(), Files::default());
    // The files of its cgroups lie under the name that its own run chose.
    let expected: Vec<Expected> =
        expect::of(plan).into_iter().filter(|expected| !expected.is_hosts()).collect();
    for expected in &expected {
        let shown = match reader {
            Some(reader) if expected.path.starts_with("/proc/sys/") => {
                reader.read(&expected.path)?.ok().map(|words| words.trim().to_owned())
            }
            _ => files.show(expected, &expected.path.replace("/proc/self/", &format!("/proc/{pid}/"))),
        };
        differences.extend(difference(expected, shown, &slots));
    }
    if differences.is_empty() {
        Ok(expected.len())
    } else {
        Err(differs(&text_with("verify.differs", &[("pid", &pid.to_string())]), &differences))
    }
}

fn difference(expected: &Expected, shown: Option<String>, slots: &Slots) -> Option<Difference> {
    let own = slots.outside.iter().find(|(kind, _)| *kind == expected.feature).map(|(_, link)| link.as_str());
    let is_so = match &expected.wanted {
        Wanted::Is(words) => shown.as_deref() == Some(words),
        // A kernel without this kind of namespace has no link on either side.
        Wanted::Own => shown.is_some() && shown.as_deref() != own,
        Wanted::Shared => shown.as_deref() == own,
    };
    if is_so {
        return None;
    }
    // The words only now: to look them up takes longer than to read what is compared.
    let wanted = match &expected.wanted {
        Wanted::Is(words) => words.clone(),
        Wanted::Own => text_with("verify.own", &[("own", own.unwrap_or("?"))]),
        Wanted::Shared => own.unwrap_or("?").to_owned(),
    };
    let source = match &expected.field {
        Some(field) => format!("{} {field}", expected.path),
        None => expected.path.clone(),
    };
    Some(Difference { source, wanted, shown: shown.unwrap_or_else(|| text("verify.unread")) })
}

/// The files that have been read, each once: a dozen lines of /proc/self/status are compared. None where one can't be read.
#[derive(Default)]
struct Files(BTreeMap<String, Option<String>>);

impl Files {
    /// What a file says, read at `path`.
    fn show(&mut self, expected: &Expected, path: &str) -> Option<String> {
        if matches!(expected.wanted, Wanted::Own | Wanted::Shared) || path.ends_with("/cwd") {
            return Some(fs::read_link(path).ok()?.to_string_lossy().into_owned());
        }
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), host::read(path).ok());
        }
        let words = self.0.get(path)?.as_deref()?;
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
        let host = Host { privileged: true, ..Host::gather() };
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
