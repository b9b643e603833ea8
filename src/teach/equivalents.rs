//! The same by other programs: shell commands that do what a plan does, and docker's options for it. A learner can
//! paste them, and see that `sandbox` does nothing special.

mod docker;
mod enter;
mod root;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use caps::Capability;

use self::docker::docker;
use self::enter::nsenter;
use self::root::Root;
use crate::feature::Feature;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::file::FileCall;
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::call::net::NetCall;
use crate::plan::call::nftables::Table;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::publish::{Protocol, PublishCall};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::call::time::TimeCall;
use crate::plan::call::user::{IdKind, IdRange, MapOwner, UserCall};
use crate::plan::call::user_network::UserNetworkCall;
use crate::plan::call::uts::UtsCall;
use crate::plan::{Actor, Call, Plan};
use crate::security::capabilities;
use crate::security::rlimits::Limit;
use crate::text::{text, text_with};
use crate::value::paste::command_line;
use crate::value::shell::quote;

/// The commands to paste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivalents {
    /// For a shell: unshare(1), mount(8), ip(8) and others.
    pub shell: Vec<String>,
    /// For docker(1).
    pub docker: Vec<String>,
}

impl Equivalents {
    /// The commands for a plan.
    pub fn of(plan: &Plan) -> Equivalents {
        Equivalents { shell: Shell::of(plan).lines(plan), docker: docker(plan) }
    }
}

/// The maximum length of a script on one line. A longer script is split into several lines.
const LONG: usize = 100;

/// The parts of the shell commands, collected while the calls of a plan are read.
#[derive(Debug, Default)]
struct Shell {
    /// Options of unshare(1).
    options: Vec<String>,
    /// Commands inside, before the user's command.
    inside: Vec<String>,
    /// Commands inside that mount. They are last: the other commands need the programs of the old root.
    mounts: Vec<String>,
    /// The mounts that the plan makes by file descriptors: a new root, or mounts in the old one.
    root: Root,
    /// Commands outside, while the command runs.
    outside: Vec<String>,
    /// Commands before all others: the cgroups and their limits.
    before: Vec<String>,
    /// Commands by which the shell moves itself into the cgroups.
    joins: Vec<String>,
    /// The address of a server inside, to which published ports lead. None: `<address>`.
    server: Option<std::net::IpAddr>,
    /// Options of prlimit(1), which runs setpriv(1) or the command.
    prlimit: Vec<String>,
    /// Options of setpriv(1), which runs the command.
    setpriv: Vec<String>,
    /// The process whose namespaces are joined by nsenter(1), and these namespaces.
    joined: Option<(i32, Vec<Feature>)>,
    /// The working directory there.
    directory: Option<PathBuf>,
    /// Whether the command has a seccomp filter.
    has_filter: bool,
    /// Whether nsenter(1) changes to the root directory of that process.
    changes_root: bool,
    /// The IDs of the command in these namespaces: the group and the user.
    ids: [Option<u32>; 2],
    /// The supplementary groups of the command there. None: it keeps those of the caller.
    groups: Option<Vec<u32>>,
    /// The environment of the command, for env(1).
    environment: Option<Vec<OsString>>,
    /// The directory of the cgroup in the variable `$g`.
    cgroup: Option<PathBuf>,
}

/// The variable `$g` with this value, in quotes unless its value needs none.
fn variable(value: &Path) -> &'static str {
    if quote(value).as_str() == value { "$g" } else { "\"$g\"" }
}

impl Shell {
    fn of(plan: &Plan) -> Shell {
        let mut shell = Shell { server: server(plan), ..Shell::default() };
        for namespace in &plan.namespaces {
            shell.options.push(match namespace {
                Feature::Mnt => "--mount".to_owned(),
                Feature::Pid => "--pid --fork".to_owned(),
                other => format!("--{other}"),
            });
        }
        // The relay for published ports is one line of socat(1), made from PublishCall::Listen.
        for step in plan.steps.iter().filter(|step| step.actor != Actor::Relay) {
            shell.add(step.actor, &step.call);
        }
        shell
    }

    /// Adds one call. Some calls need no command, because unshare(1) makes them itself: it makes the mounts private,
    /// and denies setgroups.
    fn add(&mut self, actor: Actor, call: &Call) {
        match call {
            Call::File(FileCall::Write { path, content }) => self.add_file(path, content.trim()),
            Call::File(FileCall::MakeDirectory { path, mode }) => {
                self.before.push(format!("mkdir -m {mode:o} {}", quote(path)));
            }
            Call::User(call) => self.add_map(call),
            Call::Time(TimeCall::WriteOffset { clock, seconds }) => {
                self.options.push(format!("--{clock} {seconds}"));
            }
            Call::Mount(MountCall::Filesystem { kind, target, .. })
                if kind == "proc" && target == Path::new("/proc") =>
            {
                self.options.push("--mount-proc".into());
            }
            Call::Mount(MountCall::Propagation { mode, .. }) if *mode != Propagation::Private => {
                self.options.push(format!("--propagation {mode}"));
            }
            Call::DetachedMount(call) => {
                self.root.add(actor, call);
                self.mounts.append(&mut self.root.take());
            }
            Call::Mount(MountCall::Filesystem { kind, target, .. }) => {
                self.mounts.push(format!("mount -t {kind} {kind} {}", quote(target)));
            }
            Call::Mount(MountCall::Bind { source, target }) => {
                self.mounts.push(format!("mount --rbind {} {}", quote(source), quote(target)))
            }
            // nsenter(1) changes the working directory itself.
            Call::Mount(MountCall::Chroot { .. }) => self.changes_root = true,
            Call::Mount(MountCall::Chdir { .. }) if self.changes_root => {}
            Call::Mount(MountCall::ChdirInside { path }) => self.directory = Some(path.clone()),
            Call::Mount(MountCall::Chdir { path }) => self.mounts.push(format!("cd {}", quote(path))),
            Call::Mount(MountCall::PivotRoot { new_root, put_old }) => {
                self.mounts.push(format!("pivot_root {} {}", quote(new_root), quote(put_old)));
            }
            // The shell commands build the new root on /mnt, so there is nothing on `/` to unmount.
            Call::Mount(MountCall::Detach { target })
                if target == Path::new("/") && !self.root.is_empty() => {}
            Call::Mount(MountCall::Detach { target })
                if target == Path::new(".") && self.root.takes_layer() => {}
            Call::Mount(MountCall::Detach { target }) => {
                self.mounts.push(format!("umount -l {}", quote(target)))
            }
            Call::Cgroup(call) => self.add_cgroup(call),
            Call::Net(call) => self.add_net(actor, call),
            Call::UserNetwork(call @ UserNetworkCall::Start { .. }) => {
                self.outside.push(format!("{} &", call.to_string().replace("<child>", "$child")));
            }
            Call::Nftables(call) => self.add_table(call.table()),
            Call::Publish(PublishCall::Listen { protocol, at, inside, .. }) => {
                self.outside.push(published(*protocol, at, self.server, *inside));
            }
            Call::Uts(UtsCall::SetHostname(name)) => self.inside.push(format!("hostname {}", quote(name))),
            Call::Uts(UtsCall::SetDomainname(name)) => {
                self.inside.push(format!("domainname {}", quote(name)))
            }
            Call::Process(ProcessCall::DieWithParent)
                if !self.options.iter().any(|it| it == "--kill-child") =>
            {
                self.options.push("--kill-child".into());
            }
            Call::Process(ProcessCall::Join { pid: Some(pid), namespaces }) => {
                self.joined = Some((*pid, namespaces.features()));
            }
            Call::Process(ProcessCall::SetGroups(groups)) if self.joined.is_some() => {
                self.groups = Some(groups.clone());
            }
            Call::Process(ProcessCall::SetGroup(id)) if self.joined.is_some() => self.ids[0] = Some(*id),
            Call::Process(ProcessCall::SetUser(id)) if self.joined.is_some() => self.ids[1] = Some(*id),
            Call::Process(ProcessCall::Exec { environment, .. }) if self.joined.is_some() => {
                self.environment.clone_from(environment);
            }
            // unshare(1) sets the IDs 0 itself.
            Call::Process(ProcessCall::SetGroup(id)) if *id != 0 => {
                self.setpriv.push(format!("--regid {id} --clear-groups"));
            }
            Call::Process(ProcessCall::SetUser(id)) if *id != 0 => self.setpriv.push(format!("--reuid {id}")),
            Call::Restrict(call) => self.add_restriction(call),
            _ => {}
        }
    }

    /// Adds options of prlimit(1) and setpriv(1).
    fn add_restriction(&mut self, call: &RestrictCall) {
        match call {
            RestrictCall::Limit { resource, soft, hard } => {
                self.prlimit.push(format!("--{resource}={}", Limit { soft: *soft, hard: *hard }));
            }
            RestrictCall::Bound { keep, .. } => {
                let kept = added(keep);
                self.setpriv.push(format!("--bounding-set -all{kept}"));
                if self.joined.is_none() {
                    self.setpriv.push("--inh-caps -all".into());
                }
            }
            RestrictCall::NoNewPrivileges => self.setpriv.push("--no-new-privs".into()),
            RestrictCall::CapabilitySets { inheritable, .. } => {
                self.setpriv.push(format!("--inh-caps -all{}", added(inheritable)));
            }
            RestrictCall::RaiseAmbient { raise } => {
                self.setpriv.push(format!("--ambient-caps -all{}", added(raise)));
            }
            RestrictCall::Filter { .. } => self.has_filter = true,
            RestrictCall::ClearAmbient | RestrictCall::Capabilities { .. } => {}
        }
    }

    fn add_cgroup(&mut self, call: &CgroupCall) {
        match call {
            CgroupCall::Make { directory, shared: true } => {
                self.before.push(format!("mkdir -p {}", quote(directory)))
            }
            CgroupCall::Make { directory, .. } => {
                self.before.push(format!("g={}", quote(directory)));
                self.before.push(format!("mkdir -p {}", variable(directory)));
                self.cgroup = Some(directory.clone());
            }
            // The plan starts the child in this cgroup, by the flag CLONE_INTO_CGROUP. A shell moves itself.
            CgroupCall::Open { directory } => {
                self.joins.push(format!("echo 0 > {}", quote(directory.join("cgroup.procs"))))
            }
            CgroupCall::Set { directory, setting, .. } | CgroupCall::Offer { directory, setting, .. } => {
                self.before.push(self.set(&setting.path_in(directory), &setting.value));
            }
            CgroupCall::AttachProgram { directory, .. } => {
                self.before.push(format!("bpftool cgroup attach {} cgroup_device ...", quote(directory)));
            }
        }
    }

    /// A command that writes to a file of a cgroup.
    fn set(&self, file: &Path, value: &str) -> String {
        let below = |cgroup: &Path| Some((variable(cgroup), file.strip_prefix(cgroup).ok()?));
        match self.cgroup.as_deref().and_then(below) {
            Some((variable, name)) => format!("echo '{value}' > {}/{}", variable, quote(name)),
            None => format!("echo '{value}' > {}", quote(file)),
        }
    }

    fn add_net(&mut self, actor: Actor, call: &NetCall) {
        let line = match call {
            NetCall::LinkUp { name } => format!("ip link set {name} up"),
            NetCall::AddVeth { name, peer, bridge, claimed, .. } => {
                let bridge = bridge.as_ref().map_or_else(String::new, |bridge| format!(" master {bridge}"));
                let hardware = if *claimed { " address $hardware" } else { "" };
                format!("ip link add {name}{bridge} type veth peer name {peer}{hardware} netns $child")
            }
            NetCall::AddBridge { name, hardware } => {
                format!("ip link add {name} address {hardware} type bridge")
            }
            NetCall::Enable { setting, .. } => format!("echo 1 > {setting}"),
            NetCall::AddAddress { device, address, prefix, .. } => {
                let address = address.map_or_else(|| "$address".to_owned(), |address| address.to_string());
                format!("ip address add {address}/{prefix} dev {device}")
            }
            NetCall::Isolate { port } => format!("bridge link set dev {port} isolated on"),
            NetCall::AddDefaultRoute { gateway } => format!("ip route add default via {gateway}"),
            NetCall::AwaitCarrier { .. } => return,
        };
        let side = if actor == Actor::Host { &mut self.outside } else { &mut self.inside };
        side.push(line);
    }

    /// Adds the same nftables rules by nft(8). They stay until the user deletes them.
    fn add_table(&mut self, table: &Table) {
        let (family, name) = (table.family, &table.name);
        // The person sets these variables. Within the quotation marks of a word, the shell would not replace them.
        let filled =
            |word: String| word.replace("<address>", "'$address'").replace("<hardware>", "'$hardware'");
        let mut nft =
            |command: String| self.outside.push(format!("nft {}", filled(quote(command).to_string())));
        nft(format!("add table {family} {name}"));
        for chain in &table.chains {
            nft(format!("add chain {family} {name} {} {{ {} }}", chain.name, chain.declaration()));
            // A rule with a condition is left out: on a machine that does not meet it, the rule would be wrong.
            for rule in chain.rules.iter().filter(|rule| rule.only_if.is_none()) {
                nft(format!("add rule {family} {name} {} {}", chain.name, rule));
            }
        }
    }

    /// Adds an ID map. unshare(1) writes a map of one ID itself. Longer maps are written from outside.
    fn add_map(&mut self, call: &UserCall) {
        match call {
            UserCall::DenySetgroups => {}
            UserCall::RunMapHelper { .. } => self.outside.push(call.to_string().replace("<child>", "$child")),
            UserCall::WriteIdMap { process: MapOwner::Child, kind, map } => {
                let ranges: Vec<String> = map.iter().map(ToString::to_string).collect();
                self.outside.push(format!("echo \"{}\" > /proc/$child/{}", ranges.join(" "), kind.file()));
            }
            UserCall::WriteIdMap { process: MapOwner::Own, kind, map } => {
                let Some(IdRange { inside, .. }) = map.first() else { return };
                match (kind, inside) {
                    // --map-root-user maps the group ID too.
                    (IdKind::Group, 0) => {}
                    (IdKind::Group, id) => self.options.push(format!("--map-group={id}")),
                    (IdKind::User, id) => {
                        // The options for maps imply --user.
                        self.options.retain(|option| option != "--user");
                        let option =
                            if *id == 0 { "--map-root-user".into() } else { format!("--map-user={id}") };
                        self.options.push(option);
                    }
                }
            }
        }
    }

    fn add_file(&mut self, path: &Path, content: &str) {
        if path.starts_with("/proc/sys") {
            return self.inside.push(format!("echo {} > {}", quote(content), quote(path)));
        }
        if path.starts_with("/proc") {
            return;
        }
        let line = self.set(path, content);
        if path.ends_with("tasks") || (path.ends_with("cgroup.procs") && content == "0") {
            self.joins.push(format!("echo 0 > {}", quote(path)))
        } else {
            self.before.push(line)
        }
    }

    fn lines(mut self, plan: &Plan) -> Vec<String> {
        // --kill-child implies --fork. Therefore it is used only with namespaces for which unshare(1) forks anyway.
        let forks = plan.namespaces.iter().any(|feature| matches!(feature, Feature::Pid | Feature::Time));
        self.options.retain(|option| forks || option != "--kill-child");
        // nsenter(1) that sets IDs also drops the supplementary groups, which the namespace may deny. It would set them before
        // setpriv(1) starts, which then has no right to reduce the bounding set.
        let joins_user = self.joined.as_ref().is_some_and(|(_, all)| all.contains(&Feature::User));
        if let [Some(group), Some(user)] = self.ids {
            let groups = match self.groups.as_deref() {
                Some([]) if self.setpriv.is_empty() || user == 0 || joins_user => None,
                Some([]) => Some("--clear-groups".to_owned()),
                Some(groups) => Some(format!(
                    "--groups {}",
                    groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
                )),
                None => Some("--keep-groups".to_owned()),
            };
            if let Some(groups) = groups {
                self.setpriv.insert(0, format!("--regid {group} --reuid {user} {groups}"));
                self.ids = [None, None];
            }
        }
        let mut command = match (plan.arguments(), &self.environment) {
            ([], _) => "sh".to_owned(),
            (arguments, Some(environment)) => {
                format!("env -i -- {} {}", command_line(environment), command_line(arguments))
            }
            // unshare(1) and others would read its name as an option.
            ([name, ..], None) if name.as_encoded_bytes().starts_with(b"-") => {
                format!("env -- {}", command_line(plan.arguments()))
            }
            (arguments, None) => command_line(arguments),
        };
        for (program, options) in [("setpriv", &self.setpriv), ("prlimit", &self.prlimit)] {
            if !options.is_empty() {
                command = format!("{program} {} {command}", options.join(" "));
            }
        }
        if let Some((pid, namespaces)) = &self.joined {
            command = format!(
                "{} {command}",
                nsenter(*pid, namespaces, self.changes_root, self.directory.as_deref(), self.ids)
            );
            // The namespace may not map root. execve(2) then drops the capabilities that the join has given.
            if joins_user && self.ids == [None, None] && nix::unistd::geteuid().is_root() {
                command = format!("{} {command}", enter::as_owner(*pid));
            }
        }
        let command = command.as_str();
        let shell = |before: &[String], command: &str| match before {
            [] => command.to_owned(),
            before => {
                let script = format!("{}; exec {command}", before.join("; "));
                // A quoted string may have several lines.
                let script = if script.len() <= LONG {
                    script
                } else {
                    format!("{};\n    exec {command}", before.join(";\n    "))
                };
                format!("sh -c {}", quote(script))
            }
        };
        let mut lines = std::mem::take(&mut self.before);
        if self.has_filter {
            lines.push(text("seccomp.hand"));
        }
        // nsenter(1) executes the programs in front of the command when it has joined the mount namespace.
        if self.joined.as_ref().is_some_and(|(_, namespaces)| namespaces.contains(&Feature::Mnt)) {
            let programs = [
                (!self.prlimit.is_empty()).then_some("prlimit"),
                (!self.setpriv.is_empty()).then_some("setpriv"),
                (self.environment.is_some() && !plan.arguments().is_empty()).then_some("env"),
            ];
            let programs: Vec<&str> = programs.into_iter().flatten().collect();
            if !programs.is_empty() {
                lines.push(text_with("enter.hand", &[("programs", &programs.join(", "))]));
            }
        }
        if self.root.is_from_host() {
            // No command can pass on a mount that has no path. Commands for only a part of the root would not work.
            lines.push(text("rootfs.hand"));
            self.mounts.clear();
        } else if !self.root.is_empty() {
            // If a mount fails, the script must not continue with the old root.
            self.inside.insert(0, "set -e".into());
        }
        self.inside.append(&mut self.mounts);
        if plan.namespaces.is_empty() {
            self.joins.append(&mut self.inside);
            lines.push(shell(&self.joins, command));
        } else {
            // The shell moves before the new namespaces exist. A process in the user namespace may not write there.
            lines.append(&mut self.joins);
            lines.push(format!("unshare {} {}", self.options.join(" "), shell(&self.inside, command)));
        }
        if !self.outside.is_empty() {
            lines.push(text("common.same.meanwhile"));
            lines.append(&mut self.outside);
        }
        lines
    }
}

/// The options of setpriv(1) that add capabilities to an empty set.
fn added(capabilities: &[Capability]) -> String {
    capabilities.iter().map(|one| format!(",+{}", capabilities::short_name(one))).collect()
}

/// The first address inside to which published ports lead. None: `<address>`.
fn server(plan: &Plan) -> Option<std::net::IpAddr> {
    plan.steps.iter().find_map(|step| match &step.call {
        Call::Publish(PublishCall::Serve { to, .. }) => to.first().copied().flatten(),
        _ => None,
    })
}

/// A relay for a published port: socat(1) listens outside and connects to `server` inside.
fn published(
    protocol: Protocol,
    at: &std::net::SocketAddr,
    server: Option<std::net::IpAddr>,
    inside: u16,
) -> String {
    let name = protocol.to_string().to_uppercase();
    let (version, ip, port) = (if at.is_ipv4() { 4 } else { 6 }, at.ip(), at.port());
    let bound = if ip.is_unspecified() { String::new() } else { format!(",bind={ip}") };
    let server = server.map_or_else(|| "'$address'".to_owned(), |address| address.to_string());
    format!(
        "socat {name}{version}-LISTEN:{port}{bound},fork,reuseaddr \
         EXEC:'nsenter --net --target '$child' socat STDIO {name}4\\:{server}\\:{inside}'"
    )
}
