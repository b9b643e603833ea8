//! From the spec to the config: adds what the kernel requires, and fills in what the spec leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::compose::{self, Ending};
use super::container::{
    Config, ConfigVersion, ContainerNamespaces, Environment, Namespace, Process, Resources,
};
use super::facts::Machine;
use super::inherited::Inherited;
use super::spec::Spec;
use super::{joins, paths};
use crate::cgroups::devices::{DeviceRules, Rule};
use crate::feature::{Feature, Purpose};
use crate::host::{Cgroups, Host, JoinedNamespace, Subordinate, Sysfs, command};
use crate::namespaces::mnt::Mnt;
use crate::namespaces::net::Net;
use crate::namespaces::user::User;
use crate::observe::hierarchy::Controller;
use crate::plan::call::mount::Propagation;
use crate::plan::{Addition, Draft, Frame, Plan};
use crate::rootfs::mount::{self, ContainerMount, Isolated};
use crate::rootfs::{self, RootFilesystem, Rootfs, dev, kernel};
use crate::security::capabilities::{Capabilities, CapabilitySets};
use crate::security::run_as::RunAs;
use crate::security::seccomp::{Seccomp, SeccompProfile};
use crate::value::join::JoinTarget;
use crate::value::mount::ExtraMount;

/// A spec that was completed for this machine and this caller.
#[derive(Debug, Clone)]
pub struct Completed {
    /// The container.
    pub config: Config,
    /// The facts for its plan.
    pub machine: Machine,
    /// What the plan says about the spec: what was added, notes and problems.
    draft: Draft,
}

impl Completed {
    /// Completes a spec. `purpose` is what the user asked for.
    pub fn of(spec: &Spec, purpose: impl Into<Purpose>) -> Completed {
        Completed::for_host(spec, purpose.into(), Host::gather())
    }

    /// As [`Completed::of`], but as if root had called `sandbox` in the caller's cgroup. Such a plan is only printed.
    pub fn as_root(spec: &Spec, purpose: impl Into<Purpose>) -> Completed {
        let host = Host { uid: 0, gid: 0, privileged: true, stands_in: true, ..Host::gather() };
        Completed::for_host(spec, purpose.into(), host)
    }

    fn for_host(spec: &Spec, purpose: Purpose, mut host: Host) -> Completed {
        if spec.user.as_ref().is_some_and(User::takes_ranges) {
            host.subordinate = Some(Subordinate::gather(host.uid, &mut host.unread));
        }
        if spec.rootfs.is_none() && spec.net.as_ref().is_some_and(|net| net.mount_sys) {
            host.sysfs = Some(Sysfs::gather(&mut host.unread));
        }
        joins::gather(spec.joins(), &mut host);
        if joins::others_pids(spec, &host) && host.privileged {
            let cgroups = Cgroups::gather(&[Controller::Pids], host.stands_in, &mut host.unread);
            host.can_group_pids = cgroups.obstacles.is_empty();
        }
        let (config, draft) = complete(spec, &host, purpose);
        // Without one of these keys the command has the caller's user, also in a user namespace that the kernel requires.
        let changes_user = spec.user.is_some() || spec.capabilities.is_some() || spec.run_as.is_some();
        let machine = Machine::gather(&config, host, changes_user);
        Completed { config, machine, draft }
    }

    /// Completes a spec with facts that are known.
    pub fn with(spec: &Spec, purpose: impl Into<Purpose>, machine: Machine) -> Completed {
        let (config, draft) = complete(spec, &machine.host, purpose.into());
        Completed { config, machine, draft }
    }

    /// The plan. With `view`, the child reports what it sees before the end.
    pub fn plan(&self, ending: Ending, view: bool) -> Plan {
        self.plan_within(Frame::default(), ending, view)
    }

    /// As [`Completed::plan`], with something else around the container.
    pub fn plan_within(&self, around: Frame, ending: Ending, view: bool) -> Plan {
        let mut draft = self.draft.clone();
        draft.frame(around);
        compose::plan(&self.config, &self.machine, draft, ending, view)
    }
}

/// The config of a spec, and a draft with what the plan says about the spec.
fn complete(spec: &Spec, host: &Host, purpose: Purpose) -> (Config, Draft) {
    let (full, added) = add(spec, host);
    let mut draft = Draft::new(purpose, added);
    spec.net.iter().for_each(|net| net.announce_host_mode(&mut draft));
    joins::check(spec, &full, host, &mut draft);
    paths::with_tilde(&full, &mut draft);
    let process = process(&full, host, purpose, &mut draft);
    // The files of /dev/shm are used together with System V shared memory.
    let shares_memory = joins::kept(spec, host).contains(&Feature::Ipc);
    let environment = environment(full, shares_memory, host, &mut draft);
    (Config { version: ConfigVersion, name: spec.name.clone(), environment, process }, draft)
}

/// Adds the features that the kernel requires for this spec and this caller. Returns them too, so that they can be
/// printed.
fn add(spec: &Spec, host: &Host) -> (Spec, Vec<Addition>) {
    let mut spec = spec.clone();
    let mut added = Vec::new();
    let mut add = |spec: &mut Spec, feature, reason| {
        if !spec.has(feature) {
            spec.add(feature);
            added.push(Addition { feature, reason });
        }
    };
    if spec.net.as_ref().is_some_and(Net::is_host) {
        spec.net = None;
    }
    let kept = joins::kept(&spec, host);
    for kind in &kept {
        spec.remove(kind.name());
    }
    if let Some(uts) = spec.uts.as_mut().filter(|uts| uts.join.is_none() && uts.hostname.is_none()) {
        uts.hostname = host.network_files.as_ref().and_then(|files| files.hostname.clone());
    }
    if spec.init && !kept.contains(&Feature::Pid) {
        add(&mut spec, Feature::Pid, "common.added.init");
        spec.pid.iter_mut().filter(|pid| pid.join.is_none()).for_each(|pid| pid.init = true);
    }
    if !host.privileged && needs_privilege(&spec) && !kept.contains(&Feature::User) {
        add(&mut spec, Feature::User, "common.added.notroot");
    }
    if spec.pid.as_ref().is_some_and(|pid| pid.mount_proc) {
        add(&mut spec, Feature::Mnt, "common.added.proc");
    }
    if spec.rootfs.is_some() {
        add(&mut spec, Feature::Mnt, "common.added.rootfs");
    }
    if host.can_group_pids && joins::others_pids(&spec, host) && !has_limits(&spec) {
        add(&mut spec, Feature::Pids, "common.added.orphans");
    }
    let wants_sys = spec.net.as_ref().is_some_and(|net| net.mount_sys)
        && joins::can_mount(Feature::Net, has_new_user(&spec), host);
    if wants_sys && can_mount_sys(spec.mnt.as_ref(), host) {
        add(&mut spec, Feature::Mnt, "common.added.sys");
    }
    (spec, added)
}

/// Whether a new /sys can be mounted for a new network namespace, in the root of the host. With another propagation, it
/// would be mounted on the host too.
pub(super) fn can_mount_sys(mnt: Option<&Mnt>, host: &Host) -> bool {
    let allows = |mnt: &Mnt| {
        mnt.root.is_none() && matches!(mnt.propagation, Propagation::Private | Propagation::Slave)
    };
    mnt.is_none_or(allows) && host.sysfs.as_ref().is_some_and(Sysfs::can_be_replaced)
}

/// Whether the spec needs a capability. A caller without it needs a new user namespace, in which the caller has all of
/// them.
pub(super) fn needs_privilege(spec: &Spec) -> bool {
    spec.features().into_iter().any(Feature::is_namespace)
        || spec.capabilities.is_some()
        || spec.run_as.is_some()
        || spec.rootfs.is_some()
        || (!matches!(spec.seccomp, None | Some(Seccomp::None)) && !spec.no_new_privileges)
}

/// Whether the container has a cgroup of its own.
fn has_limits(spec: &Spec) -> bool {
    let limits = [Feature::Memory, Feature::Cpu, Feature::Blkio, Feature::Devices, Feature::Pids];
    limits.into_iter().any(|limit| spec.has(limit))
}

fn has_new_user(spec: &Spec) -> bool {
    spec.user.as_ref().is_some_and(|user| user.join.is_none())
}

fn environment(spec: Spec, shares_memory: bool, host: &Host, draft: &mut Draft) -> Environment {
    let can_mount = |kind| joins::can_mount(kind, has_new_user(&spec), host);
    let (new_sys, new_mqueue) = (can_mount(Feature::Net), can_mount(Feature::Ipc));
    // In a new user namespace, root of the container is not the root of the host, and the files of the host are shown with other owners.
    // So the caller's right to read them would be the container's.
    let shows_host = host.privileged && has_new_user(&spec) && spec.rootfs == Some(Rootfs::Host);
    let files = device_files(&spec).into_iter().map(ContainerMount::from).collect();
    let Spec { rootfs, overlay, pid, mut mnt, net, uts, ipc, user, cgroup, time, .. } = spec;
    let Spec { memory, cpu, blkio, devices, pids, sysctls, .. } = spec;
    let root = rootfs
        .map(|rootfs| RootFilesystem::of(&rootfs, overlay, mnt.as_ref().is_some_and(|mnt| mnt.readonly)));
    let isolated = Isolated {
        proc: pid.as_ref().is_some_and(|pid| pid.mount_proc),
        net: net.is_some() && new_sys,
        ipc: ipc.is_some() && new_mqueue,
        shm: !shares_memory,
    };
    let mounts: [Vec<ContainerMount>; 3] = match &root {
        Some(_) => {
            let asked: Vec<ContainerMount> =
                mnt.iter().flat_map(Mnt::all).map(ContainerMount::from).collect();
            let mut usual = mount::defaults(isolated);
            // A filesystem in memory for POSIX shared memory is in place of the usual one.
            let is_shm = |mount: &ContainerMount| {
                mount.kind == "tmpfs" && mount.destination.as_os_str() == dev::SHARED_MEMORY
            };
            if asked.iter().any(is_shm) {
                usual.retain(|mount| !is_shm(mount));
            }
            // A new root has these mounts and this attribute itself.
            mnt = mnt.map(|mnt| Mnt { propagation: mnt.propagation, root: mnt.root, ..Mnt::default() });
            [usual, files, asked]
        }
        // `Mnt` makes the mounts of its flags itself.
        None => {
            let asked =
                mnt.iter_mut().flat_map(|mnt| mnt.mounts.drain(..)).map(ContainerMount::from).collect();
            [vec![], vec![], asked]
        }
    };
    let is_new = root.is_some();
    Environment {
        namespaces: ContainerNamespaces {
            pid: namespace(Feature::Pid, pid, |pid| pid.join.take(), host),
            mnt: namespace(Feature::Mnt, mnt, |mnt| mnt.join.take(), host),
            net: namespace(Feature::Net, net, |net| net.join.take(), host),
            uts: namespace(Feature::Uts, uts, |uts| uts.join.take(), host),
            ipc: namespace(Feature::Ipc, ipc, |ipc| ipc.join.take(), host),
            user: match user.as_ref().and_then(|user| user.join.clone()) {
                Some(join) => namespace(Feature::User, Some(joins::maps(host)), |_| Some(join.clone()), host),
                None => user.map(|user| user.complete(host, draft)).into(),
            },
            cgroup: namespace(Feature::Cgroup, cgroup, |cgroup| cgroup.join.take(), host),
            time: namespace(Feature::Time, time, |time| time.join.take(), host),
        },
        root,
        mounts: mounts.concat(),
        masked_paths: if is_new { kernel::masked_paths(shows_host) } else { Vec::new() },
        readonly_paths: if is_new { kernel::readonly_paths() } else { Vec::new() },
        devices: if is_new { dev::devices() } else { Vec::new() },
        hosts: Vec::new(),
        nameservers: Vec::new(),
        sysctls: sysctls.unwrap_or_default(),
        resources: Resources { memory, cpu, blkio, devices: devices.map(DeviceRules::from), pids },
    }
}

/// A namespace of the config. `join` takes what it joins out of its options.
fn namespace<T>(
    kind: Feature,
    options: Option<T>,
    join: impl Fn(&mut T) -> Option<JoinTarget>,
    host: &Host,
) -> Namespace<T> {
    let Some(mut options) = options else { return Namespace::Host };
    match join(&mut options) {
        None => Namespace::New(options),
        Some(target) => {
            let namespace = host.joined(kind).map(JoinedNamespace::name);
            Namespace::Join { target, namespace, options }
        }
    }
}

fn process(spec: &Spec, host: &Host, purpose: Purpose, draft: &mut Draft) -> Process {
    let is_root = spec.run_as.as_ref().is_none_or(RunAs::is_root);
    // A new root is entered at `/`.
    let start = spec.rootfs.as_ref().map(|_| PathBuf::from("/"));
    Process {
        args: spec.command.clone(),
        env: (purpose == Purpose::Container).then(|| variables(spec, host, is_root)),
        cwd: spec.workdir.clone().or(start),
        user: spec.run_as,
        additional_gids: Vec::new(),
        capabilities: spec.capabilities.as_ref().map(|all| CapabilitySets::of(all.keep(), is_root)),
        seccomp: seccomp(spec, draft),
        rlimits: spec.rlimits.clone().unwrap_or_default(),
        no_new_privileges: spec.no_new_privileges,
        terminal: spec.tty,
        console_size: None,
        timeout: spec.timeout,
        inherited: if purpose == Purpose::Container { Inherited::gather() } else { None },
    }
}

/// The profile of the seccomp filter, for the capabilities of the container and this kernel.
fn seccomp(spec: &Spec, draft: &mut Draft) -> Option<SeccompProfile> {
    let bounding = spec.capabilities.as_ref().map(Capabilities::keep);
    spec.seccomp.as_ref()?.profile(bounding).unwrap_or_else(|error| {
        draft.problem(Feature::Seccomp, error);
        None
    })
}

/// The environment of the command. From the caller's it has only TERM. HOME depends only on whether the user is root,
/// because users are not looked up in /etc/passwd.
fn variables(spec: &Spec, host: &Host, is_root: bool) -> Vec<OsString> {
    let hostname =
        spec.uts.as_ref().and_then(|uts| uts.hostname.clone()).unwrap_or_else(|| host.name.clone());
    let mut all = BTreeMap::from([
        ("PATH", command::PATH.into()),
        ("HOME", if is_root { "/root" } else { "/" }.into()),
        ("TERM", host.terminal.clone()),
        ("HOSTNAME", hostname),
    ]);
    all.extend(spec.env.iter().map(|(name, value)| (name.as_str(), value.into())));
    let entry = |(name, value): (&str, OsString)| {
        let mut entry = OsString::from(format!("{name}="));
        entry.push(value);
        entry
    };
    all.into_iter().map(entry).collect()
}

/// The device files that `devices` allows by their path, in a new root. Its /dev has only the usual ones, so each of
/// the others is bind-mounted: also a user who may not call mknod(2) gets it. The mount is read-only, which does not
/// restrict the device, but the mode of the host's file stays as it is.
pub fn device_files(spec: &Spec) -> Vec<ExtraMount> {
    let rules = spec.devices.iter().flat_map(|devices| &devices.allow);
    let rules = rules.filter(|rule| spec.rootfs.is_some() && rule.resolve().is_ok());
    let paths = rules.filter_map(Rule::place).filter(|path| !rootfs::dev::is_usual(path));
    let paths: BTreeSet<PathBuf> = paths.collect();
    let file = |path: PathBuf| ExtraMount::bind(path.clone(), path, true);
    paths.into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_needs_a_pid_namespace() {
        let host = Host::gather();
        let (spec, added) = add(&Spec { init: true, ..Spec::default() }, &host);
        assert!(spec.pid.is_some_and(|pid| pid.init && pid.mount_proc));
        assert!(added.iter().any(|one| one.feature == Feature::Pid && one.reason == "common.added.init"));
        let (spec, added) = add(&Spec { init: true, ..Spec::of(Feature::Pid) }, &host);
        assert!(spec.pid.is_some_and(|pid| pid.init));
        assert!(added.iter().all(|one| one.feature != Feature::Pid));
    }
}
