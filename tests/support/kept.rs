//! A HOME of its own for kept containers. What is in it is removed at the end, also after an assertion has failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::{becomes, sandbox, text};

pub struct KeptHome {
    directory: tempfile::TempDir,
}

impl KeptHome {
    pub fn new() -> KeptHome {
        KeptHome { directory: tempfile::tempdir().unwrap() }
    }

    /// HOME itself. It does not exist before the first container.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// A directory for other files.
    pub fn around(&self) -> &Path {
        self.directory.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sandbox(arguments);
        command.env("SANDBOX_HOME", self.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output without the last newline. It must succeed.
    pub fn out(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?} {:?} {}", output.status, text(&output.stderr));
        text(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// The message of a command that fails with this status, in one line.
    pub fn refused(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run(arguments);
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(status), "{arguments:?} {} {message}", text(&output.stdout));
        message
    }

    /// The file of a spec with a shell that runs `script`, in the files of this machine.
    pub fn spec(&self, keys: &str, script: &str) -> String {
        let file = self.around().join(format!("spec-{}.yaml", fs::read_dir(self.around()).unwrap().count()));
        let script = serde_json::to_string(script).unwrap();
        fs::write(&file, format!("pid:\n{keys}\ncommand: [sh, -c, {script}]\n")).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// A running container that sleeps.
    pub fn sleeper(&self, name: &str) -> String {
        let spec = self.spec("", "exec sleep 600");
        let id = self.out(&["run", "-d", "--name", name, &spec]);
        // `run -d` has returned as soon as the shell began.
        becomes(self.pid(name, "command"), "sleep");
        id
    }

    /// The directory of a container, by its name.
    pub fn container(&self, name: &str) -> PathBuf {
        self.path().join("names").join(name).canonicalize().unwrap()
    }

    /// What its state.json says.
    pub fn state(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.container(name).join("state.json")).unwrap()).unwrap()
    }

    /// The PID in its state.json of `supervisor` or `command`.
    pub fn pid(&self, name: &str, of: &str) -> u32 {
        self.state(name)[of]["pid"].as_u64().unwrap_or_else(|| panic!("{name} has no {of}")) as u32
    }

    /// What `inspect` says under `State`.
    pub fn inspected(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.out(&["inspect", name])).unwrap();
        all[0]["State"].clone()
    }

    /// What `ps -a` says that a container does.
    pub fn status(&self, name: &str) -> String {
        let rows = self.out(&["ps", "-a", "--format", "json"]);
        let rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
        let row = rows.into_iter().find(|row| row["Names"] == name);
        row.map_or("absent".to_owned(), |row| row["State"].as_str().unwrap().to_owned())
    }

    /// Nothing of any container is left, in HOME and in RUN.
    pub fn is_empty(&self) {
        let names = |directory: &str| {
            let entries = fs::read_dir(self.path().join(directory)).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
        };
        assert_eq!((names("containers"), names("names")), (vec![], vec![]));
    }
}

impl Drop for KeptHome {
    fn drop(&mut self) {
        let ids = text(&self.run(&["ps", "-aq", "--no-trunc"]).stdout);
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            let _ = self.run(&[&["rm", "-f"], &*ids].concat());
        }
    }
}

/// The directory in RUN of a container that runs.
pub fn in_run(id: &str) -> PathBuf {
    let uid = nix::unistd::geteuid();
    let login = PathBuf::from(format!("/run/user/{uid}"));
    let run = match uid.is_root() {
        true => PathBuf::from("/run/sandbox"),
        false if login.exists() => login.join("sandbox"),
        false => PathBuf::from(format!("/tmp/sandbox-{uid}")),
    };
    run.join(id)
}

/// Whether a process exists and has not ended.
pub fn lives(pid: u32) -> bool {
    !matches!(super::state(pid), '?' | 'Z' | 'X')
}
