//! What the kernel must show when a plan has been performed. It is derived from the plan's own steps, so what is made
//! and what is verified cannot differ.

mod mounts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use caps::Capability;

use super::call::cgroup::CgroupCall;
use super::call::detached::Attributes;
use super::call::file::FileCall;
use super::call::gate::GateCall;
use super::call::mount::MountCall;
use super::call::net::NetCall;
use super::call::process::ProcessCall;
use super::call::restrict::{Resource, RestrictCall};
use super::call::user::{IdKind, IdRange, UserCall};
use super::call::uts::UtsCall;
use super::{Actor, Call, Plan, Setting, Step};
use crate::feature::Feature;
use crate::observe::file;
use crate::observe::hierarchy::Controller;

/// One thing that the kernel must show about the process that becomes the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// /proc/PID/ns: the namespace of this kind.
    Namespace {
        /// The kind.
        kind: Feature,
        /// Which one it must be.
        origin: NamespaceOrigin,
    },
    /// /proc/PID/ns: the namespace of a running container that is entered.
    EnteredNamespace {
        /// The kind.
        kind: Feature,
        /// Its name: `net:[4026532281]`.
        name: String,
    },
    /// A line of /proc/PID/cgroup. The host reads it: a process in a cgroup namespace sees other paths.
    InCgroup(String),
    /// The host name, as [`file::text`] shows it.
    Hostname(String),
    /// A kernel parameter of a new namespace.
    Sysctl {
        /// Its file.
        path: PathBuf,
        /// Its value, with one blank between two words.
        value: String,
    },
    /// The NIS domain name.
    Domainname(String),
    /// A field of /proc/PID/status.
    Status {
        /// The field.
        field: StatusField,
        /// Its value as the kernel prints it, with one space between two words.
        value: String,
        /// When it has this value.
        moment: Moment,
    },
    /// A line of /proc/PID/limits.
    ResourceLimit {
        /// The resource.
        resource: Resource,
        /// The soft limit, which the kernel enforces.
        soft: u64,
        /// The hard limit, up to which the process may raise the soft limit.
        hard: u64,
        /// Whether the limit is set after the process has verified itself.
        is_late: bool,
    },
    /// /proc/PID/uid_map or gid_map.
    IdMap {
        /// Which of the two.
        kind: IdKind,
        /// Its lines, in any order.
        map: Vec<IdRange>,
    },
    /// /proc/PID/net/fib_trie: the process has the address that was claimed when the plan ran.
    ClaimedAddress,
    /// /proc/PID/net/route: the default route.
    DefaultRoute {
        /// The gateway.
        gateway: Ipv4Addr,
    },
    /// /proc/PID/mountinfo: the topmost mount at a path.
    Mount {
        /// The mount point, in the container.
        at: PathBuf,
        /// The filesystem type, if it is known.
        filesystem: Option<String>,
        /// Attributes that it must have. It may have others too.
        attributes: Attributes,
        /// Whether the path may be missing: not every kernel has every file of /proc.
        may_be_missing: bool,
    },
    /// /proc/PID/cwd: the working directory.
    WorkingDirectory(PathBuf),
    /// A file of a cgroup. The host reads it: the command may not see any cgroup filesystem.
    CgroupFile {
        /// The cgroup's directory.
        directory: PathBuf,
        /// The controller to which the file belongs.
        controller: Controller,
        /// The file's name.
        file: String,
        /// The value that it must show.
        value: String,
        /// Whether the value is that of one device, and other devices may have theirs in the same file.
        of_device: bool,
        /// Whether the file may be missing: nothing on this machine enforces the value, and not every kernel has the file.
        may_be_missing: bool,
    },
}

/// Which namespace a process must be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceOrigin {
    /// The caller's.
    Host,
    /// One that was made, or that belongs to the process that is entered: not the caller's.
    Other,
    /// The one of this name, which was joined: `net:[4026532281]`.
    Joined(String),
}

/// When the kernel must show a value. The last restrictions follow after the process has verified itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the process verifies itself, and in the running process.
    Always,
    /// Only when the process verifies itself.
    BeforeExec,
    /// Only in the running process.
    Running,
}

/// The fields of /proc/PID/status with the IDs, the capabilities and the restrictions of a process. proc_pid_status(5)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Each is the field of that name.
pub enum StatusField {
    Uid,
    Gid,
    Groups,
    CapInh,
    CapPrm,
    CapEff,
    CapBnd,
    CapAmb,
    NoNewPrivs,
    Seccomp,
    Umask,
}

impl StatusField {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            StatusField::Uid => "Uid",
            StatusField::Gid => "Gid",
            StatusField::Groups => "Groups",
            StatusField::CapInh => "CapInh",
            StatusField::CapPrm => "CapPrm",
            StatusField::CapEff => "CapEff",
            StatusField::CapBnd => "CapBnd",
            StatusField::CapAmb => "CapAmb",
            StatusField::NoNewPrivs => "NoNewPrivs",
            StatusField::Seccomp => "Seccomp",
            StatusField::Umask => "Umask",
        }
    }
}

impl Expected {
    /// Whether the host reads it. The child reads everything else.
    pub fn is_read_by_host(&self) -> bool {
        matches!(self, Expected::CgroupFile { .. } | Expected::InCgroup(_))
    }

    /// Whether the child reads it before execve(2). A limit that is set after that is verified in the running process.
    pub fn is_read_by_child(&self) -> bool {
        let is_late = matches!(
            self,
            Expected::ResourceLimit { is_late: true, .. } | Expected::Status { moment: Moment::Running, .. }
        );
        !is_late && !self.is_read_by_host()
    }

    /// Whether a running container shows it.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Expected::Status { moment: Moment::BeforeExec, .. })
    }
}

/// Everything that the kernel must show after this plan.
pub fn of(plan: &Plan) -> Vec<Expected> {
    let mut all = namespaces(plan);
    let entered = plan.entered_namespaces.iter().cloned();
    all.extend(entered.map(|(kind, name)| Expected::EnteredNamespace { kind, name }));
    all.extend(plan.entered_cgroups.iter().cloned().map(Expected::InCgroup));
    // The relay is no part of the container, and an init has its own restrictions.
    let steps = plan.steps.iter().enumerate();
    for (_, step) in steps.filter(|(index, step)| step.actor != Actor::Relay && !plan.is_of_init(*index)) {
        all.extend(of_step(step));
        if let Call::Restrict(restriction) = &step.call {
            all.extend(of_restriction(restriction));
        }
    }
    all.extend(limits(plan));
    all.extend(mounts::of(plan));
    all.extend(ids(plan));
    all.extend(working_directory(plan));
    last_of_each_device(all)
}

/// Without the values of a device that a later value replaces. Two paths can be on the same disk.
fn last_of_each_device(mut all: Vec<Expected>) -> Vec<Expected> {
    let device = |expected: &Expected| match expected {
        Expected::CgroupFile { directory, file, value, of_device: true, .. } => {
            // `8:0 1024`, or `8:0 rbps=1024`
            let (name, _) = value.rsplit_once(['=', ' '])?;
            Some((directory.clone(), file.clone(), name.to_owned()))
        }
        _ => None,
    };
    let mut seen = BTreeSet::new();
    all.reverse();
    all.retain(|expected| device(expected).is_none_or(|name| seen.insert(name)));
    all.reverse();
    all
}

/// Each namespace is the one that the plan joins, or a new one. Otherwise it is the caller's.
fn namespaces(plan: &Plan) -> Vec<Expected> {
    let entered = plan.steps.iter().find_map(|step| match &step.call {
        Call::Process(ProcessCall::Join { pid: Some(_), namespaces }) => Some(namespaces),
        _ => None,
    });
    let origin = |kind: Feature| match plan.joined.iter().find(|joined| joined.kind == kind) {
        Some(joined) => NamespaceOrigin::Joined(joined.namespace.clone()),
        None if plan.namespaces.contains(&kind) => NamespaceOrigin::Other,
        None if entered.is_some_and(|entered| entered.contains(kind)) => NamespaceOrigin::Other,
        None => NamespaceOrigin::Host,
    };
    let namespace = |kind: Feature| Expected::Namespace { kind, origin: origin(kind) };
    Feature::NAMESPACES.iter().copied().map(namespace).collect()
}

fn of_step(step: &Step) -> Option<Expected> {
    Some(match &step.call {
        Call::Uts(UtsCall::SetHostname(name)) => Expected::Hostname(file::text(name.as_bytes().to_vec())),
        Call::Uts(UtsCall::SetDomainname(name)) => Expected::Domainname(file::text(name.as_bytes().to_vec())),
        Call::Process(ProcessCall::SetUmask(mask)) => status(StatusField::Umask, format!("{mask:04o}")),
        Call::File(FileCall::Write { path, content }) if path.starts_with("/proc/sys") => {
            Expected::Sysctl { path: path.clone(), value: content.clone() }
        }
        Call::User(UserCall::WriteIdMap { kind, map, .. } | UserCall::RunMapHelper { kind, map, .. }) => {
            Expected::IdMap { kind: *kind, map: map.clone() }
        }
        Call::Net(NetCall::AddAddress { address: None, .. }) if step.actor == Actor::Child => {
            Expected::ClaimedAddress
        }
        Call::Net(NetCall::AddDefaultRoute { gateway }) => Expected::DefaultRoute { gateway: *gateway },
        Call::Cgroup(CgroupCall::Set { directory, controller, setting }) => {
            cgroup_file(directory, *controller, setting, false)?
        }
        Call::Cgroup(CgroupCall::Offer { directory, controller, setting }) => {
            cgroup_file(directory, *controller, setting, true)?
        }
        _ => return None,
    })
}

/// What a file of a cgroup must show. None: the kernel shows the value in a form that is not known here, as for devices. The tests of
/// that feature compare it.
fn cgroup_file(
    directory: &Path,
    controller: Controller,
    setting: &Setting,
    may_be_missing: bool,
) -> Option<Expected> {
    let of_device = setting.shown.is_none();
    let value = match &setting.shown {
        Some(value) => value.clone(),
        None if controller == Controller::Io => setting.value.clone(),
        None => return None,
    };
    let (directory, file) = (directory.to_owned(), setting.file.clone());
    Some(Expected::CgroupFile { directory, controller, file, value, of_device, may_be_missing })
}

/// A capability set, as its status file shows it.
fn set(field: StatusField, keep: &[Capability]) -> Expected {
    let mask = keep.iter().fold(0_u64, |mask, capability| mask | capability.bitmask());
    status(field, format!("{mask:016x}"))
}

/// A set that execve(2) reduces further.
fn reduced(field: StatusField, keep: &[Capability], until_exec: &[Capability]) -> Vec<Expected> {
    if until_exec.is_empty() {
        return vec![set(field, keep)];
    }
    let before = set(field, &[keep, until_exec].concat());
    vec![at(Moment::BeforeExec, before), at(Moment::Running, set(field, keep))]
}

/// The restrictions of a process, as its status file and its limits file show them.
fn of_restriction(restriction: &RestrictCall) -> Vec<Expected> {
    match restriction {
        RestrictCall::Bound { keep, .. } => vec![set(StatusField::CapBnd, keep)],
        RestrictCall::Capabilities { keep, until_exec } => {
            let mut all = reduced(StatusField::CapPrm, keep, until_exec);
            all.extend(reduced(StatusField::CapEff, keep, until_exec));
            all.push(set(StatusField::CapInh, &[]));
            all
        }
        RestrictCall::CapabilitySets { effective, permitted, inheritable, until_exec } => {
            let mut all = reduced(StatusField::CapPrm, permitted, until_exec);
            all.extend(reduced(StatusField::CapEff, effective, until_exec));
            all.push(set(StatusField::CapInh, inheritable));
            all
        }
        RestrictCall::ClearAmbient => vec![set(StatusField::CapAmb, &[])],
        RestrictCall::RaiseAmbient { raise } => vec![set(StatusField::CapAmb, raise)],
        RestrictCall::NoNewPrivileges => vec![status(StatusField::NoNewPrivs, "1".into())],
        // The filter is installed just before execve(2), and nothing is read behind it.
        RestrictCall::Filter { .. } => vec![at(Moment::Running, status(StatusField::Seccomp, "2".into()))],
        RestrictCall::Limit { .. } => vec![],
    }
}

/// The resource limits at the end of the plan: those of the last step that sets each.
fn limits(plan: &Plan) -> Vec<Expected> {
    let mut limits = BTreeMap::new();
    let mut is_late = false;
    for step in plan.steps.iter().filter(|step| step.actor != Actor::Relay) {
        is_late |= matches!(step.call, Call::Gate(GateCall::Verify)) && step.actor != Actor::Host;
        if let Call::Restrict(RestrictCall::Limit { resource, soft, hard }) = step.call {
            limits.insert(resource, Expected::ResourceLimit { resource, soft, hard, is_late });
        }
    }
    limits.into_values().collect()
}

/// The user and the groups at the end of the plan: those of the last step that changes them.
fn ids(plan: &Plan) -> Vec<Expected> {
    let all_four = |field, id: u32| status(field, [id; 4].map(|id| id.to_string()).join(" "));
    let last = |of: fn(&Call) -> Option<u32>| plan.steps.iter().rev().find_map(|step| of(&step.call));
    let user = last(|call| if let Call::Process(ProcessCall::SetUser(id)) = call { Some(*id) } else { None });
    let group =
        last(|call| if let Call::Process(ProcessCall::SetGroup(id)) = call { Some(*id) } else { None });
    let groups = plan.steps.iter().rev().find_map(|step| match &step.call {
        Call::Process(ProcessCall::SetGroups(groups)) => {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            Some(status(StatusField::Groups, groups.join(" ")))
        }
        _ => None,
    });
    let ids = [(StatusField::Uid, user), (StatusField::Gid, group)];
    let ids = ids.into_iter().filter_map(|(field, id)| id.map(|id| all_four(field, id)));
    ids.chain(groups).collect()
}

/// The last directory that is entered by an absolute path. If there is a new root, the path is one in it.
fn working_directory(plan: &Plan) -> Option<Expected> {
    plan.steps.iter().rev().find_map(|step| match &step.call {
        Call::Mount(MountCall::Chdir { path } | MountCall::ChdirInside { path }) if path.is_absolute() => {
            Some(Expected::WorkingDirectory(path.clone()))
        }
        _ => None,
    })
}

fn status(field: StatusField, value: String) -> Expected {
    Expected::Status { field, value, moment: Moment::Always }
}

/// The same value, at this moment only.
fn at(moment: Moment, expected: Expected) -> Expected {
    match expected {
        Expected::Status { field, value, .. } => Expected::Status { field, value, moment },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rate_of_a_device_counts() {
        let of = |file: &str, value: &str| Expected::CgroupFile {
            directory: "/lab".into(),
            controller: Controller::Io,
            file: file.to_owned(),
            value: value.to_owned(),
            of_device: true,
            may_be_missing: false,
        };
        let others = [of("io.max", "8:0 wbps=1"), of("io.max", "8:16 rbps=1"), of("read", "8:0 1")];
        let mut all = vec![of("io.max", "8:0 rbps=1"), of("read", "8:0 7")];
        all.extend(others.clone());
        all.push(of("io.max", "8:0 rbps=2"));
        assert_eq!(last_of_each_device(all), [&others[..], &[of("io.max", "8:0 rbps=2")]].concat());
    }
}
