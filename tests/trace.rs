//! Compares the plan with the real calls: strace(1) traces a run, and its state-changing calls must be the plan's
//! calls. Whole containers are in `trace_run.rs`.

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::trace::{self, Traced};
use support::{binary, skip, stdout, text};

/// These calls change something that exists after the call: a process, a namespace, a mount, a name, a device, an ID.
const CHANGING: [&str; 18] = [
    "chdir",
    "chroot",
    "clone",
    "clone3",
    "close_range",
    "execve",
    "fork",
    "ioctl",
    "mount",
    "pivot_root",
    "prctl",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setresgid",
    "setresuid",
    "umount2",
    "unshare",
];

/// The state-changing calls of each process, in order. The first process is `sandbox` itself.
fn traced(arguments: &[&str]) -> Vec<Vec<String>> {
    traced_by(&mut Command::new("strace"), arguments)
}

fn traced_by(strace: &mut Command, arguments: &[&str]) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let output = strace
        .args(["-f", "-s", "4096", "-o"])
        .arg(&file)
        .arg(binary())
        .args(arguments)
        .output()
        .expect("strace can be executed");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    processes(&fs::read_to_string(file).unwrap())
}

fn processes(trace: &str) -> Vec<Vec<String>> {
    let mut calls: HashMap<String, Vec<String>> = HashMap::new();
    let mut opened: HashMap<(String, String), String> = HashMap::new();
    for Traced { pid, call, result } in trace::calls(trace) {
        if let Some(path) = call.strip_prefix("openat(AT_FDCWD, \"").and_then(|words| words.split('"').next())
        {
            let number = result.split_whitespace().next().unwrap_or_default().to_owned();
            opened.insert((pid.clone(), number), path.to_owned());
        }
        if let Some(call) = changing(&pid, &call, &opened) {
            calls.entry(pid).or_default().push(call);
        }
    }
    trace::processes(trace).iter().filter_map(|pid| calls.remove(pid)).collect()
}

/// A state-changing call in the format of a plan. Details that a plan cannot know or omits are removed.
fn changing(pid: &str, call: &str, opened: &HashMap<(String, String), String>) -> Option<String> {
    let name = call.split('(').next()?;
    let strip = |pattern: &str, with: &str, words: &str| {
        regex_lite::Regex::new(pattern).unwrap().replace_all(words, with).into_owned()
    };
    match name {
        "write" => {
            let (number, rest) = call.strip_prefix("write(")?.split_once(", ")?;
            let path =
                opened.get(&(pid.to_owned(), number.to_owned())).filter(|path| path.starts_with("/proc/"))?;
            Some(format!("write(<{path}>, {rest}"))
        }
        "clone3" => {
            let call = strip(r" => \{pidfd=\[\d+\]\}", "", call);
            Some(strip(r", pidfd=0x[0-9a-f]+|, stack=NULL, stack_size=0", "", &call))
        }
        "clone" => Some(strip(r", parent_tid=(\[\d+\]|0x[0-9a-f]+)", "", call)),
        "ioctl" if call.contains("SIOCS") => Some(strip(r"ioctl\(\d+", "ioctl(<socket>", call)),
        "ioctl" => None,
        "execve" => Some(strip(r"0x[0-9a-f]+ /\* \d+ vars \*/", "environ", call)),
        // The init executes no program, so it closes its descriptors with close_range. No other process sees a
        // change.
        "close_range" if call.ends_with(", 0)") => None,
        // The runtime's own calls, for example for names of threads.
        "prctl" if !call.contains("PDEATHSIG") => None,
        name if CHANGING.contains(&name) => Some(call.to_owned()),
        _ => None,
    }
}

/// The state-changing calls of the plan in the same format, for each actor.
fn planned(arguments: &[&str]) -> Vec<Vec<String>> {
    let position = arguments.iter().rposition(|word| *word == "--").unwrap();
    let mut dry = arguments.to_vec();
    dry.splice(position..position, ["--dry-run", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&stdout(&dry)).unwrap();
    let mut actors: Vec<(String, Vec<String>)> = Vec::new();
    for step in plan["steps"].as_array().unwrap() {
        let (actor, call) = (step["actor"].as_str().unwrap(), step["call"]["text"].as_str().unwrap());
        let name = call.split('(').next().unwrap();
        let is_own = name == "prctl" && !call.contains("PDEATHSIG");
        if !CHANGING.contains(&name) && name != "write" || is_own {
            continue;
        }
        // Removes the plan's remarks after the call.
        let call = call.split("  [").next().unwrap();
        match actors.iter_mut().find(|(known, _)| known == actor) {
            Some((_, calls)) => calls.push(call.to_owned()),
            None => actors.push((actor.to_owned(), vec![call.to_owned()])),
        }
    }
    actors.into_iter().map(|(_, calls)| calls).collect()
}

#[test]
fn the_kernel_sees_what_the_plan_says() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("the_kernel_sees_what_the_plan_says", "strace(1) isn't installed");
    }
    // The new root is empty, so the program must be statically linked.
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap().to_owned();
    let source = support::repository().join("benches/nothing.c");
    let compiled = Command::new("cc")
        .args(["-static", "-nostdlib", "-O2", "-o"])
        .arg(directory.path().join("nothing"))
        .arg(source)
        .status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc makes a static program");
    let plans: &[&[&str]] = &[
        &["uts", "-q", "--hostname", "box", "--domainname", "lab", "--", "true"],
        &["pid", "-q", "--", "true"],
        &["pid", "-q", "--init", "--", "true"],
        &["mnt", "-q", "--tmpfs", "/tmp", "--bind", "/etc:/usr/share", "--", "true"],
        &["mnt", "-q", "--root", &root, "--", "/nothing"],
        &["net", "-q", "--", "true"],
        &["ipc", "-q", "--", "true"],
        &["user", "-q", "--", "true"],
        &["user", "-q", "--map", "none", "--", "true"],
        &["user", "-q", "--map-user", "7", "--map-group", "8", "--", "true"],
        &["cgroup", "-q", "--", "true"],
        &["time", "-q", "--boottime", "1h", "--monotonic", "5", "--", "true"],
    ];
    for arguments in plans {
        let mut seen = traced(arguments);
        // The first call is the execve of `sandbox` under strace.
        let first = seen[0].remove(0);
        assert!(first.starts_with("execve("), "{first}");
        seen.retain(|calls| !calls.is_empty());
        assert_eq!(seen, planned(arguments), "{arguments:?}");
    }
}

/// A new network namespace represents the host, so the host gets no bridge. The name of the port differs on each run.
#[test]
fn the_kernel_sees_the_bridge_and_the_relay() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("the_kernel_sees_the_bridge_and_the_relay", "strace(1) isn't installed");
    }
    let named = |calls: Vec<Vec<String>>| -> Vec<Vec<String>> {
        let port = regex_lite::Regex::new("sbx-[0-9a-f]{8}").unwrap();
        let name = |call: &String| port.replace_all(call, "<port>").into_owned();
        calls.iter().map(|calls| calls.iter().map(name).collect()).collect()
    };
    let sandbox = binary();
    let sandbox = sandbox.to_str().unwrap();
    let own = "mount -t tmpfs tmpfs /run; echo 0 > /proc/sys/net/ipv4/ip_forward; exec \"$@\"";
    let outside = ["net", "-q", "--", sandbox, "mnt", "-q", "--", "sh", "-c", own, "sh"];
    let bridge = ["net", "-q", "--mode", "bridge", "-p", "127.0.0.1:0:80", "--", "true"];
    let mut seen = traced_by(Command::new(sandbox).args(outside).arg("strace"), &bridge);
    seen[0].remove(0);
    let undone = seen[0].pop();
    assert_eq!(undone.as_deref(), Some("write(</proc/sys/net/ipv4/ip_forward>, \"0\", 1)"));
    let nested: Vec<&str> = outside.into_iter().chain([sandbox]).chain(bridge).collect();
    assert_eq!(named(seen), named(planned(&nested)));
}

#[test]
fn a_dry_run_changes_nothing() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("a_dry_run_changes_nothing", "strace(1) isn't installed");
    }
    for feature in ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"] {
        let seen = traced(&[feature, "--dry-run", "--", "true"]);
        assert_eq!(seen.concat().len(), 1, "{feature}: {seen:?}");
    }
}
