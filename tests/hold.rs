//! A container that one process makes, and another one starts. It waits at a FIFO, when everything is set up and verified,
//! and the process that made it has ended by then. Standard streams that are pipes of the caller.
//!
//! Other inputs of the same kind as the ones here:
//! - the release: by opening and closing the FIFO, by writing to it, twice, by several processes at once; never: the FIFO
//!   is removed, the container is killed, the process that made it is killed, or gives up.
//! - plans: with and without a new PID namespace, user namespace, root filesystem, init, limits; with and without a
//!   parent-death signal and a journal.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};
use support::background::Background;
use support::{alone, held, is_root, state, wait_until};

/// It is no test: [`Made`] starts it as a process of its own.
#[test]
fn another_process() {
    held::make();
}

/// What [`another_process`] has made.
struct Made {
    /// What it printed.
    said: String,
    pid: Pid,
    directory: tempfile::TempDir,
}

const SHELL: &str = "/bin/sh";
const COMMAND: &str = "echo ran; echo $0; for kind in pid mnt uts; do readlink /proc/self/ns/$kind; done; \
                       ls -l /proc/self/fd/ | sed 's/.*-> /fd /'; exit 7";

fn process(spec: &str, [program, script]: [&str; 2], fifo: &Path, flags: &[&str]) -> Command {
    let script = serde_json::to_string(script).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    held::tell(&mut command, &format!("{spec}command: [{program}, -c, {script}, hello]\n"), fifo);
    command
        .args(held::ARGUMENTS)
        .envs(flags.iter().map(|flag| (flag, "1")))
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

impl Made {
    /// Starts it, and waits for its end. The container inherits the file `out` as its standard output and error.
    fn of(spec: &str, script: &str) -> Made {
        Made::with(spec, [SHELL, script])
    }

    fn with(spec: &str, command: [&str; 2]) -> Made {
        // Orphans of that process become children of this one, so that their status is known.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let out = File::create(directory.path().join("out")).unwrap();
        let mut command = process(spec, command, &fifo, &[]);
        let status = command.stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
        let said = fs::read_to_string(directory.path().join("out")).unwrap();
        assert!(status.success(), "{said}");
        let pid = said.lines().find_map(|line| line.strip_prefix("pid ")).unwrap_or_else(|| panic!("{said}"));
        Made { pid: Pid::from_raw(pid.parse().unwrap()), said: said.clone(), directory }
    }

    fn open(&self, flags: i32) -> std::io::Result<File> {
        OpenOptions::new().write(true).custom_flags(flags).open(self.directory.path().join("fifo"))
    }

    /// What the command has printed since it was made.
    fn printed(&self) -> String {
        let all = fs::read_to_string(self.directory.path().join("out")).unwrap();
        all.strip_prefix(&*self.said).unwrap().to_owned()
    }

    /// Waits for the end of the container.
    fn end(&self) -> WaitStatus {
        let mut ended = WaitStatus::StillAlive;
        wait_until("the container has ended", || {
            ended = waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap();
            ended != WaitStatus::StillAlive
        });
        ended
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

fn namespace(pid: impl std::fmt::Display, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).map(|link| link.display().to_string()).unwrap_or_default()
}

#[test]
fn a_container_is_made_by_one_process_and_started_by_another() {
    let _alone = alone();
    let specs = [
        "rootfs: host\npid:\nuts: { hostname: held }\nseccomp: default\nno_new_privileges: true\n",
        "uts:\n",
    ];
    for (index, spec) in specs.into_iter().enumerate() {
        let made = Made::of(spec, COMMAND);
        // It waits: set up, and not yet the command. It is killed by nothing of its own.
        wait_until("it waits", || state(made.pid.as_raw() as u32) == 'S');
        assert_eq!(made.printed(), "");
        let command_line = fs::read(format!("/proc/{}/cmdline", made.pid)).unwrap();
        assert!(!command_line.ends_with(b"hello\0"), "{command_line:?}");
        if is_root() {
            assert_ne!(namespace(made.pid, "uts"), namespace("self", "uts"));
            let links = |pid: Pid| {
                let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
                entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect::<Vec<_>>()
            };
            assert!(links(made.pid).contains(&made.directory.path().join("fifo")), "it has the FIFO open");
        }
        // Opening and closing is enough, and so is a byte. The second one comes too late or is not read.
        let mut first = made.open(libc::O_NONBLOCK).unwrap();
        if index == 1 {
            first.write_all(b"0").unwrap();
        }
        drop(first);
        assert_eq!(made.end(), WaitStatus::Exited(made.pid, 7), "{}", made.printed());
        let printed = made.printed();
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[..2], ["ran", "hello"], "{printed}");
        let has_pids = spec.contains("pid:");
        for (line, kind) in lines[2..5].iter().zip(["pid", "mnt", "uts"]) {
            assert_eq!(*line != namespace("self", kind), has_pids || kind == "uts", "{kind} {printed}");
        }
        let descriptors: Vec<&&str> = lines.iter().filter(|line| line.starts_with("fd ")).collect();
        // 0 to 2, and the directory that ls reads.
        assert_eq!(descriptors.len(), 4, "{printed}");
        assert!(
            descriptors.iter().all(|line| !line.contains("fifo") && !line.contains("socket")),
            "{printed}"
        );
        let late = made.open(libc::O_NONBLOCK).unwrap_err();
        assert_eq!(late.raw_os_error(), Some(libc::ENXIO), "nobody waits any more");
    }
}

#[test]
fn two_releases_start_one_command() {
    let _alone = alone();
    let made = Made::of("uts:\n", "echo ran");
    let (mut one, mut other) = (made.open(libc::O_NONBLOCK).unwrap(), made.open(libc::O_NONBLOCK).unwrap());
    one.write_all(b"0").unwrap();
    // EPIPE: the command runs already.
    let _ = other.write_all(b"0");
    drop((one, other));
    assert_eq!(made.end(), WaitStatus::Exited(made.pid, 0));
    assert_eq!(made.printed(), "ran\n");
}

#[test]
fn a_release_that_never_comes_leaves_nothing() {
    let _alone = alone();
    // The FIFO is removed.
    let made = Made::of("rootfs: host\npid:\n", COMMAND);
    fs::remove_file(made.directory.path().join("fifo")).unwrap();
    assert_eq!(made.end(), WaitStatus::Exited(made.pid, 125));
    // Another process kills it.
    let killed = Made::of("rootfs: host\npid:\n", COMMAND);
    kill(killed.pid, Signal::SIGKILL).unwrap();
    assert_eq!(killed.end(), WaitStatus::Signaled(killed.pid, Signal::SIGKILL, false));
    // Nobody else is left to whom the first one could tell it.
    let printed = made.printed();
    assert!(
        printed.contains("poll(") && printed.contains("removed before the command was released"),
        "{printed}"
    );
    assert_eq!(killed.printed(), "");
    // What fails behind the release.
    for (spec, code) in [("uts:\n", 127), ("uts:\nseccomp: default\nno_new_privileges: true\n", 127)] {
        let made = Made::with(spec, ["/none/such", COMMAND]);
        drop(made.open(libc::O_NONBLOCK).unwrap());
        assert_eq!(made.end(), WaitStatus::Exited(made.pid, code));
        let has_filter = spec.contains("seccomp");
        assert_eq!(made.printed().contains("execve("), !has_filter, "{}", made.printed());
    }
    // The process that made it gives up, or is killed: its container has a parent-death signal.
    for is_killed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // A cgroup is on the host, and must be removed.
        let limits = if is_root() { "pids: { max: 50 }\n" } else { "" };
        let mut maker =
            process(&format!("rootfs: host\npid:\n{limits}"), [SHELL, COMMAND], &fifo, &[held::STAYS]);
        let mut maker = Background::with_pipes(&mut maker);
        let mut said = String::new();
        let mut output = maker.stdout.take().unwrap();
        while !said.contains("pid ") || !said.ends_with('\n') {
            let mut some = [0; 256];
            let length = output.read(&mut some).unwrap();
            assert!(length > 0, "{said}");
            said.push_str(&String::from_utf8_lossy(&some[..length]));
        }
        let pid: u32 = said.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap();
        if is_killed {
            maker.kill().unwrap();
        }
        drop(maker.stdin.take());
        assert_eq!(maker.wait().unwrap().success(), !is_killed);
        wait_until("the container has ended with its maker", || {
            let _ = waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG));
            state(pid) == '?'
        });
        drop(output);
        assert!(File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).is_err());
    }
    // The next command removes what a killed process has left, and then nothing is left.
    support::run(&["gc"]);
    assert_eq!(support::text(&support::run(&["gc"]).stdout), "no run has left anything behind\n");
}

#[test]
fn what_is_no_fifo_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = |path: &Path, spec: &str| {
        let output = process(spec, [SHELL, COMMAND], path, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        support::text(&output.stderr)
    };
    for path in [&file, &directory.path().join("none"), &directory.path().to_owned()] {
        assert!(refused(path, "uts:\n").contains("cannot open the FIFO"), "{}", path.display());
    }
    // A relay would end with the process that makes the container.
    let publishes = refused(&file, "net: { publish: ['127.0.0.1:18099:80'] }\n");
    assert!(publishes.contains("forwards the connections"), "{publishes}");
}

/// The caller's ends of three pipes are the command's standard streams: it can open them again, and reads the end.
#[test]
fn a_command_has_pipes_of_the_caller() {
    let mut specs = vec!["uts:\n", "rootfs: host\npid: { init: true }\n"];
    if is_root() {
        specs.push("rootfs: host\npid:\nrun_as: '1000:1000'\n");
    }
    for spec in specs {
        let script =
            "cat; echo again > /dev/stdout; echo wrong >&2; readlink /proc/self/fd/0 | cut -c1-5; exit 3";
        let output = process(spec, [SHELL, script], Path::new(""), &[held::PIPES]).output().unwrap();
        let (shown, errors) = (support::text(&output.stdout), support::text(&output.stderr));
        assert!(shown.contains("status 3\ngiven\nagain\npipe:\nwrong\n"), "{spec}{shown}{errors}");
    }
}
