//! The starts under test: single features, whole containers, and another tool's container for comparison.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{SYS_munmap, SYS_sched_yield, SYS_sigaltstack};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::confinement::{self, Confinement};
use crate::support::background::Background;
use crate::support::running::Running;
use crate::support::{self, held, is_root};
use crate::tracer::{Site, Traced, trace};
use crate::world::World;

/// One way to start something.
pub(crate) struct Start {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// The directory for temporary files. It must be empty afterwards.
    scratch: PathBuf,
    /// Holds the spec, a root for it, and the output.
    directory: tempfile::TempDir,
    /// The process whose namespaces are joined.
    _other: Option<Background>,
    /// The container that gets a further process.
    container: Option<Running>,
    /// How the command is released.
    held: Option<Held>,
}

impl Start {
    pub(crate) fn of(name: &'static str, arguments: &[&str], spec: &str) -> Start {
        let directory = tempfile::tempdir().unwrap();
        let (file, scratch) = (directory.path().join("spec.yaml"), directory.path().join("scratch"));
        fs::write(&file, spec.replace("FOLDER", &root(directory.path()).to_string_lossy())).unwrap();
        fs::create_dir(&scratch).unwrap();
        let file = file.to_string_lossy();
        let arguments = arguments.iter().map(|word| word.replace("SPEC", &file)).collect();
        Start {
            name,
            program: support::binary(),
            arguments,
            scratch,
            directory,
            _other: None,
            container: None,
            held: None,
        }
    }

    /// The tool with its command. The last argument of the command is a mark by which the test finds the processes
    /// again.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut whole = self.with_environment(&self.program, &self.arguments);
        if let Some(Held { fifo, spec }) = &self.held {
            held::tell(&mut whole, &format!("{spec}command: [/bin/{}]\n", command.join(", ")), fifo);
            // The processes have the mark, too.
            whole.args(command);
            return whole;
        }
        if !self.is_peer() {
            whole.arg("-q");
        }
        // Every word after the name of the container is the command.
        whole.arg(self.container.as_ref().map_or("--", |container| &*container.name)).args(command);
        whole
    }

    /// Whether this starts another tool.
    fn is_peer(&self) -> bool {
        self.program == Path::new("bwrap")
    }

    /// The last call before the program's own first one: the Nth of its number. Before it, the C library, the dynamic loader
    /// and Rust's runtime make calls. The runtime of `sandbox` ends with a stack for signals: it reads the old one and sets
    /// its own. For another tool, the loader's last call is known.
    pub(crate) fn last_foreign_call(&self) -> (i64, usize) {
        match &self.held {
            Some(_) => (SYS_sched_yield, 1),
            None if self.is_peer() => (SYS_munmap, 1),
            None => (SYS_sigaltstack, 2),
        }
    }

    fn with_environment(&self, program: &Path, arguments: &[String]) -> Command {
        let mut whole = Command::new(program);
        whole.args(arguments).current_dir("/").env("TMPDIR", &self.scratch).env("NO_COLOR", "1");
        whole
    }

    /// Runs the tool's next command, which cleans up what is left.
    pub(crate) fn tidy_up(&self) {
        let (tool, word) =
            if self.is_peer() { (self.program.clone(), "--version") } else { (support::binary(), "gc") };
        // On a busy machine, the kernel may take longer to end a container than one command waits. `gc` tells it.
        for _ in 0..20 {
            let output =
                self.with_environment(&tool, &[word.to_owned()]).output().expect("it can be executed");
            if !String::from_utf8_lossy(&output.stderr).contains("has not ended yet") {
                break;
            }
        }
    }

    /// The current state of the machine.
    pub(crate) fn world(&self) -> World {
        World::now(&mark(), &self.scratch)
    }

    /// What is there now and was not there before.
    pub(crate) fn left_since(&self, before: &World) -> Vec<String> {
        before.left_since(&mark(), &self.scratch, Duration::from_millis(60))
    }

    /// The same after the next command. A process that was killed may take its time to end on a busy machine.
    pub(crate) fn left_after_next(&self, before: &World) -> Vec<String> {
        before.left_since(&mark(), &self.scratch, Duration::from_secs(10))
    }

    /// Runs `true`, with one system call that fails.
    pub(crate) fn trace(&self, fault: Option<(Site, Errno)>) -> Run {
        let said = self.directory.path().join("said");
        let mut shown = None;
        let mark = mark();
        let command = self.command(&["true", &mark]);
        let release = self.held.as_ref().map(|held| || held::release(&held.fifo));
        let release = release.as_ref().map(|release| release as &dyn Fn());
        let traced = trace(
            &command,
            File::create(&said).unwrap(),
            fault,
            &mut |pid| {
                let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if ["true\0", "/bin/true\0"].iter().any(|name| words.starts_with(name)) {
                    shown = confinement::of(pid);
                }
            },
            release,
        );
        let said = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
        Run { traced, said, shown, is_held: self.held.is_some() }
    }
}

/// A command that another process releases.
struct Held {
    fifo: PathBuf,
    spec: String,
}

/// A traced run: its result, its output, and the command's confinement if the command ran.
pub(crate) struct Run {
    pub(crate) traced: Traced,
    pub(crate) said: String,
    pub(crate) shown: Option<Confinement>,
    /// Whether another process than the one that made the command has released it.
    pub(crate) is_held: bool,
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
const LIMITS: &str = "memory: { limit: 256MiB, swap: 0 }
cpu: { shares: 512, cpus: 0.5 }
devices: { allow: [c 1:3 rw] }
pids: { max: 64 }
";

/// The names of the starts under test: two single features, containers with everything, and what joins or waits.
pub(crate) fn names() -> Vec<&'static str> {
    if std::env::var("SANDBOX_PEER").as_deref() == Ok("bwrap") {
        return vec!["bwrap --unshare-all"];
    }
    let mut names = vec![
        "sandbox pid",
        "sandbox user",
        "sandbox run, rootfs: host",
        "sandbox run, rootfs: ./dir",
        "sandbox run, joins",
        "sandbox exec",
        "sandbox exec -t",
        "made, then released",
    ];
    if support::limits::is_possible("memory") {
        names.push("sandbox memory");
    }
    if let Ok(wanted) = std::env::var("SANDBOX_START") {
        names.retain(|name| name.contains(&wanted));
    }
    names
}

/// The start of this name. It may start another container for it.
pub(crate) fn start(name: &'static str) -> Start {
    let limits = if support::limits::is_possible("memory") { LIMITS } else { "" };
    // Only root may map the IDs of other users.
    let (map, run_as) = if is_root() { ("auto", "run_as: 1000:1000\n") } else { ("root", "") };
    let host = format!("rootfs: host\nuser: {{ map: {map} }}\n{run_as}");
    let mounts = |mount: &str| format!("mnt:\n  mounts:\n  - {{ {mount} }}\n");
    match name {
        "sandbox pid" => Start::of(name, &["pid"], ""),
        "sandbox user" => Start::of(name, &["user"], ""),
        "sandbox memory" => Start::of(name, &["memory", "--limit", "64MiB"], ""),
        "sandbox run, rootfs: host" => {
            let mount = mounts("type: tmpfs, target: /opt, size: 16MiB");
            Start::of(name, &["run", "SPEC"], &format!("{host}{WHOLE}{limits}{mount}"))
        }
        "sandbox run, rootfs: ./dir" => {
            let mount = mounts("type: bind, source: /usr, target: /usr, readonly: true");
            let root = format!("rootfs: FOLDER\noverlay: true\n{run_as}");
            Start::of(name, &["run", "SPEC"], &format!("{root}{WHOLE}{limits}{mount}"))
        }
        "sandbox run, joins" => joined(name),
        "sandbox exec" => further(name, &["exec"], &format!("{host}{WHOLE}{limits}")),
        "sandbox exec -t" => further(name, &["exec", "-t"], &format!("{host}{WHOLE}{limits}")),
        "made, then released" => held(name, &format!("{host}{WHOLE}")),
        _ => bwrap(name),
    }
}

/// A container in the namespaces of another process, with a mount namespace of its own.
fn joined(name: &'static str) -> Start {
    let mut unshare = Command::new("unshare");
    unshare.args(["-r", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sleep", "3600"]);
    let other = Background::quiet(&mut unshare);
    let pid = support::child_named(other.id(), "sleep");
    let join = |kind: &str| format!("{kind}: {{ join: /proc/{pid}/ns/{kind} }}\n");
    let spec = ["user", "pid", "net", "ipc", "uts"].map(join).concat();
    let spec = spec + "rootfs: host\ncapabilities: default\nno_new_privileges: true\n";
    Start { _other: Some(other), ..Start::of(name, &["run", "SPEC"], &spec) }
}

/// A further process in a container, which runs until the start is dropped.
fn further(name: &'static str, arguments: &[&str], spec: &str) -> Start {
    // The command is a child of `sandbox`.
    let container = Running::with("faults", &[], &spec.replace("pid: { init: true }", "pid:"), "");
    Start { container: Some(container), ..Start::of(name, arguments, "") }
}

/// A container that a copy of this program makes, and that this process starts.
fn held(name: &'static str, spec: &str) -> Start {
    // Nobody stays who could copy the terminal, or end the command after a time.
    let spec = spec.replace("tty: true\ntimeout: 1h\n", "");
    let start = Start::of(name, &held::ARGUMENTS, "");
    let fifo = start.directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    Start { program: std::env::current_exe().unwrap(), held: Some(Held { fifo, spec }), ..start }
}

fn bwrap(name: &'static str) -> Start {
    let arguments =
        ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"];
    Start { program: "bwrap".into(), ..Start::of(name, &arguments, "") }
}
