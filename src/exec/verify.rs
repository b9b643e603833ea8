//! Fail closed: just before the command begins, what the kernel shows is held against what the plan promises. Each side
//! reads what it can: the child its own /proc, the host the files of the cgroups.

mod shown;

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;
use std::{fs, io};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use self::shown::{NOWHERE, Shown, Value, one_line};
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::observe::hierarchy::{self, Hierarchy};
use crate::observe::proc::status_of;
use crate::plan::call::process::ProcessCall;
use crate::plan::expect::{self, Expected, Wanted};
use crate::plan::gate::Difference;
use crate::plan::slots::Slots;
use crate::plan::{Call, Plan};
use crate::teach::agent::Agent;
use crate::text::{text, text_with};

/// The caller's own namespaces, to be held against the child's.
///
/// # Errors
/// When a link can't be read. A kernel without that kind of namespace has none, which is no error.
pub(super) fn outside() -> Result<Vec<(Feature, String)>> {
    let shown = Shown::by("/proc/self");
    let mut links = Vec::new();
    for &kind in Feature::NAMESPACES {
        let path = format!("/proc/self/ns/{kind}");
        match shown.link(&path) {
            Ok(link) => links.push((kind, link)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::failed(format!("cannot read {path}")).why(error.to_string())),
        }
    }
    Ok(links)
}

/// What differs of what `slots` expect, read by whoever calls: the host reads the files of cgroups, the child all others.
pub(super) fn differences(plan: &Plan, slots: &Slots, is_host: bool) -> Vec<Difference> {
    let mut shown = Shown::by("/proc/self");
    let mut found: Vec<Difference> = slots
        .expected
        .iter()
        .filter(|expected| expected.is_hosts() == is_host)
        .map(|expected| claimed(expected, slots))
        .filter_map(|expected| difference(&expected, shown.of(&expected), &slots.outside))
        .collect();
    if !is_host {
        found.extend(open_descriptors(shown.file("/proc/self/status")));
        found.extend(own_program(plan, &mut shown));
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
    let (outside, groups) = (outside()?, hierarchy::hierarchies(&process));
    // The address is one that its own run claimed.
    let is_known = |expected: &Expected| expected.field.as_deref() != Some(expect::CLAIMED);
    let expected: Vec<Expected> = expect::of(plan).into_iter().filter(is_known).collect();
    let mut shown = Shown::by(&process);
    let mut differences = Vec::new();
    for expected in &expected {
        let path = match expected.is_hosts() {
            // Its group has the name that its own run chose.
            true => own_file(&groups, &expected.path).map_or_else(|| expected.path.clone(), Cow::from),
            false => expected.path.replace("/proc/self", &process).into(),
        };
        let expected = Expected { path, ..expected.clone() };
        let value = match reader {
            Some(reader) if expected.path.starts_with("/proc/sys/") => {
                let words = reader.read(&expected.path)?;
                words.map(|words| Some(one_line(&words))).map_err(|errno| io::Error::from(errno).to_string())
            }
            _ => shown.of(&expected),
        };
        differences.extend(difference(&expected, value, &outside));
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
    Some(groups.iter().find(has)?.own()?.join(name).to_string_lossy().into_owned())
}

/// With the address that was claimed, where it is about that.
fn claimed<'a>(expected: &'a Expected, slots: &Slots) -> Cow<'a, Expected> {
    match (expected.field.as_deref(), slots.address) {
        (Some(expect::CLAIMED), Some(address)) => {
            Cow::Owned(Expected { field: Some(address.to_string().into()), ..expected.clone() })
        }
        _ => Cow::Borrowed(expected),
    }
}

fn difference(expected: &Expected, value: Value, outside: &[(Feature, String)]) -> Option<Difference> {
    let own = outside.iter().find(|(kind, _)| expected.purpose == *kind).map(|(_, link)| link.as_str());
    // Not read is neither as it must be nor absent.
    let is_so = value.as_ref().is_ok_and(|shown| is_so(&expected.wanted, shown.as_deref(), own));
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
        None => expected.path.to_string(),
    };
    let shown = match value {
        Ok(shown) => shown.unwrap_or_else(|| text("verify.absent")),
        Err(why) => text_with("verify.unread", &[("why", &why)]),
    };
    Some(Difference { source, wanted, shown })
}

fn is_so(wanted: &Wanted, shown: Option<&str>, own: Option<&str>) -> bool {
    match wanted {
        Wanted::Is(words) => shown == Some(words),
        // A kernel without this kind of namespace has no link on either side.
        Wanted::Own => shown.is_some() && own.is_some() && shown != own,
        Wanted::Shared => shown == own,
        Wanted::Mounted { may_lack, .. } if shown == Some(NOWHERE) => *may_lack,
        Wanted::Mounted { kind, attributes, .. } => shown.is_some_and(|shown| {
            let (mounted, has) = shown.split_once(' ').unwrap_or((shown, ""));
            let has: Vec<&str> = has.split(',').collect();
            kind.as_ref().is_none_or(|kind| kind == mounted)
                && attributes.options().iter().all(|option| has.contains(option))
        }),
    }
}

/// /proc/self/exe leads to nothing that the container could change, as long as this process is `sandbox`.
fn own_program(plan: &Plan, shown: &mut Shown) -> Option<Difference> {
    let has = |wanted: fn(&ProcessCall) -> bool| {
        plan.steps.iter().any(|step| matches!(&step.call, Call::Process(call) if wanted(call)))
    };
    let source = "/proc/self/exe".to_owned();
    let link = shown
        .link(&source)
        .unwrap_or_else(|error| text_with("verify.unread", &[("why", &error.to_string())]));
    let (wanted, is_so) = if has(|call| matches!(call, ProcessCall::LeaveProgram { .. })) {
        ("verify.left", link == "/memfd:sandbox (deleted)")
    } else if has(|call| matches!(call, ProcessCall::ExecuteCopy)) {
        ("verify.sealed", crate::sys::sealed::is_sealed())
    } else if plan.namespaces.contains(&Feature::Mnt) {
        ("verify.unowned", is_out_of_reach(&source, shown))
    } else {
        return None;
    };
    (!is_so).then(|| Difference { source, wanted: text(wanted), shown: link })
}

/// Whether a file's owner has no ID here, and this process may not write to the file.
fn is_out_of_reach(path: &str, shown: &mut Shown) -> bool {
    let owner = fs::metadata(path).map(|file| file.uid().to_string());
    // The ID of whoever has none. proc_sys_kernel(5)
    let nobody = shown.file("/proc/sys/kernel/overflowuid");
    let has_no_owner = matches!((owner, nobody), (Ok(owner), Ok(Some(nobody))) if owner == nobody.trim());
    has_no_owner && matches!(access(path, AccessFlags::W_OK), Err(Errno::EACCES | Errno::EROFS))
}

/// Descriptors beyond 0 to 2 that execve would hand to the command, of all that there's room for: FDSize.
/// proc_pid_status(5)
fn open_descriptors(status: &Value) -> Vec<Difference> {
    let found = |number: &str, shown| Difference {
        source: format!("/proc/self/fd/{number}"),
        wanted: text("verify.closed"),
        shown,
    };
    let words = status.as_ref().map(|words| words.as_deref().unwrap_or_default());
    let room: i32 = match words.map(|words| status_of(words, "FDSize").unwrap_or_default().parse()) {
        Ok(Ok(room)) => room,
        Ok(Err(error)) => {
            return vec![found("*", text_with("verify.unread", &[("why", &error.to_string())]))];
        }
        Err(why) => return vec![found("*", text_with("verify.unread", &[("why", why)]))],
    };
    let kept = (3..room).filter(|number| crate::sys::is_kept_by_exec(*number));
    kept.map(|number| found(&number.to_string(), text("verify.kept"))).collect()
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
    use std::fs;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::cgroups::memory::Memory;
    use crate::config::compose::{self, Ending, Machine};
    use crate::config::spec::Spec;
    use crate::feature::Purpose;
    use crate::host::cgroups::Site;
    use crate::host::{Cgroups, Host};
    use crate::namespaces::net::{Mode, Net};
    use crate::namespaces::user::{Map, User};
    use crate::namespaces::uts::Uts;
    use crate::network::NetworkFacts;
    use crate::network::bridge::Bridge;
    use crate::observe::hierarchy::{Controller, Version};
    use crate::rootfs::Rootfs;
    use crate::value::units::Size;

    fn ending() -> Ending {
        Ending::Command { path: "/bin/true".into(), arguments: vec!["true".into()] }
    }

    fn found(spec: &Spec) -> Vec<String> {
        let mut machine = compose::gather(spec);
        machine.host.privileged = true;
        let plan = compose::plan(spec, &machine, Purpose::Container, ending(), false);
        let slots = Slots { outside: outside().unwrap(), expected: expect::of(&plan), ..Slots::default() };
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

    /// This process's link still leads to its program.
    #[test]
    fn a_program_within_reach_is_found() {
        let is_there = |found: &[String]| found.contains(&"/proc/self/exe".to_owned());
        assert!(is_there(&found(&Spec { rootfs: Some(Rootfs::Host), ..Spec::default() })));
        assert!(!is_there(&found(&Spec::default())));
        let user = Some(User { map: vec![Map::Auto], ..User::default() });
        assert!(is_there(&found(&Spec { rootfs: Some(Rootfs::Host), user, ..Spec::default() })));
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
        let machine = Machine { host, network: NetworkFacts::default() };
        let plan = compose::plan(&spec, &machine, Purpose::Container, ending(), false);
        let slots = Slots { expected: expect::of(&plan), ..Slots::default() };
        let [Difference { source, wanted, .. }] = &*differences(&plan, &slots, true) else {
            panic!("one limit");
        };
        assert_eq!(source, "/sys/fs/cgroup/no-such-folder/sandbox/group/memory.max");
        assert_eq!(*wanted, (9 * page).to_string());
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
        let machine = Machine {
            host: Host { privileged: true, ..Host::gather() },
            network: NetworkFacts { bridge: Some(bridge), veth: None },
        };
        let net = Net { mode: Mode::Bridge, ..Net::default() };
        let plan = compose::plan(
            &Spec { net: Some(net), ..Spec::default() },
            &machine,
            Purpose::Container,
            ending(),
            false,
        );
        let address = Some(Ipv4Addr::new(10, 111, 99, 2));
        let slots = Slots { address, expected: expect::of(&plan), ..Slots::default() };
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
