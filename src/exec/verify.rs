//! Verifies a container just before execve(2): compares what the kernel shows with what the plan asks for.
//!
//! The child reads its own /proc, the host reads the files of the cgroups. If a value differs, or cannot be read, the
//! command is not started.

mod running;
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
            Expected::CgroupFile { may_be_missing: true, .. } if *shown == Shown::Absent => true,
            Expected::CgroupFile { of_device: true, value, .. } => {
                matches!(shown, Shown::Text(text) if has_device(text, value))
            }
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
            Expected::Hostname(text) | Expected::Domainname(text) | Expected::Sysctl { value: text, .. } => {
                one_line(text)
            }
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
        // On cgroup v1 the child enters its cgroups first, and makes its cgroup namespace after that, perhaps later than
        // now. Then only the kind is known.
        let name = |(kind, name): (&Feature, String)| match self.outside(*kind) == Some(&*name) {
            true => format!("{kind}:"),
            false => name,
        };
        let new = plan.namespaces.iter().zip(process::namespaces_of(pid, &plan.namespaces)).map(name);
        let of = |&kind: &Feature| match plan.joined.iter().find(|joined| joined.kind == kind) {
            Some(joined) => Some(joined.namespace.clone()),
            None if plan.namespaces.contains(&kind) => None,
            None => self.outside(kind).map(str::to_owned),
        };
        new.chain(Feature::NAMESPACES.iter().filter_map(of)).collect()
    }
}

/// Whether a list of devices with their values has this value of a device: `8:0 1024`, or `8:0 rbps=1024` among the values of `8:0`.
fn has_device(list: &str, wanted: &str) -> bool {
    let Some((device, value)) = wanted.split_once(' ') else { return false };
    let of_device = list.split_whitespace().skip_while(|word| *word != device).skip(1);
    of_device.take_while(|word| !word.contains(':')).any(|word| word == value)
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

/// The error that ends a command just after execve(2): a table of the differences.
pub(super) fn refused_running(differences: &[Difference]) -> Error {
    table(&text("verify.running"), differences).why(text("verify.why")).todo(text("verify.todo"))
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
mod tests;
