use std::net::Ipv4Addr;

use super::*;
use crate::cgroups::memory::Memory;
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::facts::Machine;
use crate::config::spec::Spec;
use crate::feature::Purpose;
use crate::host::cgroups::CgroupParent;
use crate::host::{Cgroups, Host};
use crate::namespaces::net::{Mode, Net};
use crate::namespaces::user::{Map, User};
use crate::namespaces::uts::Uts;
use crate::network::NetworkFacts;
use crate::network::bridge::Bridge;
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::call::user::{IdKind, IdRange};
use crate::plan::expect::{Moment, StatusField};
use crate::rootfs::Rootfs;
use crate::value::units::Size;

fn ending() -> Ending {
    Ending::Command { path: "/bin/true".into(), arguments: vec!["true".into()] }
}

fn plan(spec: &Spec, machine: Machine) -> Plan {
    Completed::with(spec, Purpose::Container, machine).plan(ending(), false)
}

fn found(spec: &Spec) -> Vec<String> {
    let mut machine = Completed::of(spec, Purpose::Container).machine;
    machine.host.privileged = true;
    let plan = plan(spec, machine);
    let differences = Expectations::of(&plan).unwrap().differences_inside(None, None);
    differences.into_iter().map(|difference| difference.source).collect()
}

/// The test process has no new namespaces, so a plan with a UTS namespace differs, and an empty plan does not.
#[test]
fn a_namespace_and_a_host_name_that_are_missing_are_found() {
    let is_link = |source: &String| source.starts_with("/proc/self/ns/") || source.contains("/sys/kernel/");
    let mut none = found(&Spec::default());
    none.retain(is_link);
    assert!(none.is_empty(), "{none:?}");
    let uts = Some(Uts { hostname: Some("not-this-machine".into()), ..Uts::default() });
    let mut missing = found(&Spec { uts, ..Spec::default() });
    missing.retain(is_link);
    assert_eq!(missing, ["/proc/self/ns/uts", "/proc/sys/kernel/hostname"]);
}

#[test]
fn mounts_and_rlimits_that_are_missing_are_found() {
    let spec = "rootfs: host\npid:\nrlimits: { nofile: 77 }\n";
    let mut found = found(&serde_yaml::from_str(spec).unwrap());
    found.retain(|source| source.contains("/limits") || source.contains("/mountinfo"));
    for place in ["/proc/sys", "/proc/irq", "/etc"] {
        let source = format!("/proc/self/mountinfo {place}");
        let is_expected = place != "/etc";
        assert_eq!(found.contains(&source), is_expected, "{source}: {found:?}");
    }
    assert_eq!(found[0], "/proc/self/limits Max open files");
}

/// The link of the test process still leads to its program.
#[test]
fn a_program_that_the_container_could_change_is_found() {
    let is_there = |found: &[String]| found.contains(&"/proc/self/exe".to_owned());
    assert!(is_there(&found(&Spec { rootfs: Some(Rootfs::Host), ..Spec::default() })));
    assert!(!is_there(&found(&Spec::default())));
    let user = Some(User { map: vec![Map::Auto], ..User::default() });
    assert!(is_there(&found(&Spec { rootfs: Some(Rootfs::Host), user, ..Spec::default() })));
}

/// The cgroup was not made, so its file is missing. The expected value is rounded down to pages, as the kernel
/// shows it.
#[test]
fn a_limit_that_is_missing_is_found() {
    let parent = CgroupParent {
        version: Version::V2,
        mount: "/no-such-mount".into(),
        base: "/no-such-mount".into(),
        controllers: vec![Controller::Memory],
        to_enable: Vec::new(),
        missing: Vec::new(),
        is_occupied: false,
        cpuset: None,
        is_apart: false,
        ceilings: vec![],
        devices: None,
    };
    let cgroups = Cgroups {
        name: "group".into(),
        versions: vec![(Controller::Memory, Version::V2)],
        parents: vec![parent],
        obstacles: Vec::new(),
    };
    let host = Host { privileged: true, cgroups: Some(cgroups), ..Host::gather() };
    let page = 4096;
    let memory = Memory { limit: Some(Size(9 * page + 1)), ..Memory::default() };
    let spec = Spec { memory: Some(memory), ..Spec::default() };
    let machine = Machine { host, network: NetworkFacts::default() };
    let plan = plan(&spec, machine);
    let differences = Expectations::of(&plan).unwrap().differences_outside(None);
    let [Difference { source, wanted, .. }] = &*differences else {
        panic!("one limit");
    };
    assert_eq!(source, "/no-such-mount/sandbox/group/memory.max");
    assert_eq!(*wanted, (9 * page).to_string());
}

/// The test process has no such address, and no such route.
#[test]
fn an_address_and_a_route_that_are_missing_are_found() {
    let bridge = Bridge {
        network: Some(Ipv4Addr::new(10, 111, 99, 0)),
        is_foreign: false,
        port: "sbx-0".into(),
        neighbours: false,
        permitted: true,
        as_root: false,
        closed: Vec::new(),
    };
    let machine = Machine {
        host: Host { privileged: true, ..Host::gather() },
        network: NetworkFacts { bridge: Some(bridge), ..NetworkFacts::default() },
    };
    let net = Net { mode: Mode::Bridge, ..Net::default() };
    let plan = plan(&Spec { net: Some(net), ..Spec::default() }, machine);
    let address = Some(Ipv4Addr::new(10, 111, 99, 2));
    let mut found = Expectations::of(&plan).unwrap().differences_inside(address, None);
    found.retain(|difference| difference.source.contains("/net/"));
    let [address, route] = &*found else { panic!("{found:?}") };
    assert_eq!(address.source, "/proc/self/net/fib_trie 10.111.99.2");
    assert_eq!(
        (route.source.as_str(), route.wanted.as_str()),
        ("/proc/self/net/route 0.0.0.0", "10.111.99.1")
    );
}

#[test]
fn a_descriptor_that_execve_would_keep_open_is_found() {
    let file = fs::File::open("/dev/null").unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let source = format!("/proc/self/fd/{fd}");
    assert!(!found(&Spec::default()).contains(&source));
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    assert!(found(&Spec::default()).contains(&source));
}

/// A value that cannot be read or is missing is a difference, whatever is expected.
#[test]
fn a_missing_or_unreadable_value_meets_no_expectation() {
    let machine = Machine { host: Host::gather(), network: NetworkFacts::default() };
    let plan = plan(&Spec::default(), machine);
    let mut expectations = Expectations::of(&plan).unwrap();
    let range = |inside, outside| IdRange { inside, outside, count: 1 };
    let map = vec![range(1, 70), range(0, 80)];
    expectations.expected.extend([
        Expected::Namespace { kind: Feature::Uts, origin: NamespaceOrigin::Other },
        Expected::IdMap { kind: IdKind::User, map: map.clone() },
        Expected::IdMap { kind: IdKind::Group, map: Vec::new() },
        Expected::Status { field: StatusField::Groups, value: String::new(), moment: Moment::Always },
        Expected::Hostname(String::new()),
    ]);
    for expected in expectations.iter() {
        for shown in [Shown::Absent, Shown::NoPath, Shown::Unreadable("EACCES".into())] {
            assert!(!expectations.is_met(expected, &shown), "{expected:?} by {shown:?}");
        }
    }
    let expected = Expected::IdMap { kind: IdKind::User, map };
    assert!(expectations.is_met(&expected, &Shown::IdMap(vec![range(0, 80), range(1, 70)])));
    assert!(!expectations.is_met(&expected, &Shown::IdMap(vec![range(0, 80)])));
}
