//! Runs the bash scripts of an exercise: those that solve it, and those that measure. Everything that a script starts is
//! ended, also what it leaves in the background and in other PID namespaces.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::pace::Pace;
use super::seed::StudentValues;
use crate::error::{Error, Result, io_text};
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::observe::processes::pids;
use crate::sys::signal;
use crate::text::text;

/// How long a script may take on a usual machine until its last command in the foreground has ended.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a `sandbox` may take on a usual machine to end after its command, and again after SIGTERM, before it is
/// killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest output that is kept, in bytes.
const MAX_OUTPUT: u64 = 64 << 10;

/// The programs and files of a script.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The work directory.
    pub directory: &'a Path,
    /// The directory with the material of the exercise.
    pub material: &'a Path,
    /// The values of the student, which are environment variables.
    pub values: &'a StudentValues,
}

/// What a script did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptEnd {
    /// What it printed to standard output.
    pub output: String,
    /// What it printed to standard error.
    pub errors: String,
    /// Whether it was stopped because it took too long.
    pub is_late: bool,
}

/// The processes of a script. When this is dropped, all are ended.
#[derive(Debug)]
pub struct Processes {
    /// The children of this program that were there before.
    before: Vec<i32>,
    pace: Pace,
}

impl Processes {
    /// Begins to count. From now on, an orphan below this process becomes its child, so that none is lost.
    ///
    /// # Errors
    /// prctl(2) fails.
    pub fn begin(pace: Pace) -> Result<Processes> {
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| {
            Error::failed(text("lesson.script.subreaper")).call("prctl(PR_SET_CHILD_SUBREAPER, 1)", errno)
        })?;
        Ok(Processes { before: children(own()), pace })
    }

    /// Runs a script until its last command in the foreground has ended. Commands in the background go on.
    ///
    /// # Errors
    /// bash cannot be executed.
    pub fn run(&self, script: &str, surroundings: &Surroundings<'_>) -> Result<ScriptEnd> {
        let [output, errors] = [".output", ".errors"].map(|name| surroundings.material.join(name));
        let unwritten =
            |error: std::io::Error| Error::failed(text("lesson.script.bash")).why(io_text(&error));
        let file = fs::File::create(&output).map_err(unwritten)?;
        let other = fs::File::create(&errors).map_err(unwritten)?;
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .current_dir(surroundings.directory)
            .env("PATH", search_path())
            .env("material", surroundings.material)
            // Where a locale is missing, bash and perl print a warning. This one is always there.
            .env("LC_ALL", "C")
            .envs(surroundings.values)
            // The containers that a script keeps are not among the user's own, and go with its directories.
            .env("SANDBOX_HOME", surroundings.material.join(".home"))
            .env_remove("SANDBOX_LESSONS")
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(other)
            .process_group(0);
        let mut child = signal::default_before(&mut command).spawn().map_err(unwritten)?;
        let is_late = !wait(&mut child, self.pace.at_most(LIMIT));
        if is_late {
            let _ = child.kill();
            let _ = child.wait();
        }
        let [output, errors] = [output, errors].map(|path| {
            let mut printed = Vec::new();
            if let Ok(file) = fs::File::open(path) {
                let _ = file.take(MAX_OUTPUT).read_to_end(&mut printed);
            }
            file::text(printed)
        });
        Ok(ScriptEnd { output, errors, is_late })
    }

    /// Ends all processes that were started. Returns those that could not be ended.
    pub fn end(&self) -> Vec<i32> {
        let (started, patience) = (Instant::now(), self.pace.scaled(PATIENCE));
        loop {
            self.reap();
            let left = self.left();
            if left.is_empty() || started.elapsed() > patience * 3 {
                return left;
            }
            for pid in left {
                // A `sandbox` ends when its command has ended, and removes its cgroups. If it is killed, they are left.
                let signal = match started.elapsed() {
                    waited if !is_sandbox(pid) || waited > patience * 2 => libc::SIGKILL,
                    waited if waited > patience => libc::SIGTERM,
                    _ => continue,
                };
                let _ = signal::kill(Pid::from_raw(pid), signal);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes below this one that were not there before.
    fn left(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut open: Vec<i32> =
            children(own()).into_iter().filter(|pid| !self.before.contains(pid)).collect();
        while let Some(pid) = open.pop() {
            found.push(pid);
            open.extend(children(pid).into_iter().filter(|child| !found.contains(child)));
        }
        found
    }

    /// Waits for the children that have ended.
    fn reap(&self) {
        for pid in children(own()).into_iter().filter(|pid| !self.before.contains(pid)) {
            match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.end();
    }
}

fn is_sandbox(pid: i32) -> bool {
    file::read_text(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sandbox")
}

fn own() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The children of a process. They are searched by their parent, because not every kernel has the file `children`.
fn children(parent: i32) -> Vec<i32> {
    let parent = parent.to_string();
    let is_child = |pid: &i32| {
        let status = file::read_text(format!("/proc/{pid}/status")).unwrap_or_default();
        status_of(&status, "PPid") == Some(&parent)
    };
    pids().into_iter().filter(is_child).collect()
}

/// Waits for a child, at most for this time. Returns whether it has ended.
fn wait(child: &mut Child, limit: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            _ => return true,
        }
    }
    false
}

/// PATH with the directory of this program first, so that `sandbox` in a script is this program.
fn search_path() -> std::ffi::OsString {
    let mut directories: Vec<PathBuf> = std::env::current_exe()
        .ok()
        .and_then(|program| program.parent().map(Path::to_owned))
        .into_iter()
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    directories.extend(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or(path)
}
