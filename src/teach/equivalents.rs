//! The same by other means: the shell lines that do what a plan does, and Docker's flags for it.

mod root;

use self::root::Root;
use crate::feature::Feature;
use crate::network::ports::Port;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::file::FileCall;
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::call::net::NetCall;
use crate::plan::call::nftables::Table;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::publish::PublishCall;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::call::time::TimeCall;
use crate::plan::call::user::{IdKind, IdRange, MapOwner, UserCall};
use crate::plan::call::uts::UtsCall;
use crate::plan::{Actor, Call, Plan, Step};
use crate::security::capabilities;
use crate::security::rlimits::Limit;
use crate::text::{text, text_if_any};
use crate::value::shell::quote;

/// The lines to paste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivalents {
    /// For a shell: unshare(1) and the tools beside it.
    pub shell: Vec<String>,
    /// For docker.
    pub docker: Vec<String>,
}

impl Equivalents {
    /// Those of a plan.
    pub fn of(plan: &Plan) -> Equivalents {
        Equivalents { shell: Shell::of(plan).lines(plan), docker: docker(plan) }
    }
}

/// A longer line is hard to read.
const LONG: usize = 100;

/// What unshare(1) and the tools beside it would be told.
#[derive(Debug, Default)]
struct Shell {
    /// Options of unshare.
    options: Vec<String>,
    /// Commands run inside, before the command.
    inside: Vec<String>,
    /// Those that mount: after the others, which need the programs of today.
    mounts: Vec<String>,
    /// The new root, or what is mounted by its descriptor in today's.
    root: Root,
    /// Commands run outside, meanwhile.
    outside: Vec<String>,
    /// Commands run before all: the groups and their limits.
    before: Vec<String>,
    /// Where the command itself goes first.
    joins: Vec<String>,
    /// Options of prlimit(1), which executes the command.
    prlimit: Vec<String>,
    /// Options of setpriv(1), which executes it after that.
    setpriv: Vec<String>,
    /// The directory of the group that `$g` stands for, with its slash.
    group: Option<String>,
}

impl Shell {
    fn of(plan: &Plan) -> Shell {
        let mut shell = Shell::default();
        for namespace in &plan.namespaces {
            shell.options.push(match namespace {
                Feature::Mnt => "--mount".to_owned(),
                Feature::Pid => "--pid --fork".to_owned(),
                other => format!("--{other}"),
            });
        }
        // The relay of published ports has no counterpart among them but a line below.
        for step in plan.steps.iter().filter(|step| step.actor != Actor::Relay) {
            shell.add(step.actor, &step.call);
        }
        shell
    }

    /// unshare(1) does by itself what is missing here: it makes the mounts private, and denies setgroups.
    fn add(&mut self, actor: Actor, call: &Call) {
        match call {
            Call::File(FileCall::Write { path, content }) => self.add_file(path, content.trim()),
            Call::User(call) => self.add_map(call),
            Call::Time(TimeCall::WriteOffset { clock, seconds }) => {
                self.options.push(format!("--{clock} {seconds}"));
            }
            Call::Mount(MountCall::Filesystem { kind, target, .. })
                if kind == "proc" && target == "/proc" =>
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
            Call::Mount(MountCall::Chdir { path }) => self.mounts.push(format!("cd {}", quote(path))),
            Call::Mount(MountCall::PivotRoot { new_root, put_old }) => {
                self.mounts.push(format!("pivot_root {} {}", quote(new_root), quote(put_old)));
            }
            // What lay on `/` meanwhile lies on /mnt by hand.
            Call::Mount(MountCall::Detach { target }) if target == "/" && !self.root.is_empty() => {}
            Call::Mount(MountCall::Detach { target }) => {
                self.mounts.push(format!("umount -l {}", quote(target)))
            }
            Call::Cgroup(call) => self.add_group(call),
            Call::Net(call) => self.add_net(actor, call),
            Call::Nftables(call) => self.add_table(call.table()),
            Call::Publish(PublishCall::Listen { at, inside }) => self.outside.push(published(at, *inside)),
            Call::Uts(UtsCall::SetHostname(name)) => self.inside.push(format!("hostname {}", quote(name))),
            Call::Uts(UtsCall::SetDomainname(name)) => {
                self.inside.push(format!("domainname {}", quote(name)))
            }
            Call::Process(ProcessCall::DieWithParent)
                if !self.options.iter().any(|it| it == "--kill-child") =>
            {
                self.options.push("--kill-child".into());
            }
            // To 0 unshare goes by itself.
            Call::Process(ProcessCall::SetGroup(id)) if *id != 0 => {
                self.setpriv.push(format!("--regid {id} --clear-groups"));
            }
            Call::Process(ProcessCall::SetUser(id)) if *id != 0 => self.setpriv.push(format!("--reuid {id}")),
            Call::Restrict(call) => self.add_restriction(call),
            _ => {}
        }
    }

    /// There is no program beside that installs a filter of system calls.
    fn add_restriction(&mut self, call: &RestrictCall) {
        match call {
            RestrictCall::Limit { resource, soft, hard } => {
                self.prlimit.push(format!("--{resource}={}", Limit { soft: *soft, hard: *hard }));
            }
            RestrictCall::Bound { keep, .. } => {
                let kept: String =
                    keep.iter().map(|one| format!(",+{}", capabilities::short_name(one))).collect();
                self.setpriv.push(format!("--bounding-set -all{kept} --inh-caps -all"));
            }
            RestrictCall::NoNewPrivileges => self.setpriv.push("--no-new-privs".into()),
            RestrictCall::ClearAmbient | RestrictCall::Capabilities { .. } | RestrictCall::Filter { .. } => {}
        }
    }

    fn add_group(&mut self, call: &CgroupCall) {
        match call {
            CgroupCall::Make { directory, shared: true } => self.before.push(format!("mkdir -p {directory}")),
            CgroupCall::Make { directory, .. } => {
                self.before.push(format!("g={directory}; mkdir -p $g"));
                self.group = Some(format!("{directory}/"));
            }
            // What is opened here the child is born in; a shell moves itself.
            CgroupCall::Open { directory } => self.joins.push(format!("echo 0 > {directory}/cgroup.procs")),
            CgroupCall::Set { directory, setting, .. } | CgroupCall::Offer { directory, setting } => {
                self.before.push(self.set(&setting.path_in(directory), &setting.value));
            }
            CgroupCall::AttachProgram { directory, .. } => {
                self.before.push(format!("bpftool cgroup attach {directory} cgroup_device ..."));
            }
        }
    }

    /// A write to a file of a group.
    fn set(&self, file: &str, value: &str) -> String {
        match self.group.as_deref().and_then(|group| file.strip_prefix(group)) {
            Some(name) => format!("echo '{value}' > $g/{name}"),
            None => format!("echo '{value}' > {file}"),
        }
    }

    fn add_net(&mut self, actor: Actor, call: &NetCall) {
        let line = match call {
            NetCall::LinkUp { name } => format!("ip link set {name} up"),
            NetCall::AddVeth { name, peer, bridge, claimed, .. } => {
                let bridge = bridge.as_ref().map_or_else(String::new, |bridge| format!(" master {bridge}"));
                let hardware = if *claimed { " address <hardware>" } else { "" };
                format!("ip link add {name}{bridge} type veth peer name {peer}{hardware} netns <child>")
            }
            NetCall::AddBridge { name, hardware } => {
                format!("ip link add {name} address {hardware} type bridge")
            }
            NetCall::Enable { setting, .. } => format!("echo 1 > {setting}"),
            NetCall::AddAddress { device, address, prefix, .. } => {
                let address = address.map_or_else(|| "<address>".to_owned(), |address| address.to_string());
                format!("ip address add {address}/{prefix} dev {device}")
            }
            NetCall::Isolate { port } => format!("bridge link set dev {port} isolated on"),
            NetCall::AddDefaultRoute { gateway } => format!("ip route add default via {gateway}"),
            NetCall::AwaitCarrier { .. } => return,
        };
        let side = if actor == Actor::Host { &mut self.outside } else { &mut self.inside };
        side.push(line);
    }

    /// The same rules by nft(8). It can give a table an owner only while it runs, so these stay until they are deleted.
    fn add_table(&mut self, table: &Table) {
        let (family, name) = (table.family, &table.name);
        let mut nft = |command: String| self.outside.push(format!("nft {}", quote(command)));
        nft(format!("add table {family} {name}"));
        for chain in &table.chains {
            nft(format!("add chain {family} {name} {} {{ {} }}", chain.name, chain.declaration()));
            // A rule with a condition would also apply on a machine that does not meet it.
            for rule in chain.rules.iter().filter(|rule| rule.only_if.is_none()) {
                nft(format!("add rule {family} {name} {} {}", chain.name, rule.statements()));
            }
        }
    }

    /// unshare(1) writes a map of one ID itself; longer ones are written from outside.
    fn add_map(&mut self, call: &UserCall) {
        match call {
            UserCall::DenySetgroups => {}
            UserCall::RunMapHelper { .. } => self.outside.push(call.to_string()),
            UserCall::WriteIdMap { process: MapOwner::Child, kind, map } => {
                let ranges: Vec<String> = map.iter().map(ToString::to_string).collect();
                self.outside.push(format!("echo \"{}\" > /proc/<child>/{}", ranges.join(" "), kind.file()));
            }
            UserCall::WriteIdMap { process: MapOwner::Own, kind, map } => {
                let Some(IdRange { inside, .. }) = map.first() else { return };
                match (kind, inside) {
                    // --map-root-user maps the group too.
                    (IdKind::Group, 0) => {}
                    (IdKind::Group, id) => self.options.push(format!("--map-group={id}")),
                    (IdKind::User, id) => {
                        // Implied by the maps.
                        self.options.retain(|option| option != "--user");
                        let option =
                            if *id == 0 { "--map-root-user".into() } else { format!("--map-user={id}") };
                        self.options.push(option);
                    }
                }
            }
        }
    }

    fn add_file(&mut self, path: &str, content: &str) {
        if path.starts_with("/proc/") {
            return;
        }
        let line = self.set(path, content);
        if path.ends_with("/tasks") {
            self.joins.push(format!("echo 0 > {path}"))
        } else {
            self.before.push(line)
        }
    }

    fn lines(mut self, plan: &Plan) -> Vec<String> {
        // --kill-child is of use only where unshare stays behind as the parent, and it forks by itself.
        let forks = plan.namespaces.iter().any(|feature| matches!(feature, Feature::Pid | Feature::Time));
        self.options.retain(|option| forks || option != "--kill-child");
        let words: Vec<String> = plan.arguments().iter().map(quote).collect();
        let mut command = if words.is_empty() { "sh".to_owned() } else { words.join(" ") };
        for (program, options) in [("setpriv", &self.setpriv), ("prlimit", &self.prlimit)] {
            if !options.is_empty() {
                command = format!("{program} {} {command}", options.join(" "));
            }
        }
        let command = command.as_str();
        let shell = |before: &[String], command: &str| match before {
            [] => command.to_owned(),
            before => {
                let script = format!("{}; exec {command}", before.join("; "));
                // A quotation may go over several lines.
                let script = if script.len() <= LONG {
                    script
                } else {
                    format!("{};\n    exec {command}", before.join(";\n    "))
                };
                format!("sh -c {}", quote(script))
            }
        };
        let mut lines = std::mem::take(&mut self.before);
        if self.root.is_handed_in() {
            // Half of it would be worse than none.
            lines.push(text("rootfs.hand"));
            self.mounts.clear();
        } else if !self.root.is_empty() {
            // To go on after a mount that failed would leave the old root.
            self.inside.insert(0, "set -e".into());
        }
        self.inside.append(&mut self.mounts);
        if plan.namespaces.is_empty() {
            self.joins.append(&mut self.inside);
            lines.push(shell(&self.joins, command));
        } else {
            // Before the namespaces are made: a user inside may not write there any more.
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

/// A relay of one's own: socat(1) listens here and connects there.
fn published(at: &std::net::SocketAddr, inside: u16) -> String {
    let (kind, ip, port) = (if at.is_ipv4() { "TCP4" } else { "TCP6" }, at.ip(), at.port());
    let bound = if ip.is_unspecified() { String::new() } else { format!(",bind={ip}") };
    format!(
        "socat {kind}-LISTEN:{port}{bound},fork,reuseaddr EXEC:'nsenter --net --target <child> socat STDIO TCP4\\:127.0.0.1\\:{inside}'"
    )
}

/// What docker does about each namespace, and with which flag.
fn docker(plan: &Plan) -> Vec<String> {
    let mut lines: Vec<String> =
        plan.namespaces.iter().filter_map(|feature| docker_flags(*feature)).collect();
    for step in &plan.steps {
        match &step.call {
            Call::Uts(UtsCall::SetHostname(name)) => {
                lines.push(format!("docker run --hostname {} ...", quote(name)))
            }
            Call::Uts(UtsCall::SetDomainname(name)) => {
                lines.push(format!("docker run --domainname {} ...", quote(name)))
            }
            Call::Mount(MountCall::Filesystem { kind, target, .. }) if kind == "tmpfs" => {
                lines.push(format!("docker run --tmpfs {} ...", quote(target)));
            }
            Call::Net(NetCall::AddVeth { .. }) => lines.push("docker run --network bridge ...".into()),
            Call::Publish(PublishCall::Listen { at, inside }) => {
                lines.push(format!("docker run -p {} ...", Port { at: *at, inside: *inside }));
            }
            _ => {}
        }
    }
    let mut limits: Vec<String> = plan.intents.iter().map(|intent| intent.docker.clone()).collect();
    limits.extend(plan.steps.iter().filter_map(docker_restriction));
    if limits.iter().any(|flag| !flag.is_empty()) {
        lines.push(format!("docker run {} ...", limits.join(" ").trim()));
    } else if plan.namespaces.is_empty() {
        lines.push(text("limits.docker"));
    }
    lines
}

/// Its own default of capabilities and of the filter takes no flag.
fn docker_restriction(step: &Step) -> Option<String> {
    match &step.call {
        Call::Restrict(RestrictCall::Limit { resource, soft, hard }) => {
            Some(format!("--ulimit {resource}={soft}:{hard}"))
        }
        Call::Restrict(RestrictCall::Bound { keep, .. }) if *keep != capabilities::DEFAULT => {
            let kept: String =
                keep.iter().map(|one| format!(" --cap-add {}", capabilities::short_name(one))).collect();
            Some(format!("--cap-drop all{kept}"))
        }
        Call::Process(ProcessCall::SetUser(id)) if *id != 0 => Some(format!("--user {id}")),
        Call::Restrict(RestrictCall::NoNewPrivileges) => Some("--security-opt no-new-privileges".into()),
        _ => None,
    }
}

/// Docker's flags for a namespace. A limit has its flag in its intent, a restriction in its step.
fn docker_flags(feature: Feature) -> Option<String> {
    let flags = text_if_any(&format!("{feature}.docker"))?;
    Some(format!("{:<8}{flags}", feature.name()))
}
