//! Makes a plan from a config and from facts about this machine. Each feature adds its steps, then come the steps that every
//! plan has.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::complete::can_mount_sys;
use super::container::{Config, ContainerNamespaces, Environment, Namespace, Process, Resources};
use super::enter::plan_forget;
use super::facts::Machine;
use super::inherited::Inherited;
use super::{joins, paths};
use crate::cgroups;
use crate::cgroups::devices::{DeviceKind, Verdict};
use crate::feature::{Feature, Purpose};
use crate::host::resolver::Resolver;
use crate::host::{Host, identity};
use crate::namespaces::mnt::Mnt;
use crate::namespaces::net::Mode;
use crate::namespaces::user;
use crate::network;
use crate::observe::mountinfo::{self, Mount};
use crate::observe::proc::namespace_link;
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::terminal::TerminalCall;
use crate::plan::call::user::IdMaps;
use crate::plan::order::Phase;
use crate::plan::{
    Actor, Context, Draft, Frame, Hold, Plan, Streams, TerminalPlace, plan_null, plan_pipes, plan_streams,
    plan_terminal,
};
use crate::rootfs::dev::{DeviceFile, SHARED_MEMORY};
use crate::rootfs::mount::shared_memory;
use crate::rootfs::{self, RootRequest};
use crate::security;
use crate::security::capabilities::CapabilitySets;
use crate::security::run_as::{RunAs, plan_groups};
use crate::security::seccomp;
use crate::text::text_with;

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

/// What paths in the container resolve to. COMMAND is searched by it before anything is made.
pub fn resolver(config: &Config) -> Resolver {
    let environment = &config.environment;
    match (&environment.root, environment.namespaces.mnt.options()) {
        (Some(root), _) => rootfs::resolver(root, &environment.mounts),
        (None, Some(mnt)) => mnt.resolver(),
        (None, None) => Resolver::default(),
    }
}

/// The plan of a container. It changes nothing on the machine, and reads only the paths that the config names.
///
/// `draft` has what was said about the spec, and what is around the container. With `view`, the child reports what it sees
/// before the end.
pub fn plan(config: &Config, machine: &Machine, mut draft: Draft, ending: Ending, view: bool) -> Plan {
    let Config { version: _, name, environment, process } = config;
    draft.reserve();
    let (host, purpose) = (&machine.host, draft.purpose());
    let maps = environment.namespaces.user.options();
    let net = environment.namespaces.net.options();
    let tree = resolver(config);
    // A whole container is verified before it starts. For a single feature, its view shows whether it works.
    let is_whole = purpose == Purpose::Container;
    if is_whole {
        protect_program(&environment.namespaces, host, &mut draft);
    }
    let has_command = matches!(ending, Ending::Command { .. });
    let hold = draft.around().hold.clone();
    if process.terminal {
        draft.frame(Frame { streams: Streams::Terminal, ..draft.around().clone() });
    }
    frame(&mut draft, &hold, ending, view, is_whole, process.env.clone(), None);
    draft.name(name.clone());
    draft.timeout(process.timeout.map(|timeout| u64::from(timeout.0)));
    for error in host.unread.errors() {
        draft.problem(purpose, error.clone());
    }
    plan_directory(config, &tree, &mut draft);
    draft.tree(tree);
    let context = Context {
        host,
        has_rootfs: environment.root.is_some(),
        mounts_sys: net.is_some_and(|net| net.mount_sys)
            && joins::can_mount(Feature::Net, environment.namespaces.user.is_new(), host)
            && can_mount_sys(environment.namespaces.mnt.options(), host),
        is_root: process.user.as_ref().is_none_or(RunAs::is_root),
        keeps_admin: keeps_admin(process),
    };
    plan_features(config, &context, &mut draft);
    joins::plan(config, host, &mut draft);
    if process.env.is_some() && draft.is_exposed() {
        plan_forget(draft.around().streams.replaced(), &mut draft);
    }
    let hosts = hosts(environment, machine, &mut draft);
    rootfs::plan(&root_request(config, host, &hosts), host, &mut draft);
    if let Some(net) = net.filter(|_| environment.namespaces.net.is_new()) {
        network::plan(net.request(), &machine.network, &mut draft);
        if let Some(nameservers) = host.nameservers.as_ref().filter(|_| environment.root.is_none()) {
            network::plan_nameservers(nameservers, &mut draft);
        }
    }
    cgroups::plan(host, &mut draft);
    let place = if draft.mounts("devpts") { TerminalPlace::Inside } else { TerminalPlace::Host };
    plan_process(process, &context, maps, place, has_command, &mut draft);
    draft.finish()
}

/// Whether a process keeps CAP_SYS_ADMIN until execve(2), for its seccomp filter.
pub(super) fn keeps_admin(process: &Process) -> bool {
    process.seccomp.is_some() && !process.no_new_privileges
}

/// The half of a plan that belongs to one process, also to a further one of a running container: its restrictions, its
/// streams, its user. `maps` are the IDs of its user namespace, if that is not the caller's.
pub(super) fn plan_process(
    process: &Process,
    context: &Context<'_>,
    maps: Option<&IdMaps>,
    place: TerminalPlace,
    has_command: bool,
    draft: &mut Draft,
) {
    let host = context.host;
    process.capabilities.iter().for_each(|sets| sets.plan(context, draft));
    process.seccomp.iter().for_each(|profile| seccomp::plan(profile, draft));
    if context.keeps_admin && !context.is_root && process.capabilities.is_none() {
        // The change of the user would have taken all capabilities away.
        CapabilitySets::default().reduce("capabilities.none.why", context, draft);
    }
    process.rlimits.plan(context, draft);
    let owner = process.user.map(|user| user.uid);
    match draft.around().streams {
        Streams::Terminal => {
            let owner = owner_of_terminal(process, maps, host, place != TerminalPlace::Host);
            plan_terminal(draft, place, owner, process.console_size, vec![0, 1, 2]);
        }
        Streams::Pipes => plan_pipes(draft, &[0, 1, 2], owner),
        Streams::Output => {
            plan_null(draft, &[0]);
            plan_pipes(draft, &[1, 2], owner);
        }
        Streams::Null => plan_null(draft, &[0, 1, 2]),
        Streams::Inherited => {
            if let Some(user) = user_outside(process, maps).filter(|_| has_command) {
                plan_streams(draft, host, user, owner);
            }
        }
    }
    if matches!(draft.around().streams, Streams::Pipes | Streams::Output | Streams::Null) {
        // Without a controlling terminal, the command cannot open /dev/tty. In a process group of its own, it cannot send a
        // signal to `sandbox` by kill(0, ...).
        let call = TerminalCall::NewSession;
        draft.common(Phase::Session, Actor::Command, call, "terminal.session.why");
    }
    if let Some(user) = &process.user {
        user.plan(&process.additional_gids, host, maps, context.keeps_admin, draft);
    } else if process.capabilities.is_some() {
        plan_groups(&[], host, maps, draft);
    }
    if process.no_new_privileges {
        security::plan_no_new_privileges(draft);
    }
}

/// The working directory of the command. A new root is entered at `/`.
fn plan_directory(config: &Config, tree: &Resolver, draft: &mut Draft) {
    let is_entered = |directory: &Path| config.environment.root.is_some() && directory == Path::new("/");
    let Some(directory) = config.process.cwd.as_ref().filter(|directory| !is_entered(directory)) else {
        return;
    };
    paths::check_directory(config, directory, tree, draft);
    // Without symbolic links, as /proc/PID/cwd shows it. Verify compares the two.
    let call = MountCall::Chdir { path: tree.resolve(directory).container };
    draft.step(Phase::WorkingDirectory, Actor::Command, Feature::Mnt, call, "run.directory.why");
}

/// Each feature adds its steps, in the order of the table of features.
fn plan_features(config: &Config, context: &Context<'_>, draft: &mut Draft) {
    let ContainerNamespaces { pid, mnt, net, uts, ipc, user, cgroup, time } = &config.environment.namespaces;
    pid.options().iter().for_each(|options| options.plan(context, draft));
    mnt.options().iter().for_each(|options| options.plan(context, draft));
    net.options().iter().for_each(|options| options.plan(context, draft));
    uts.options().iter().for_each(|options| options.plan(context, draft));
    ipc.options().iter().for_each(|options| options.plan(context, draft));
    user.options().iter().for_each(|maps| user::plan(maps, context, draft));
    cgroup.options().iter().for_each(|options| options.plan(context, draft));
    time.options().iter().for_each(|options| options.plan(context, draft));
    let is_new = |kind| match kind {
        Feature::Net => net.is_new(),
        _ => ipc.is_new(),
    };
    config.environment.sysctls.plan(is_new, draft);
    let Resources { memory, cpu, blkio, devices, pids } = &config.environment.resources;
    memory.iter().for_each(|limits| limits.plan(context, draft));
    cpu.iter().for_each(|limits| limits.plan(context, draft));
    blkio.iter().for_each(|limits| limits.plan(context, draft));
    devices.iter().for_each(|rules| rules.plan(context, draft));
    pids.iter().for_each(|limits| limits.plan(context, draft));
}

/// The further lines of /etc/hosts, with the address of the host where a line has the word for it.
fn hosts(environment: &Environment, machine: &Machine, draft: &mut Draft) -> Vec<String> {
    let gateway = match &environment.namespaces.net {
        Namespace::Host => Some(Ipv4Addr::LOCALHOST),
        Namespace::New(_) => machine.network.host_gateway(),
        Namespace::Join { .. } => None,
    };
    let mut hosts = Vec::new();
    for line in &environment.hosts {
        match (line.strip_prefix(network::HOST_GATEWAY), gateway) {
            (None, _) => hosts.push(line.clone()),
            (Some(rest), Some(gateway)) => hosts.push(format!("{gateway}{rest}")),
            (Some(rest), None) => draft.kept_note(text_with("net.nogateway", &[("name", rest.trim_start())])),
        }
    }
    hosts
}

/// Whether device files in the root can be opened. Without device rules that deny all others, a container with CAP_MKNOD could make
/// and open the file of a disk. One that is unprivileged outside cannot make a device file at all.
fn opens_devices(environment: &Environment) -> bool {
    let rules = environment.resources.devices.as_ref();
    let denies_others = rules.and_then(|rules| rules.policy().ok());
    let denies_others = denies_others.is_some_and(|policy| policy.otherwise == Verdict::Deny);
    denies_others || environment.root.as_ref().is_some_and(|root| root.devices)
}

/// The devices of /dev of which the rules of the container deny mknod(2), for its own root too.
fn devices_to_bind(environment: &Environment) -> Vec<&Path> {
    let rules = environment.resources.devices.as_ref();
    let Some(policy) = rules.and_then(|rules| rules.policy().ok()) else { return Vec::new() };
    let is_denied = |device: &&DeviceFile| {
        let kind = if device.block { DeviceKind::Block } else { DeviceKind::Character };
        // In the kernel, the numbers have 12 and 20 bits.
        !policy.allows_mknod(kind, device.major as u32, device.minor as u32)
    };
    environment.devices.iter().filter(is_denied).map(|device| device.path.as_path()).collect()
}

/// The process whose IPC namespace is joined, if it has a mount namespace of its own, with a filesystem in memory on
/// /dev/shm. Its mounts can be copied by a process that has the capabilities in its user namespace, or in one above.
/// None too, if a mount on /dev/shm was asked for.
fn memory_of(environment: &Environment, host: &Host) -> Option<i32> {
    let joined = host.joined(Feature::Ipc).filter(|joined| !joined.is_own)?;
    let pid = joined.pid.filter(|_| environment.mounts.contains(&shared_memory()))?;
    let may_copy = match &environment.namespaces.user {
        Namespace::Host => true,
        Namespace::New(_) => false,
        Namespace::Join { .. } => host.joined(Feature::User).is_some_and(|user| user.pid == Some(pid)),
    };
    let mounts = |process: &str| namespace_link(process, Feature::Mnt).ok();
    if !may_copy || mounts(&format!("/proc/{pid}")) == mounts("/proc/self") {
        return None;
    }
    let table = mountinfo::read(&format!("/proc/{pid}")).ok()?;
    let is_shm = |mount: Mount<'_>| mount.is_on(SHARED_MEMORY) && *mount.filesystem == *"tmpfs";
    mountinfo::mounts(&table).any(is_shm).then_some(pid)
}

/// What the root filesystem depends on in the config.
fn root_request<'a>(config: &'a Config, host: &'a Host, hosts: &'a [String]) -> RootRequest<'a> {
    let environment = &config.environment;
    let ContainerNamespaces { mnt, net, uts, user, .. } = &environment.namespaces;
    let mnt = mnt.options();
    RootRequest {
        root: environment.root.as_ref(),
        readonly: environment.root.as_ref().map_or(mnt.is_some_and(|mnt| mnt.readonly), |root| root.readonly),
        mounts: &environment.mounts,
        masked_paths: &environment.masked_paths,
        readonly_paths: &environment.readonly_paths,
        devices: &environment.devices,
        directory: config.process.cwd.as_deref(),
        resolver: mnt.map(Mnt::resolver).unwrap_or_default(),
        propagation: mnt.map(|mnt| mnt.propagation).unwrap_or_default(),
        has_other_root: mnt.is_some_and(|mnt| mnt.root.is_some()),
        new_user: user.options().is_some(),
        maps_ranges: user.options().is_some_and(|maps| maps.take_ranges(host.uid, host.gid)),
        new_net: net.options().is_some(),
        leads_out: net.options().is_some_and(|net| matches!(net.mode, Mode::Bridge | Mode::User)),
        on_bridge: net.is_new() && net.options().is_some_and(|net| net.mode == Mode::Bridge),
        opens_devices: opens_devices(environment),
        devices_to_bind: devices_to_bind(environment),
        memory_of: memory_of(environment, host),
        domainname: uts.options().and_then(|uts| uts.domainname.as_deref()),
        hostname: uts.options().and_then(|uts| uts.hostname.as_deref()),
        network_files: host.network_files.as_ref(),
        hosts,
        nameservers: &environment.nameservers,
    }
}

/// Prevents that the container changes the program file of `sandbox` by /proc/PID/exe.
fn protect_program(namespaces: &ContainerNamespaces, host: &Host, draft: &mut Draft) {
    if !host.program.can_be_left {
        return draft.common(Phase::Program, Actor::Host, ProcessCall::ExecuteCopy, "run.copy.why");
    }
    let maps = namespaces.user.options().filter(|_| namespaces.user.is_new());
    let is_kept_out =
        maps.zip(host.program.writer).is_some_and(|(maps, writer)| user::excludes(maps, writer, host));
    // Without a new mount namespace it would not help: the container can open the file by its path.
    if namespaces.mnt.is_new() && !is_kept_out {
        let leave = ProcessCall::LeaveProgram { prepared: false };
        draft.common(Phase::ParentDeathSignal, Actor::Child, leave, "run.own.why");
    }
}

/// The owner of the terminal, if the command has another user. A terminal that is made outside needs the owner's ID
/// outside, and only root may change its owner.
fn owner_of_terminal(process: &Process, maps: Option<&IdMaps>, host: &Host, inside: bool) -> Option<u32> {
    let user = process.user?.uid;
    match maps {
        _ if inside => Some(user),
        _ if !host.privileged => None,
        None => Some(user),
        Some(maps) => maps.users.iter().find_map(|range| range.outside_of(user)),
    }
}

/// The command's user ID on the host, if it changes.
fn user_outside(process: &Process, maps: Option<&IdMaps>) -> Option<u32> {
    let Some(IdMaps { users, .. }) = maps else { return process.user.map(|user| user.uid) };
    let ranges: Vec<[u32; 3]> =
        users.iter().map(|range| [range.inside, range.outside, range.count]).collect();
    let first = identity::first(&ranges)?;
    let inside = process.user.map_or(first, |user| user.uid);
    users.iter().find_map(|range| range.outside_of(inside))
}

/// The steps that every plan has: the gate, the parent-death signal, and the end. `inherited` is what the command has instead of
/// the signals of the caller.
pub(super) fn frame(
    draft: &mut Draft,
    hold: &Hold,
    ending: Ending,
    view: bool,
    is_verified: bool,
    environment: Option<Vec<OsString>>,
    inherited: Option<&Inherited>,
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
            let (signals, why) = match inherited.cloned() {
                None => (ProcessCall::DefaultSignals, "common.signals.why"),
                Some(Inherited { ignored_signals: ignored, blocked_signals: blocked, .. }) => {
                    (ProcessCall::SetSignals { ignored, blocked }, "exec.signals.why")
                }
            };
            draft.common(Phase::Signals, Actor::Command, signals, why);
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
