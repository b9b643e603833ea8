//! Views and comparisons compare what is in a list, not how long it is. Each test makes two lists of one length.
//!
//! Inputs of this kind: mounts (on other places, of other options, stacked in another order), the lines of
//! /proc/PID/mounts, processes, network devices, addresses, routes, TCP and UNIX sockets, System V objects, files of
//! /dev/shm, lines of /etc/hosts, device rules, resource limits, capability sets, user IDs that differ in the effective
//! ID alone, clocks that differ by less than two seconds. And lists that are equal: copies of a mount table, in which
//! all IDs differ.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{fits, install, is_root, run, sandbox, skip, stdout, text};

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell that `sandbox` isolates. It runs `script`, then waits.
fn prepared(flags: &[&str], script: &str) -> (Running, i32) {
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    let script = format!("{script}; echo ready > /dev/stderr; exec sleep 60");
    let log = fs::File::create(&done).unwrap();
    let child = sandbox(&[flags, &["-q", "--", "sh", "-c", &script]].concat())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let running = Running(child);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(&done).unwrap().ends_with("ready\n") {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(&done).unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = support::child_named(running.0.id(), "sleep");
    (running, i32::try_from(pid).unwrap())
}

fn compared(left: i32, right: i32) -> Value {
    serde_json::from_str(&stdout(&["compare", "--format", "json", &left.to_string(), &right.to_string()]))
        .unwrap()
}

/// The row of one list with this path and field.
fn row<'a>(data: &'a Value, list: &str, path: &str, field: Option<&str>) -> &'a Value {
    let rows = data[list].as_array().unwrap();
    rows.iter()
        .find(|row| row["path"] == path && row["field"].as_str() == field)
        .unwrap_or_else(|| panic!("no {path} in {rows:#?}"))
}

#[test]
fn two_mount_tables_of_one_length_are_equal_only_if_their_mounts_are() {
    let (_one, one) = prepared(&["mnt"], "mount -t tmpfs one /mnt");
    let (_two, two) = prepared(&["mnt"], "mount -t tmpfs two /srv");
    let data = compared(one, two);
    for (path, of) in [("/proc/PID/mountinfo", "mounts"), ("/proc/PID/mounts", "lines")] {
        let row = row(&data, "processes", path, None);
        assert_eq!(row["left"]["count"], row["right"]["count"]);
        assert_eq!((&row["equal"], &row["left"]["count"][1]), (&false.into(), &of.into()));
        let only = |side: &str| row[side].as_array().unwrap_or_else(|| panic!("{row}")).clone();
        assert_eq!((only("only_left").len(), only("only_right").len()), (1, 1), "{row}");
        assert!(only("only_left")[0].as_str().unwrap().contains("/mnt"), "{row}");
        assert!(only("only_right")[0].as_str().unwrap().contains("/srv"), "{row}");
    }
    let row = row(&data, "processes", "/proc/PID/mountinfo", None);
    assert_eq!(row["left"]["without"], serde_json::json!(["mount IDs", "order"]));
    let printed = stdout(&["compare", &one.to_string(), &two.to_string()]);
    let count = row["left"]["count"][0].as_u64().unwrap();
    let line = printed.lines().find(|line| line.contains("/proc/PID/mountinfo  ")).unwrap();
    assert!(line.contains(&format!("!= {count} mounts, 1 only here")), "{printed}");
    assert!(line.contains(&format!("{count} mounts, 1 only there")), "{printed}");
    assert!(printed.contains("Not compared: mount IDs, order (mountinfo)"), "{printed}");
}

#[test]
fn a_copy_of_a_mount_table_is_equal_and_another_option_or_order_is_not() {
    let (_one, one) = prepared(&["mnt"], "mount -t tmpfs one /mnt; mount -t tmpfs two /mnt");
    let (_same, same) = prepared(&["mnt"], "true");
    let (_copy, copy) = prepared(&["mnt"], "true");
    let equal = |left, right, path| row(&compared(left, right), "processes", path, None)["equal"].clone();
    for path in ["/proc/PID/mountinfo", "/proc/PID/mounts"] {
        assert_eq!(equal(same, copy, path), true, "{path}");
    }
    for script in [
        "mount -t tmpfs two /mnt; mount -t tmpfs one /mnt",
        "mount -t tmpfs one /mnt; mount -o ro -t tmpfs two /mnt",
        "mount -t tmpfs one /mnt; mount -t tmpfs two /srv",
    ] {
        let (_other, other) = prepared(&["mnt"], script);
        let data = compared(one, other);
        let row = row(&data, "processes", "/proc/PID/mountinfo", None);
        assert_eq!(
            (&row["left"]["count"], &row["equal"]),
            (&row["right"]["count"], &false.into()),
            "{script}"
        );
    }
}

#[test]
fn two_lists_of_processes_are_not_equal_because_both_have_a_process_1() {
    let (_one, one) = prepared(&["pid"], "true");
    let (_two, two) = prepared(&["pid"], "true");
    let data = compared(one, two);
    let row = row(&data, "paths", "/proc/[0-9]*", None);
    assert_eq!(row["left"]["count"][1], "processes");
    assert_eq!((&row["left"]["count"], &row["equal"]), (&row["right"]["count"], &false.into()));
    assert!(row["only_right"][0].as_str().unwrap().starts_with("1 sleep started "), "{row}");
    // Also the helpers, which have equal PIDs and can start at the same moment.
    let count = row["left"]["count"][0].as_u64().unwrap();
    assert_eq!(row["only_left"].as_array().unwrap().len() as u64, count, "{row}");
    let printed = stdout(&["compare", &one.to_string(), &two.to_string()]);
    // A command that is process 1 does not wait for the helper of the first comparison.
    let all =
        (count..count + 2).any(|count| printed.contains(&format!("{count} processes, {count} only there")));
    assert!(all, "{printed}");
}

#[test]
fn objects_of_ipc_and_sockets_are_compared_one_by_one() {
    if Command::new("ipcmk").arg("-V").output().is_err() {
        skip("objects_of_ipc_and_sockets_are_compared_one_by_one", "ipcmk isn't installed");
    } else {
        let (_one, one) = prepared(&["ipc"], "ipcmk -M 4096 >/dev/null");
        let (_two, two) = prepared(&["ipc"], "ipcmk -M 8192 >/dev/null");
        let data = compared(one, two);
        let row = row(&data, "paths", "/proc/sysvipc/shm", None);
        assert_eq!(row["left"]["count"], serde_json::json!([1, "rows"]));
        assert_eq!((&row["left"]["count"], &row["equal"]), (&row["right"]["count"], &false.into()), "{row}");
    }
    if Command::new("python3").arg("-V").output().is_err() {
        return skip("objects_of_ipc_and_sockets_are_compared_one_by_one", "python3 isn't installed");
    }
    // The socket stays open across the execve of the shell that follows.
    let listener = |port: u16| {
        format!(
            "python3 -c 'import socket,time; s = socket.socket(); s.bind((\"\", {port})); s.listen(); \
             time.sleep(60)' & while ! grep -q ' 0A ' /proc/net/tcp; do sleep 0.05; done"
        )
    };
    let (_one, one) = prepared(&["net"], &listener(8001));
    let (_two, two) = prepared(&["net"], &listener(8002));
    let data = compared(one, two);
    let row = row(&data, "processes", "/proc/PID/net/tcp", None);
    assert_eq!(row["left"]["count"], serde_json::json!([1, "rows"]));
    assert_eq!((&row["right"]["count"], &row["equal"]), (&row["left"]["count"], &false.into()));
    assert!(row["only_left"][0].as_str().unwrap().contains(":1F41"), "{row}");
}

#[test]
fn limits_capabilities_and_user_ids_are_compared_as_a_whole() {
    let shell = |script: &str| {
        let mut child = Command::new("sh");
        let running = Running(child.args(["-c", &format!("{script}; exec sleep 60")]).spawn().unwrap());
        support::becomes(running.0.id(), "sleep");
        let pid = i32::try_from(running.0.id()).unwrap();
        (running, pid)
    };
    let (_one, one) = shell("true");
    // The shell's ulimit has a letter for each: file size, CPU time.
    let (_two, two) = shell("ulimit -f 1000; ulimit -t 1000");
    let data = compared(one, two);
    for name in ["Max file size", "Max cpu time"] {
        assert_eq!(row(&data, "processes", "/proc/PID/limits", Some(name))["equal"], false, "{name}");
    }
    assert_eq!(row(&data, "processes", "/proc/PID/limits", Some("Max open files"))["equal"], true);
    if !is_root() {
        return skip(
            "limits_capabilities_and_user_ids_are_compared_as_a_whole",
            "machine: setpriv needs root",
        );
    }
    let setpriv = |flags: &[&str]| {
        let mut command = Command::new("setpriv");
        let running = Running(command.args(flags).args(["sleep", "60"]).spawn().unwrap());
        support::becomes(running.0.id(), "sleep");
        let pid = i32::try_from(running.0.id()).unwrap();
        (running, pid)
    };
    let (_bound, bound) = setpriv(&["--bounding-set", "-sys_time"]);
    let data = compared(one, bound);
    assert_eq!(row(&data, "processes", "/proc/PID/status", Some("CapBnd:"))["equal"], false);
    let (_effective, effective) = setpriv(&["--euid", "1000"]);
    let data = compared(one, effective);
    let uids = row(&data, "processes", "/proc/PID/status", Some("Uid:"));
    assert_eq!((&uids["left"]["is"], &uids["equal"]), (&"0".into(), &false.into()), "{uids}");
    assert_eq!(uids["right"]["is"], "0 1000 1000 1000");
}

#[test]
fn a_clock_that_is_one_second_ahead_is_not_equal() {
    for (offset, is_equal) in [("+1s", false), ("+0s", true), ("-1s", false)] {
        let output = run(&["time", "--monotonic", offset, "--show-proc", "--format", "json"]);
        if !output.status.success() {
            let what = text(&output.stderr);
            return skip("a_clock_that_is_one_second_ahead_is_not_equal", &format!("machine: {what}"));
        }
        let view: Value = serde_json::from_slice(&output.stdout).unwrap();
        let clock =
            |name: &str| row(&view, "paths", &format!("clock_gettime({name})"), None)["equal"].clone();
        assert_eq!(clock("CLOCK_MONOTONIC"), is_equal, "{offset}");
        assert_eq!(clock("CLOCK_BOOTTIME"), true, "{offset}");
        assert_eq!(clock("CLOCK_REALTIME"), true, "{offset}");
    }
}

#[test]
fn the_view_of_a_feature_says_what_differs_and_fits() {
    let view = stdout(&["mnt", "--tmpfs", "/mnt", "--show-proc"]);
    // In the first form that fits.
    let forms = [" mounts, 1 of them only there\n", " mounts, 1 only there\n", ", 1 only there\n"];
    assert!(forms.iter().any(|form| view.contains(form)), "{view}");
    fits(&view, 80, 24);
    let view: Value =
        serde_json::from_str(&stdout(&["mnt", "--tmpfs", "/mnt", "--show-proc", "--format", "json"]))
            .unwrap();
    let row = row(&view, "paths", "/proc/self/mountinfo", None);
    assert_eq!((&row["only_outside"], row["only_inside"].as_array().unwrap().len()), (&Value::Null, 1));
}

/// The process that started `sandbox` is the test itself here: no shell. With a shell between the two, it is one.
#[test]
fn only_a_shell_is_called_your_shell() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["uts", "--show-proc"][..], &["pid", "--show-proc"]] {
        let view = stdout(arguments);
        assert!(!view.contains("your shell"), "{view}");
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let line = view.lines().find(|line| line.contains("started sandbox")).unwrap();
        assert!(line.contains(own.trim()) && line.contains(&std::process::id().to_string()), "{view}");
    }
    let own = std::process::id().to_string();
    let shells = ["sh", "bash", "dash"].into_iter().filter(|shell| {
        Command::new(shell).args(["-c", "true"]).output().is_ok_and(|output| output.status.success())
    });
    // A program that no list of shells has, with the same behaviour.
    let other = directory.path().join("launcher");
    install("755", Path::new("/bin/sh"), &other);
    for shell in shells.map(str::to_owned).chain([other.to_str().unwrap().to_owned()]) {
        let script = format!("{} uts --show-proc; {0} compare {own}; true", support::binary().display());
        let output = Command::new(&shell).args(["-c", &script]).env("COLUMNS", "80").output().unwrap();
        let printed = text(&output.stdout);
        let count = printed.matches("your shell").count();
        let is_shell = !shell.contains("launcher");
        assert_eq!(count, if is_shell { 2 } else { 0 }, "{shell}: {printed}");
        assert_eq!(printed.contains("launcher"), !is_shell, "{printed}");
    }
}

/// The rows that count others are about both sides: they are not in the columns OUTSIDE and INSIDE.
#[test]
fn a_count_of_rows_is_in_no_column() {
    let spec = support::repository().join("lessons/specs/first.yaml");
    let output = run(&["run", spec.to_str().unwrap(), "--show-proc", "--", "true"]);
    let view = text(&output.stderr);
    let line = |name: &str| view.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{view}"));
    let numbers =
        regex_lite::Regex::new(r"^\s+\(others\)\s+!= \d+ more values differ, \d+ are equal$").unwrap();
    assert!(numbers.is_match(line("(others)")), "{:?} {view}", line("(others)"));
    assert!(line("/proc/self/ns/*").ends_with(" of 8 links differ"), "{view}");
    let narrow = sandbox(&["uts", "--show-proc"]).env("COLUMNS", "40").output().unwrap();
    let narrow = text(&narrow.stdout);
    let links = if is_root() { 7 } else { 6 };
    assert!(narrow.contains(&format!("\n      {links} links equal\n")), "{narrow}");
}
