//! The starts under test: single features, whole containers, and another tool's container for comparison.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use crate::confinement::{self, Confinement};
use crate::support::background::Background;
use crate::support::running::Running;
use crate::support::{self, is_root};
use crate::tracer::{Site, Traced, trace};
use crate::world::World;

/// One way to start something.
pub(crate) struct Start {
    pub(crate) name: &'static str,
    program: String,
    arguments: Vec<String>,
    /// The command that cleans up after a start that was killed.
    next: Vec<String>,
    /// The directory for temporary files. It must be empty afterwards.
    scratch: PathBuf,
    /// Holds the spec, a root for it, and the output.
    directory: tempfile::TempDir,
    /// The process whose namespaces are joined.
    _other: Option<Background>,
    /// The container that gets a further process.
    container: Option<Running>,
}

impl Start {
    pub(crate) fn of(name: &'static str, arguments: &[&str], spec: &str) -> Start {
        let directory = tempfile::tempdir().unwrap();
        let (file, scratch) = (directory.path().join("spec.yaml"), directory.path().join("scratch"));
        fs::write(&file, spec.replace("FOLDER", &root(directory.path()).to_string_lossy())).unwrap();
        fs::create_dir(&scratch).unwrap();
        let file = file.to_string_lossy();
        let arguments = arguments.iter().map(|word| word.replace("SPEC", &file)).collect();
        let program = support::binary().to_string_lossy().into_owned();
        Start {
            name,
            program,
            arguments,
            next: vec!["gc".into()],
            scratch,
            directory,
            _other: None,
            container: None,
        }
    }

    /// The tool with its command. The last argument of the command is a mark by which the test finds the processes
    /// again.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut whole = self.of_tool(&self.arguments);
        if !self.is_peer() {
            whole.arg("-q");
        }
        // Every word after the name of the container is the command.
        whole.arg(self.container.as_ref().map_or("--", |container| &*container.name)).args(command);
        whole
    }

    /// Whether this starts another tool.
    pub(crate) fn is_peer(&self) -> bool {
        self.program == "bwrap"
    }

    fn of_tool(&self, arguments: &[String]) -> Command {
        let mut tool = Command::new(&self.program);
        tool.args(arguments).current_dir("/").env("TMPDIR", &self.scratch).env("NO_COLOR", "1");
        tool
    }

    /// Runs the tool's next command, which cleans up what is left.
    pub(crate) fn tidy_up(&self) {
        let _ = self.of_tool(&self.next).output();
    }

    /// The current state of the machine.
    pub(crate) fn world(&self) -> World {
        World::now(&mark(), &self.scratch)
    }

    /// What is there now and was not there before.
    pub(crate) fn left_since(&self, before: &World) -> Vec<String> {
        before.left_since(&mark(), &self.scratch)
    }

    /// Runs `true`, with one system call that fails.
    pub(crate) fn trace(&self, fault: Option<(Site, Errno)>) -> Run {
        let said = self.directory.path().join("said");
        let mut shown = None;
        let mark = mark();
        let command = self.command(&["true", &mark]);
        let traced = trace(&command, File::create(&said).unwrap(), fault, &mut |pid| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if words.starts_with("true\0") {
                shown = confinement::of(pid);
            }
        });
        let said = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
        Run { traced, said, shown }
    }
}

/// A traced run: its result, its output, and the command's confinement if the command ran.
pub(crate) struct Run {
    pub(crate) traced: Traced,
    pub(crate) said: String,
    pub(crate) shown: Option<Confinement>,
}

/// An argument that no other process has. It is a valid duration for `sleep`.
pub(crate) fn mark() -> String {
    format!("600.{:06}", std::process::id())
}

/// A directory that becomes a usable root once this machine's /usr is bind-mounted in it.
fn root(directory: &Path) -> PathBuf {
    let root = directory.join("root");
    for name in ["usr", "proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    root
}

/// Everything that a spec can request.
const WHOLE: &str = "pid: { init: true }
net: { lo: up }
uts: { hostname: web, domainname: lab }
ipc:
cgroup:
time:
tty: true
timeout: 1h
env: { GREETING: hello }
capabilities: { keep: [net_bind_service] }
seccomp: default
rlimits: { nofile: 512 }
no_new_privileges: true
";

/// Here limits need root or a delegated cgroup.
const LIMITS: &str = "memory: { limit: 64MiB, swap: 0 }
cpu: { shares: 512, cpus: 0.5 }
devices: { allow: [c 1:3 rw] }
pids: { max: 64 }
";

/// The starts under test: two single features, and containers with everything.
pub(crate) fn starts() -> Vec<Start> {
    if std::env::var("SANDBOX_PEER").as_deref() == Ok("bwrap") {
        return vec![bwrap()];
    }
    let limits = if support::limits::is_possible("memory") { LIMITS } else { "" };
    // Only root may map the IDs of other users.
    let (user, run_as) = if is_root() { ("auto", "run_as: 1000:1000\n") } else { ("root", "") };
    let host = format!(
        "rootfs: host\nuser: {{ map: {user} }}\n{WHOLE}{run_as}{limits}mnt:\n  mounts:\n  - {{ type: tmpfs, target: /opt, size: 16MiB }}\n"
    );
    let directory = format!(
        "rootfs: FOLDER\noverlay: true\n{WHOLE}{run_as}{limits}mnt:\n  mounts:\n  - {{ type: bind, source: /usr, target: /usr, readonly: true }}\n"
    );
    let mut starts = vec![
        Start::of("sandbox pid", &["pid"], ""),
        Start::of("sandbox user", &["user"], ""),
        Start::of("sandbox run, rootfs: host", &["run", "SPEC"], &host),
        Start::of("sandbox run, rootfs: ./dir", &["run", "SPEC"], &directory),
    ];
    // They take long.
    if std::env::var_os("SANDBOX_FAULTS").is_some() {
        starts.extend([
            joined(),
            further("sandbox exec", &["exec"], limits),
            further("sandbox exec -t", &["exec", "-t"], limits),
        ]);
    }
    if !limits.is_empty() {
        starts.push(Start::of("sandbox memory", &["memory", "--limit", "64MiB"], ""));
    }
    if let Ok(name) = std::env::var("SANDBOX_START") {
        starts.retain(|start| start.name.contains(&name));
    }
    starts
}

/// A container in the namespaces of another process, with a mount namespace of its own.
fn joined() -> Start {
    let mut unshare = Command::new("unshare");
    unshare.args(["-r", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sleep", "3600"]);
    let other = Background::quiet(&mut unshare);
    let pid = support::child_named(other.id(), "sleep");
    let join = |kind: &str| format!("{kind}: {{ join: /proc/{pid}/ns/{kind} }}\n");
    let spec = ["user", "pid", "net", "ipc", "uts"].map(join).concat();
    let spec = spec + "rootfs: host\ncapabilities: default\nno_new_privileges: true\n";
    Start { _other: Some(other), ..Start::of("sandbox run, joins", &["run", "SPEC"], &spec) }
}

/// A further process in a container, which runs until the start is dropped.
fn further(name: &'static str, arguments: &[&str], limits: &str) -> Start {
    let (user, run_as) = if is_root() { ("auto", "run_as: 1000:1000\n") } else { ("root", "") };
    let spec = format!("rootfs: host\nuser: {{ map: {user} }}\n{WHOLE}{run_as}{limits}");
    // The command is a child of `sandbox`.
    let container = Running::with("faults", &[], &spec.replace("pid: { init: true }", "pid:"), "");
    Start { container: Some(container), ..Start::of(name, arguments, "") }
}

fn bwrap() -> Start {
    let arguments =
        ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"];
    Start {
        program: "bwrap".into(),
        next: vec!["--version".into()],
        ..Start::of("bwrap --unshare-all", &arguments, "")
    }
}
