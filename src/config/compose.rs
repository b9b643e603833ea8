//! Makes a plan from a spec. It adds what the kernel requires, then each feature adds its steps, then the steps that
//! every plan has.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::paths;
use super::spec::Spec;
use crate::cgroups;
use crate::cgroups::devices::Rule;
use crate::feature::{Feature, Purpose, features};
use crate::host::resolver::Resolver;
use crate::host::{
    self, Cgroups, Disk, Files, Groups, Host, Nameservers, StandardPipe, Subordinate, Sysfs, command, disk,
};
use crate::namespaces::mnt::Mnt;
use crate::namespaces::net::Mode;
use crate::namespaces::user::User;
use crate::network::{self, NetworkFacts};
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::call::process::ProcessCall;
use crate::plan::call::terminal::TerminalCall;
use crate::plan::order::Phase;
use crate::plan::{
    Actor, Addition, Context, Draft, Frame, Hold, Plan, Streams, plan_pipes, plan_streams, plan_terminal,
};
use crate::rootfs::{self, RootRequest, Rootfs};
use crate::security::capabilities::Capabilities;
use crate::security::run_as::{RunAs, plan_groups};
use crate::security::{self, seccomp::Seccomp};
use crate::value::mount::ExtraMount;

/// The end of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A program: its resolved file and its arguments.
    Command {
        /// The file.
        path: PathBuf,
        /// The arguments. The first one is the name.
        arguments: Vec<OsString>,
    },
    /// A process of `sandbox` that performs the calls of a demonstration.
    Demonstration,
}

/// The facts about this machine that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The machine and the caller.
    pub host: Host,
    /// The facts for a connection of the network.
    pub network: NetworkFacts,
}

/// Gathers the facts that the plan of a spec needs.
pub fn gather(spec: &Spec) -> Machine {
    gather_for(spec, Host::gather())
}

/// As [`gather`], but as if root had called `sandbox` in the caller's cgroup. Such a plan is only printed.
pub fn gather_as_root(spec: &Spec) -> Machine {
    gather_for(spec, Host { uid: 0, gid: 0, privileged: true, stands_in: true, ..Host::gather() })
}

fn gather_for(spec: &Spec, mut host: Host) -> Machine {
    if spec.user.as_ref().is_some_and(User::takes_ranges) {
        host.subordinate = Some(Subordinate::gather(host.uid, &mut host.unread));
    }
    if let Some(rootfs) = &spec.rootfs {
        let is_user = spec.user.is_some() || !host.privileged;
        host.files = Some(Files::gather(*rootfs == Rootfs::Host, is_user, &mut host.unread));
    }
    if spec.rootfs.is_none() && spec.net.as_ref().is_some_and(|net| net.mount_sys) {
        host.sysfs = Some(Sysfs::gather(&mut host.unread));
    }
    if spec.rootfs.is_some() || spec.net.as_ref().is_some_and(|net| net.mode == Mode::Bridge) {
        host.nameservers = Some(Nameservers::gather());
    }
    if spec.user.is_some() || spec.capabilities.is_some() || spec.run_as.is_some() {
        host.groups = Groups::gather();
        host.pipes = StandardPipe::gather();
    }
    if spec.capabilities.is_some() {
        host.last_capability = host::last_capability();
    }
    gather_cgroups(spec, &mut host);
    Machine {
        network: spec
            .net
            .as_ref()
            .map(|net| NetworkFacts::gather(net.request(), host.stands_in))
            .unwrap_or_default(),
        host,
    }
}

/// Gathers where the cgroups of a spec can be made. Each call chooses a new name for them.
pub fn gather_cgroups(spec: &Spec, host: &mut Host) {
    let controllers = spec.controllers();
    host.cgroups = None;
    if controllers.is_empty() {
        return;
    }
    let cgroups = Cgroups::gather(&controllers, host.stands_in, &mut host.unread);
    if spec.cpu.as_ref().is_some_and(|cpu| cpu.cpuset.is_some()) {
        let online = host.unread.text("/sys/devices/system/cpu/online").trim().to_owned();
        host.online_cpus = Some(online).filter(|online| !online.is_empty());
    }
    if let Some(blkio) = &spec.blkio {
        host.disks =
            blkio.devices().into_iter().map(|device| (device.to_owned(), Disk::find(device))).collect();
        if blkio.weight.is_some() {
            host.weighers = disk::weighted(cgroups.version(Controller::Io) == Some(Version::V2));
        }
    }
    host.cgroups = Some(cgroups);
}

/// Adds the features that the kernel requires for this spec and this caller. Returns them too, so that they can be
/// printed.
pub fn complete(spec: &Spec, host: &Host) -> (Spec, Vec<Addition>) {
    let mut spec = spec.clone();
    let mut added = Vec::new();
    let mut add = |spec: &mut Spec, feature, reason| {
        if !spec.has(feature) {
            spec.add(feature);
            added.push(Addition { feature, reason });
        }
    };
    if spec.net.as_ref().is_some_and(|net| net.mode == Mode::Host) {
        spec.net = None;
    }
    if spec.init {
        add(&mut spec, Feature::Pid, "common.added.init");
        spec.pid.iter_mut().for_each(|pid| pid.init = true);
    }
    if !host.privileged && needs_privilege(&spec) {
        add(&mut spec, Feature::User, "common.added.notroot");
    }
    if spec.pid.as_ref().is_some_and(|pid| pid.mount_proc) {
        add(&mut spec, Feature::Mnt, "common.added.proc");
    }
    if spec.rootfs.is_some() {
        add(&mut spec, Feature::Mnt, "common.added.rootfs");
    }
    if mounts_sys(&spec, host) {
        add(&mut spec, Feature::Mnt, "common.added.sys");
    }
    (spec, added)
}

/// Whether a new /sys is mounted for a new network namespace, in the root of the host. With another propagation, it would
/// be mounted on the host too.
fn mounts_sys(spec: &Spec, host: &Host) -> bool {
    let allows = |mnt: &Mnt| {
        mnt.root.is_none() && matches!(mnt.propagation, Propagation::Private | Propagation::Slave)
    };
    spec.net.as_ref().is_some_and(|net| net.mount_sys)
        && spec.mnt.as_ref().is_none_or(allows)
        && host.sysfs.as_ref().is_some_and(Sysfs::can_be_replaced)
}

/// Whether the spec needs a capability. A caller without it needs a new user namespace, in which the caller has all of
/// them.
fn needs_privilege(spec: &Spec) -> bool {
    spec.features().into_iter().any(Feature::is_namespace)
        || spec.capabilities.is_some()
        || spec.run_as.is_some()
        || spec.rootfs.is_some()
        || (spec.seccomp == Some(Seccomp::Default) && !spec.no_new_privileges)
}

/// What paths in the container resolve to. COMMAND is searched by it before anything is made.
pub fn resolver(spec: &Spec) -> Resolver {
    match (&spec.rootfs, &spec.mnt) {
        (Some(rootfs), mnt) => rootfs::resolver(rootfs, &mnt.as_ref().map(Mnt::all).unwrap_or_default()),
        (None, Some(mnt)) => mnt.resolver(),
        (None, None) => Resolver::default(),
    }
}

/// The plan of a spec. It changes nothing on the machine, and reads only the paths that the spec names.
///
/// `purpose` is what the user asked for. With `view`, the child reports what it sees before the end.
pub fn plan(spec: &Spec, machine: &Machine, purpose: impl Into<Purpose>, ending: Ending, view: bool) -> Plan {
    plan_within(Frame::default(), spec, machine, purpose, ending, view)
}

/// As [`plan`], with something else around the container.
pub fn plan_within(
    around: Frame,
    spec: &Spec,
    machine: &Machine,
    purpose: impl Into<Purpose>,
    ending: Ending,
    view: bool,
) -> Plan {
    let host = &machine.host;
    let purpose = purpose.into();
    let requested = spec;
    let (spec, added) = complete(spec, host);
    let mut draft = Draft::new(purpose, added);
    requested.net.iter().for_each(|net| net.announce_host_mode(&mut draft));
    // A whole container is verified before it starts. For a single feature, its view shows whether it works.
    let is_whole = purpose == Purpose::Container;
    if is_whole {
        protect_program(&spec, host, &mut draft);
    }
    let has_command = matches!(ending, Ending::Command { .. });
    let streams = if spec.tty { Streams::Terminal } else { around.streams };
    draft.frame(Frame { streams, ..around.clone() });
    frame(&mut draft, &around.hold, ending, view, is_whole, is_whole.then(|| environment(&spec, host)));
    draft.name(spec.name.clone());
    draft.tree(resolver(&spec));
    draft.timeout(spec.timeout.map(|timeout| u64::from(timeout.0)));
    for error in host.unread.errors() {
        draft.problem(purpose, error.clone());
    }
    paths::check(&spec, &resolver(&spec), &mut draft);
    if let Some(directory) = &spec.workdir {
        // Without symbolic links, as /proc/PID/cwd shows it. Verify compares the two.
        let directory = resolver(&spec).resolve(directory).container;
        let call = MountCall::Chdir { path: directory };
        draft.step(Phase::WorkingDirectory, Actor::Command, Feature::Mnt, call, "run.directory.why");
    }
    let features = spec.features();
    let context = Context {
        host,
        features: &features,
        has_rootfs: spec.rootfs.is_some(),
        keeps: spec.capabilities.as_ref().unwrap_or(&Capabilities::Default).keep(),
        mounts_sys: mounts_sys(&spec, host),
        is_root: spec.run_as.as_ref().is_none_or(RunAs::is_root),
        no_new_privileges: spec.no_new_privileges,
    };
    plan_features(&spec, &context, &mut draft);
    rootfs::plan(&root_request(&spec), host, &mut draft);
    if let Some(net) = &spec.net {
        network::plan(net.request(), &machine.network, &mut draft);
        if let Some(nameservers) = host.nameservers.as_ref().filter(|_| spec.rootfs.is_none()) {
            network::plan_nameservers(nameservers, &mut draft);
        }
    }
    cgroups::plan(host, &mut draft);
    let owner = spec.run_as.map(|run_as| run_as.uid);
    match streams {
        Streams::Terminal => {
            let inside = draft.mounts("devpts");
            plan_terminal(&mut draft, inside, owner_of_terminal(&spec, host, inside), TerminalCall::Stdio);
        }
        Streams::Pipes => plan_pipes(&mut draft, owner),
        Streams::Inherited => {
            if let Some(user) = user_outside(&spec, host).filter(|_| has_command) {
                plan_streams(&mut draft, host, user, owner);
            }
        }
    }
    let ids = spec.user.as_ref().map(|user| user.ids(host));
    if let Some(run_as) = &spec.run_as {
        run_as.plan(host, ids.as_ref(), &mut draft);
    } else if spec.capabilities.is_some() {
        plan_groups(host, ids.as_ref(), &mut draft);
    }
    if spec.no_new_privileges {
        security::plan_no_new_privileges(&mut draft);
    }
    draft.finish()
}

macro_rules! plan_features {
    ($($kind:ident { $($about:literal, $feature:ident, $name:ident, $directory:ident, $page:literal, $also:tt;)* })*) => {
        /// Each feature of the spec adds its steps.
        fn plan_features(spec: &Spec, context: &Context<'_>, draft: &mut Draft) {
            $($(
                if let Some(options) = &spec.$name {
                    options.plan(context, draft);
                }
            )*)*
        }
    };
}
features!(plan_features);

/// The device files that `devices` allows by their path, in a new root. Its /dev has only the usual ones, so each of
/// the others is bind-mounted: also a user who may not call mknod(2) gets it. The mount is read-only, which does not
/// restrict the device, but the mode of the host's file stays as it is.
pub fn device_files(spec: &Spec) -> Vec<ExtraMount> {
    let rules = spec.devices.iter().flat_map(|devices| &devices.allow);
    let paths =
        rules.filter(|rule| spec.rootfs.is_some() && rule.resolve().is_ok()).filter_map(|rule| match rule {
            Rule::Path(path, _) if !rootfs::dev::is_usual(path) => Some(path.clone()),
            _ => None,
        });
    let paths: BTreeSet<PathBuf> = paths.collect();
    let file = |path: PathBuf| ExtraMount::Bind { source: path.clone(), target: path, readonly: true };
    paths.into_iter().map(file).collect()
}

/// What the root filesystem depends on in the spec.
fn root_request(spec: &Spec) -> RootRequest<'_> {
    let mnt = spec.mnt.as_ref();
    RootRequest {
        rootfs: spec.rootfs.as_ref(),
        overlay: spec.overlay,
        readonly: mnt.is_some_and(|mnt| mnt.readonly),
        // Without a new root filesystem, `Mnt::plan` makes the mounts of the flags itself.
        mounts: device_files(spec)
            .into_iter()
            .chain(
                mnt.map(|mnt| if spec.rootfs.is_some() { mnt.all() } else { mnt.mounts.clone() })
                    .unwrap_or_default(),
            )
            .collect(),
        resolver: mnt.map(Mnt::resolver).unwrap_or_default(),
        propagation: mnt.map(|mnt| mnt.propagation).unwrap_or_default(),
        has_other_root: mnt.is_some_and(|mnt| mnt.root.is_some()),
        new_user: spec.user.is_some(),
        maps_ranges: spec.user.as_ref().is_some_and(User::takes_ranges),
        new_net: spec.net.is_some(),
        leads_out: spec.net.as_ref().is_some_and(|net| net.mode == Mode::Bridge),
        new_ipc: spec.ipc.is_some(),
        new_proc: spec.pid.as_ref().is_some_and(|pid| pid.mount_proc),
        hostname: spec.uts.as_ref().and_then(|uts| uts.hostname.as_deref()),
    }
}

/// Prevents that the container changes the program file of `sandbox` by /proc/PID/exe.
fn protect_program(spec: &Spec, host: &Host, draft: &mut Draft) {
    if !host.program.can_be_left {
        return draft.common(Phase::Program, Actor::Host, ProcessCall::ExecuteCopy, "run.copy.why");
    }
    let writer = host.program.writer;
    let is_kept_out =
        spec.user.as_ref().zip(writer).is_some_and(|(user, writer)| user.excludes(writer, host));
    // Without a new mount namespace it would not help: the container can open the file by its path.
    if spec.mnt.is_some() && !is_kept_out {
        let leave = ProcessCall::LeaveProgram { copied: false };
        draft.common(Phase::ParentDeathSignal, Actor::Child, leave, "run.own.why");
    }
}

/// The owner of the terminal, if there is a `run_as`. A terminal that is made outside needs the owner's ID outside, and
/// only root may change its owner.
fn owner_of_terminal(spec: &Spec, host: &Host, inside: bool) -> Option<u32> {
    let user = spec.run_as?.uid;
    match &spec.user {
        _ if inside => Some(user),
        _ if !host.privileged => None,
        None => Some(user),
        Some(map) => map.ids(host).users.into_iter().find_map(|range| range.outside_of(user)),
    }
}

/// The command's user ID on the host, if the spec changes it.
fn user_outside(spec: &Spec, host: &Host) -> Option<u32> {
    let Some(map) = &spec.user else { return spec.run_as.map(|run_as| run_as.uid) };
    let users = map.ids(host).users;
    // Without `run_as` the command is root inside, or the one user that is mapped.
    let first = users.first()?.inside;
    let root_or_first = if users.iter().any(|range| range.has(0)) { 0 } else { first };
    let inside = spec.run_as.map_or(root_or_first, |run_as| run_as.uid);
    users.iter().find_map(|range| range.outside_of(inside))
}

/// The environment of the command. From the caller's it has only TERM. HOME depends only on whether the user is root,
/// because users are not looked up in /etc/passwd.
fn environment(spec: &Spec, host: &Host) -> Vec<OsString> {
    let is_root = spec.run_as.as_ref().is_none_or(RunAs::is_root);
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

/// The steps that every plan has: the gate, the parent-death signal, and the end.
pub(super) fn frame(
    draft: &mut Draft,
    hold: &Hold,
    ending: Ending,
    view: bool,
    is_verified: bool,
    environment: Option<Vec<OsString>>,
) {
    draft.common(Phase::Prepare, Actor::Host, GateCall::Open, "common.gate.why");
    draft.die_with_parent(Phase::ParentDeathSignal, Actor::Child, draft.purpose(), "common.pdeathsig.why");
    if view {
        draft.common(Phase::View, Actor::Command, GateCall::Report, "common.report.why");
    }
    // The process of a demonstration does not call execve(2), and keeps its descriptors. It is not verified.
    if is_verified && matches!(ending, Ending::Command { .. }) {
        draft.common(Phase::Undumpable, Actor::Command, ProcessCall::Undumpable, "run.undumpable.why");
        draft.common(Phase::Verify, Actor::Host, GateCall::Verify, "verify.kernel.why");
        draft.common(Phase::Verify, Actor::Command, GateCall::Verify, "verify.kernel.why");
    }
    draft.common(Phase::Hold, Actor::Host, GateCall::Release, "common.release.why");
    draft.common(Phase::Hold, Actor::Command, GateCall::Await, "common.await.why");
    if let Hold::Fifo(path) = hold {
        draft.common(
            Phase::Prepare,
            Actor::Host,
            GateCall::OpenFifo { path: path.clone() },
            "common.fifo.why",
        );
        draft.common(Phase::Hold, Actor::Command, GateCall::AwaitFifo, "common.hold.why");
    }
    match ending {
        Ending::Command { path, arguments } => {
            draft.common(Phase::Clean, Actor::Command, ProcessCall::CloseOnExec, "common.close.why");
            draft.common(Phase::Exec, Actor::Command, ProcessCall::DefaultSignals, "common.signals.why");
            draft.common(
                Phase::Exec,
                Actor::Command,
                ProcessCall::Exec { path, arguments, environment },
                "common.exec.why",
            );
        }
        Ending::Demonstration => {
            draft.common(Phase::Exec, Actor::Command, GateCall::Serve, "common.serve.why");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_needs_a_pid_namespace() {
        let host = Host::gather();
        let (spec, added) = complete(&Spec { init: true, ..Spec::default() }, &host);
        assert!(spec.pid.is_some_and(|pid| pid.init && pid.mount_proc));
        assert!(added.iter().any(|one| one.feature == Feature::Pid && one.reason == "common.added.init"));
        let (spec, added) = complete(&Spec { init: true, ..Spec::of(Feature::Pid) }, &host);
        assert!(spec.pid.is_some_and(|pid| pid.init));
        assert!(added.iter().all(|one| one.feature != Feature::Pid));
    }
}
