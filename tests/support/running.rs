//! A running container, and commands that enter it.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::background::Background;
use super::{binary, child_named, sandbox, state, text, wait_until};

/// How many containers this program has started. It makes their names unique.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running container.
pub struct Running {
    sandbox: Background,
    pub name: String,
    pub pid: u32,
    pub directory: tempfile::TempDir,
}

impl Running {
    /// Starts a container of this spec. Its command is a shell that runs `script`, and then sleeps.
    pub fn of(spec: &str, script: &str) -> Running {
        Running::with("enter", &[], spec, script)
    }

    /// The same with the beginning of its name, and with flags of `run`.
    pub fn with(name: &str, flags: &[&str], spec: &str, script: &str) -> Running {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{number}", std::process::id());
        let file = directory.path().join("spec.yaml");
        let script = format!("{script}\nexec sleep 3600");
        let script = serde_json::to_string(&script).unwrap();
        fs::write(&file, format!("name: {name}\n{spec}command: [sh, -c, {script}]\n")).unwrap();
        let words = [&["run", "-q"], flags, &[file.to_str().unwrap()]].concat();
        let errors = fs::File::create(directory.path().join("errors")).unwrap();
        let sandbox = Background::with_errors(&mut sandbox(&words), errors);
        // From here on, the container ends also if it never gets so far.
        let mut running = Running { sandbox, name, pid: 0, directory };
        let parent = match spec.contains("init: true") {
            true => child_named(running.supervisor(), "sandbox"),
            false => running.supervisor(),
        };
        running.pid = child_named(parent, "sleep");
        // Before, its loader has other files open.
        wait_until("it sleeps", || state(running.pid) == 'S');
        running
    }

    /// The PID of `sandbox`.
    pub fn supervisor(&self) -> u32 {
        self.sandbox.id()
    }

    /// Standard output of a command that enters, whatever its status is, and then standard error.
    pub fn enter(&self, flags: &[&str], command: &[&str]) -> String {
        let program = binary();
        let words =
            [&["20", program.to_str().unwrap(), "enter", "-q"], flags, &[&self.name, "--"], command].concat();
        let output =
            Command::new("timeout").args(words).env("SECRET", "hush").current_dir("/").output().unwrap();
        text(&output.stdout) + &text(&output.stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM has no effect on a process 1 without a handler.
        let _ = self.sandbox.kill();
        let _ = self.sandbox.wait();
        if std::thread::panicking() {
            eprint!("{}", fs::read_to_string(self.directory.path().join("errors")).unwrap_or_default());
        }
    }
}

/// The lines of a status file that `enter` takes over.
pub fn privileges(status: &str) -> BTreeMap<String, String> {
    let fields = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"];
    let lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(name, _)| fields.contains(name))
        .map(|(name, value)| (name.into(), value.trim().into()))
        .collect()
}

/// The result of a further command in a container, by `sandbox exec`.
pub fn exec_in(container: &Running, flags: &[&str], command: &[&str]) -> Output {
    sandbox(&[&["exec", "-q"], flags, &[&container.name], command].concat()).output().unwrap()
}

/// The standard output of a further command, which must succeed.
pub fn shown(container: &Running, flags: &[&str], command: &[&str]) -> String {
    let output = exec_in(container, flags, command);
    assert!(output.status.success(), "{flags:?} {command:?} {:?} {}", output.status, text(&output.stderr));
    text(&output.stdout)
}
