//! Fail closed: just before the command begins, what the kernel shows is held against what the plan promises. Each side
//! reads what it can: the child its own /proc, the host the files of the cgroups.

use std::fs;
use std::net::Ipv4Addr;

use super::agent::Agent;
use crate::error::{Error, Result};
use crate::feature::Feature;
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
    let mut found: Vec<Difference> = expect::of(plan)
        .iter()
        .filter(|expected| expected.is_hosts() == is_host)
        .map(|expected| claimed(expected, slots))
        .filter_map(|expected| difference(&expected, slots))
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
    let mut differences = Vec::new();
    // The files of its cgroups lie under the name that its own run chose, and the address is one that it claimed.
    let is_known =
        |expected: &Expected| !expected.is_hosts() && expected.field.as_deref() != Some(expect::CLAIMED);
    let expected: Vec<Expected> = expect::of(plan).into_iter().filter(is_known).collect();
    for expected in &expected {
        let shown = match reader {
            Some(reader) if expected.path.starts_with("/proc/sys/") => {
                reader.read(&expected.path)?.ok().map(|words| words.trim().to_owned())
            }
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

/// With the address that was claimed, where it is about that.
fn claimed(expected: &Expected, slots: &Slots) -> Expected {
    let mut expected = expected.clone();
    if let (Some(expect::CLAIMED), Some(address)) = (expected.field.as_deref(), slots.address) {
        expected.field = Some(address.to_string());
    }
    expected
}

fn difference(expected: &Expected, slots: &Slots) -> Option<Difference> {
    difference_from(expected, shown_at(expected, &expected.path), slots)
}

fn difference_from(expected: &Expected, shown: Option<String>, slots: &Slots) -> Option<Difference> {
    let own = slots.outside.iter().find(|(kind, _)| *kind == expected.feature).map(|(_, link)| link.as_str());
    let (is_so, wanted) = match &expected.wanted {
        Wanted::Is(words) => (shown.as_deref() == Some(words), words.clone()),
        // A kernel without this kind of namespace has no link on either side.
        Wanted::Own => (
            shown.is_some() && shown.as_deref() != own,
            text_with("verify.own", &[("own", own.unwrap_or("?"))]),
        ),
        Wanted::Shared => (shown.as_deref() == own, own.unwrap_or("?").to_owned()),
    };
    let source = match &expected.field {
        Some(field) => format!("{} {field}", expected.path),
        None => expected.path.clone(),
    };
    (!is_so).then(|| Difference { source, wanted, shown: shown.unwrap_or_else(|| text("verify.unread")) })
}

/// What a file says, read at `path`.
fn shown_at(expected: &Expected, path: &str) -> Option<String> {
    if matches!(expected.wanted, Wanted::Own | Wanted::Shared) || path.ends_with("/cwd") {
        return Some(fs::read_link(path).ok()?.to_string_lossy().into_owned());
    }
    let words = fs::read_to_string(path).ok()?;
    match &expected.field {
        None => Some(words.split_whitespace().collect::<Vec<_>>().join(" ")),
        // The filesystem that is on top at a mount point: the last line of it. proc_pid_mountinfo(5)
        Some(point) if expected.path.ends_with("/mountinfo") => {
            let mut lines = words.lines().rev();
            let line = lines.find(|line| line.split(' ').nth(4) == Some(point))?;
            Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
        }
        // The kind of an address stands in the line below it.
        Some(address) if expected.path.ends_with("/fib_trie") => {
            let mut lines = words.lines();
            lines.find(|line| line.split_whitespace().last() == Some(address))?;
            Some(lines.next()?.trim().to_owned())
        }
        Some(network) if expected.path.ends_with("/net/route") => gateway_of(&words, network),
        Some(field) => {
            let words =
                words.lines().find_map(|line| line.strip_prefix(field.as_str())?.strip_prefix(':'))?;
            Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    }
}

/// The gateway of a route. /proc/net/route prints the bytes of an address as a number of this machine.
fn gateway_of(routes: &str, network: &str) -> Option<String> {
    let address = |word: &str| Some(Ipv4Addr::from(u32::from_str_radix(word, 16).ok()?.to_ne_bytes()));
    let mut lines = routes.lines().skip(1).map(|line| line.split_whitespace());
    let mut words = lines.find_map(|mut words| {
        let destination = address(words.nth(1)?)?;
        (destination.to_string() == network).then_some(words)
    })?;
    Some(address(words.next()?)?.to_string())
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
    use crate::host::{Bridge, Cgroups, Host};
    use crate::namespaces::net::{Mode, Net};
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
    fn a_route_has_its_gateway() {
        let word = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let routes = format!(
            "Iface\tDestination\tGateway\n eth0\t{}\t{}\t1\n eth0\t{}\t{}\t3\n",
            word([10, 111, 0, 0]),
            word([0; 4]),
            word([0; 4]),
            word([10, 111, 0, 1]),
        );
        assert_eq!(gateway_of(&routes, "0.0.0.0").as_deref(), Some("10.111.0.1"));
        assert_eq!(gateway_of(&routes, "10.111.0.0").as_deref(), Some("0.0.0.0"));
        assert_eq!(gateway_of(&routes, "10.112.0.0"), None);
    }

    /// This process has no such address, and no such route.
    #[test]
    fn an_address_and_a_route_that_are_not_there_are_found() {
        let bridge = Bridge {
            network: Some(Ipv4Addr::new(10, 111, 99, 0)),
            is_foreign: false,
            port: "sbx-0".into(),
            permitted: true,
        };
        let host = Host { privileged: true, bridge: Some(bridge), ..Host::gather() };
        let net = Net { mode: Mode::Bridge, ..Net::default() };
        let plan =
            compose::plan(&Spec { net: Some(net), ..Spec::default() }, &host, Feature::Run, ending(), false);
        let slots = Slots { address: Some(Ipv4Addr::new(10, 111, 99, 2)), ..Slots::default() };
        let mut found = differences(&plan, &slots, false);
        found.retain(|difference| difference.source.contains("/net/"));
        let [address, route] = &*found else { panic!("{found:?}") };
        assert_eq!(address.source, "/proc/self/net/fib_trie 10.111.99.2");
        assert_eq!(
            (route.source.as_str(), route.wanted.as_str()),
            ("/proc/self/net/route 0.0.0.0", "10.111.99.1")
        );
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
