//! Verifies a container just before execve(2): compares what the kernel shows with what the plan asks for.
//!
//! The child reads its own /proc, the host reads the files of the cgroups. If a value differs, or cannot be read, the
//! command is not started.

mod shown;

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::{fs, io, slice};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Pid, access};

pub use self::shown::{ProcessFiles, Shown};
use self::shown::{one_line, ranges_text};
use super::process;
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::plan::call::process::ProcessCall;
use crate::plan::expect::{self, Expected, NamespaceOrigin};
use crate::plan::gate::Difference;
use crate::plan::{Call, Plan};
use crate::text::{text, text_with};

/// What the kernel must show of a plan's process. This is made before the clone, so that host and child use the same
/// values.
#[derive(Debug, Default)]
pub struct Expectations {
    expected: Vec<Expected>,
    /// The caller's namespaces, as the links in /proc/self/ns name them.
    outside: Vec<(Feature, String)>,
    /// How the file of this program is protected from the container.
    program: Option<ProgramLink>,
}

impl Expectations {
    /// The expectations of a plan that the caller performs.
    ///
    /// # Errors
    /// A link to one of the caller's namespaces cannot be read.
    pub fn of(plan: &Plan) -> Result<Expectations> {
        Ok(Expectations { expected: expect::of(plan), outside: outside()?, program: ProgramLink::of(plan) })
    }

    /// All expected values, except those of the program and the descriptors.
    pub fn iter(&self) -> slice::Iter<'_, Expected> {
        self.expected.iter()
    }

    /// The differences in the files that the host reads. `child` is the process that becomes the command.
    pub(super) fn differences_outside(&self, child: Option<Pid>) -> Vec<Difference> {
        let process = child.map_or_else(|| "/proc/self".to_owned(), |child| format!("/proc/{child}"));
        self.differences(&mut ProcessFiles::of(&process), None, Expected::is_read_by_host)
    }

    /// The differences in the files that the process itself reads. `address` is the address that was claimed for it. In a
    /// container that it has joined, it reads `host_proc`, the /proc of the host.
    pub(super) fn differences_inside(
        &self,
        address: Option<Ipv4Addr>,
        host_proc: Option<OwnedFd>,
    ) -> Vec<Difference> {
        let mut files = match host_proc {
            Some(proc) => ProcessFiles::of_self(proc),
            None => ProcessFiles::of("/proc/self"),
        };
        let mut found = self.differences(&mut files, address, Expected::is_read_by_child);
        found.extend(open_descriptors(files.file("status")));
        found.extend(self.program.and_then(|program| program.difference(&files)));
        found
    }

    fn differences(
        &self,
        files: &mut ProcessFiles,
        address: Option<Ipv4Addr>,
        is_read: impl Fn(&Expected) -> bool,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        for expected in self.expected.iter().filter(|expected| is_read(expected)) {
            let shown = files.look(expected, address);
            if !self.is_met(expected, &shown) {
                found.push(self.difference(expected, files.place(expected, address), &shown));
            }
        }
        found
    }

    /// Whether the kernel shows the expected value. A value that cannot be read is not met.
    pub fn is_met(&self, expected: &Expected, shown: &Shown) -> bool {
        let shows = |wanted: &str| matches!(shown, Shown::Text(text) if text == wanted);
        match expected {
            Expected::Namespace { kind, origin } => match (origin, shown, self.outside(*kind)) {
                (NamespaceOrigin::Host, Shown::Text(link), Some(outside)) => link == outside,
                (NamespaceOrigin::Other, Shown::Text(link), Some(outside)) => link != outside,
                (NamespaceOrigin::Joined(name), Shown::Text(link), _) => link == name,
                // A kernel without this kind of namespace has no link on either side.
                (NamespaceOrigin::Host, Shown::Absent, None) => true,
                _ => false,
            },
            Expected::IdMap { map, .. } => {
                let mut map = map.clone();
                map.sort_unstable();
                matches!(shown, Shown::IdMap(shown) if *shown == map)
            }
            Expected::Mount { filesystem, attributes, may_be_missing, .. } => match shown {
                Shown::Mount { filesystem: mounted, options } => {
                    let has = |option: &&str| options.split(',').any(|known| known == *option);
                    filesystem.as_ref().is_none_or(|filesystem| filesystem == mounted)
                        && attributes.options().iter().all(has)
                }
                Shown::NoPath => *may_be_missing,
                _ => false,
            },
            expected => shows(&self.wanted(expected)),
        }
    }

    /// The difference between `expected`, which is read at `place`, and what is shown there.
    pub fn difference(&self, expected: &Expected, place: String, shown: &Shown) -> Difference {
        Difference { source: place, wanted: self.wanted(expected), shown: shown.to_string() }
    }

    /// An expected value as text.
    fn wanted(&self, expected: &Expected) -> String {
        match expected {
            Expected::Namespace { kind, origin } => {
                let outside = self.outside(*kind).unwrap_or("?");
                match origin {
                    NamespaceOrigin::Host => outside.to_owned(),
                    NamespaceOrigin::Other => text_with("verify.new", &[("outside", outside)]),
                    NamespaceOrigin::Joined(name) => name.clone(),
                }
            }
            Expected::EnteredNamespace { name, .. } => name.clone(),
            Expected::InCgroup(line) => line.clone(),
            Expected::Hostname(name) | Expected::Domainname(name) => one_line(name),
            Expected::Status { value, .. } | Expected::CgroupFile { value, .. } => value.clone(),
            Expected::ResourceLimit { soft, hard, .. } => format!("{} {}", bound(*soft), bound(*hard)),
            Expected::IdMap { map, .. } => ranges_text(map),
            Expected::ClaimedAddress => "/32 host LOCAL".into(),
            Expected::DefaultRoute { gateway } => gateway.to_string(),
            Expected::Mount { filesystem, attributes, .. } => {
                let filesystem = filesystem.as_deref().unwrap_or("*");
                format!("{filesystem} {}", attributes.options().join(","))
            }
            Expected::WorkingDirectory(path) => file::path_text(path),
        }
    }

    /// The caller's namespace of a kind; none if the kernel has no such kind.
    fn outside(&self, kind: Feature) -> Option<&str> {
        self.outside.iter().find(|(known, _)| *known == kind).map(|(_, link)| link.as_str())
    }
}

impl Expectations {
    /// The names of the namespaces in which the plan has put a process. One that the caller may not read is missing.
    pub(super) fn namespaces_of(&self, plan: &Plan, pid: i32) -> Vec<String> {
        let new = process::namespaces_of(pid, &plan.namespaces);
        let of = |&kind: &Feature| match plan.joined.iter().find(|joined| joined.kind == kind) {
            Some(joined) => Some(joined.namespace.clone()),
            None if plan.namespaces.contains(&kind) => None,
            None => self.outside(kind).map(str::to_owned),
        };
        new.into_iter().chain(Feature::NAMESPACES.iter().filter_map(of)).collect()
    }
}

/// The caller's namespaces.
fn outside() -> Result<Vec<(Feature, String)>> {
    let files = ProcessFiles::of("/proc/self");
    let mut links = Vec::new();
    for &kind in Feature::NAMESPACES {
        match files.link(&format!("ns/{kind}")) {
            Ok(link) => links.push((kind, link)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::failed(format!("cannot read /proc/self/ns/{kind}"))
                    .why(crate::error::io_text(&error)));
            }
        }
    }
    Ok(links)
}

/// A resource limit as /proc/PID/limits prints it.
fn bound(limit: u64) -> String {
    if limit == libc::RLIM_INFINITY { "unlimited".into() } else { limit.to_string() }
}

/// Why the container cannot change the file of this program through /proc/self/exe, before execve(2). CVE-2019-5736
#[derive(Debug, Clone, Copy)]
enum ProgramLink {
    /// The link leads to an empty file in memory.
    Left,
    /// The link leads to a sealed copy of the program in memory.
    Sealed,
    /// The link leads to a file whose owner has no ID in the container.
    Unowned,
}

impl ProgramLink {
    /// The protection in a plan; none if the process keeps the mount namespace of the host.
    fn of(plan: &Plan) -> Option<ProgramLink> {
        let has = |wanted: fn(&ProcessCall) -> bool| {
            plan.steps.iter().any(|step| matches!(&step.call, Call::Process(call) if wanted(call)))
        };
        if has(|call| matches!(call, ProcessCall::LeaveProgram { .. })) {
            Some(ProgramLink::Left)
        } else if has(|call| matches!(call, ProcessCall::ExecuteCopy)) {
            Some(ProgramLink::Sealed)
        } else {
            plan.namespaces.contains(&Feature::Mnt).then_some(ProgramLink::Unowned)
        }
    }

    fn difference(self, files: &ProcessFiles) -> Option<Difference> {
        let source = "/proc/self/exe".to_owned();
        let unread = |why: &str| text_with("verify.unread", &[("why", why)]);
        let link = files.link("exe").unwrap_or_else(|error| unread(&crate::error::io_text(&error)));
        let (wanted, is_so) = match self {
            ProgramLink::Left => ("verify.left", Ok(link == "/memfd:sandbox (deleted)")),
            ProgramLink::Sealed => ("verify.sealed", files.is_program_sealed()),
            ProgramLink::Unowned => ("verify.unowned", is_out_of_reach(&source)),
        };
        let shown = match is_so {
            Ok(true) => return None,
            Ok(false) => link,
            Err(error) => unread(&crate::error::io_text(&error)),
        };
        Some(Difference { source, wanted: text(wanted), shown })
    }
}

/// Whether a file's owner has no ID here, and this process may not write to the file.
fn is_out_of_reach(path: &str) -> io::Result<bool> {
    let owner = fs::metadata(path)?.uid().to_string();
    // The ID that the kernel shows for an owner without one. proc_sys_kernel(5)
    let nobody = file::read_text("/proc/sys/kernel/overflowuid")?;
    match access(path, AccessFlags::W_OK) {
        Ok(()) => Ok(false),
        Err(Errno::EACCES | Errno::EROFS) => Ok(owner == nobody.trim()),
        Err(errno) => Err(errno.into()),
    }
}

/// The descriptors from 3 on that execve(2) would keep open. FDSize is the number of slots for descriptors.
/// proc_pid_status(5)
fn open_descriptors(status: std::result::Result<&str, &Shown>) -> Vec<Difference> {
    let difference = |fd: &str, shown| Difference {
        source: format!("/proc/self/fd/{fd}"),
        wanted: text("verify.closed"),
        shown,
    };
    let size: i32 = match status.map(|status| status_of(status, "FDSize").unwrap_or_default().parse()) {
        Ok(Ok(size)) => size,
        Ok(Err(error)) => {
            return vec![difference("*", text_with("verify.unread", &[("why", &error.to_string())]))];
        }
        Err(shown) => return vec![difference("*", shown.to_string())],
    };
    let kept = (3..size).filter(|fd| crate::sys::is_kept_by_exec(*fd));
    kept.map(|fd| difference(&fd.to_string(), text("verify.kept"))).collect()
}

/// The error that stops the start: a table of the differences.
pub(super) fn refused(differences: &[Difference]) -> Error {
    table(&text("verify.what"), differences).why(text("verify.why")).todo(text("verify.todo"))
}

/// An error that lists differences.
pub fn table(what: &str, differences: &[Difference]) -> Error {
    let mut error = Error::failed(what);
    for Difference { source, wanted, shown } in differences {
        error = error.why(format!(" {source}\n   wanted  {wanted}\n   shown   {shown}"));
    }
    error
}

#[cfg(test)]
mod tests {
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
    use crate::plan::expect::StatusField;
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
        let is_link =
            |source: &String| source.starts_with("/proc/self/ns/") || source.contains("/sys/kernel/");
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
            base: "/no-such-mount".into(),
            controllers: vec![Controller::Memory],
            to_enable: Vec::new(),
            missing: Vec::new(),
            is_occupied: false,
            cpuset: None,
            ceilings: vec![],
            devices: vec![],
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
            permitted: true,
            as_root: false,
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
            Expected::Status { field: StatusField::Groups, value: String::new() },
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
}
