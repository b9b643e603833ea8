//! `sandbox daemon install` and `uninstall`: the daemon as a service.
//!
//! Other inputs of the same kind as the ones here:
//! - a HOME with blanks, `%` and quotes in its path; files of another maker with these names; directories that are read-only.
//! - sockets of TCP, descriptors that are no sockets, LISTEN_PID of another process.
#![cfg(feature = "daemon")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::kept::KeptHome;
use support::{text, wait_until};

fn ran(program: &Path, argument: &str) -> (Option<i32>, String) {
    let output = Command::new(program).arg(argument).output().unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_script_starts_and_stops_the_daemon() {
    let home = KeptHome::new();
    let root = home.around().join("root");
    let root = root.to_str().unwrap();
    let installed = home.out(&["daemon", "install", "--kind", "init", "--root", root]);
    assert!(installed.contains("/etc/init.d/sandbox"), "{installed}");
    let script = Path::new(root).join("etc/init.d/sandbox");
    assert_eq!(script.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(ran(&script, "status").0, Some(3));
    let (status, printed) = ran(&script, "start");
    assert_eq!(status, Some(0), "{printed}");
    // A second start is no error, as of other services.
    assert_eq!(ran(&script, "start").0, Some(0));
    let pid = |home: &KeptHome| home.out(&["daemon", "status", "--format", "json"]);
    let first = pid(&home);
    assert_eq!(ran(&script, "status").0, Some(0));
    assert_eq!(ran(&script, "restart").0, Some(0));
    assert_ne!(pid(&home), first);
    assert_eq!(ran(&script, "stop").0, Some(0));
    assert_eq!(ran(&script, "stop").0, Some(0));
    assert_eq!(ran(&script, "status").0, Some(3));
    assert_eq!(ran(&script, "dance").0, Some(2));
    home.out(&["daemon", "uninstall", "--kind", "init", "--root", root]);
    assert!(!script.exists());
    home.refused(&["daemon", "uninstall", "--kind", "init", "--root", root], 1);
    // A file of another maker is neither replaced nor removed.
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    for action in ["install", "uninstall"] {
        let refused = home.refused(&["daemon", action, "--kind", "init", "--root", root], 1);
        assert!(refused.contains("left alone"), "{refused}");
    }
}

#[test]
fn the_units_are_ones_of_systemd() {
    let home = KeptHome::new();
    let root = home.around().join("root");
    let mut command = home.command(&["daemon", "install", "--kind", "systemd", "--explain", "--root"]);
    let output = command.arg(&root).env("XDG_CONFIG_HOME", "/config").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("rename("), "{}", text(&output.stderr));
    let listed = text(&output.stdout);
    let units: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix("Wrote ")).collect();
    assert_eq!(units.len(), 2, "{listed}");
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("machine: no systemd-analyze");
        return;
    }
    let kind = if nix::unistd::geteuid().is_root() { "--system" } else { "--user" };
    let output = Command::new("systemd-analyze").args([kind, "verify"]).args(&units).output().unwrap();
    // Where no systemd runs, it complains about what is not there, but never about these units.
    let complaints = text(&output.stderr);
    let own: Vec<&str> = complaints.lines().filter(|line| line.contains("sandbox.s")).collect();
    assert!(own.is_empty(), "{own:?}");
}

#[test]
fn systemd_passes_the_socket() {
    let program = "systemd-socket-activate";
    if Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("machine: no {program}");
        return;
    }
    let home = KeptHome::new();
    let socket = home.around().join("a.sock");
    let own = home.command(&["daemon", "run"]);
    let mut activated = Command::new(program);
    activated.arg("--listen").arg(&socket).arg(format!("--setenv=SANDBOX_HOME={}", home.path().display()));
    for (name, value) in own.get_envs() {
        activated.envs(value.map(|value| (name, value)));
        let name = name.to_str().unwrap();
        if value.is_some() && name != "SANDBOX_HOME" {
            activated.arg(format!("--setenv={name}"));
        }
    }
    for name in ["XDG_RUNTIME_DIR", "HOME", "TMPDIR"] {
        if std::env::var_os(name).is_some() {
            activated.arg(format!("--setenv={name}"));
        }
    }
    activated.arg(own.get_program()).args(own.get_args());
    let mut daemon = activated.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("the socket exists", || socket.exists());
    // The first client starts the daemon, and is answered.
    let host = format!("unix://{}", socket.display());
    assert!(home.out(&["api", "GET", "/version", "--host", &host]).contains("1.44"));
    assert!(home.out(&["daemon", "status"]).contains(&host));
    home.out(&["daemon", "stop"]);
    daemon.wait().unwrap();
    // The socket is not the daemon's to remove.
    assert!(socket.exists());
}
