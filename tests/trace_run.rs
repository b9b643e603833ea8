//! Compares the plan of a whole container with the real calls, as `trace.rs` does for single features.
//!
//! Inputs of the same kind, all below: root and an ordinary user; the host's root filesystem and a directory, as it is and
//! below an overlay; with limits; with masked and read-only paths; with an init; with another user; a spec that only
//! has namespaces; the specs that `spec init` prints.
//!
//! A plan prints some groups of calls as one, and both sides are brought into that form:
//!
//! | in the plan | the calls |
//! |---|---|
//! | `fsmount(<tmpfs size=64m>, …)` | fsopen, fsconfig for each option, fsmount |
//! | `move_mount(<tmpfs ro>, …)` | fsopen, fsconfig, fsmount of a read-only tmpfs, move_mount |
//! | `mount_setattr(<proc/bus>, …)` | open_tree of the path, mount_setattr, move_mount to the same path |
//! | `write(<file>, …)  [O_CREAT\|O_EXCL]` | openat, and write unless it is empty |
//! | `prctl(PR_CAPBSET_DROP, ~[…])` | prctl for each other capability |
//!
//! A masked or read-only path that this machine does not have is skipped. The host's own files in RUN are not part of a
//! plan.

mod support;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use regex_lite::{Captures, Regex};
use support::trace::{self, Traced};
use support::{binary, is_root, repository, skip, stdout, text};

/// The calls that are compared: those that change something that exists after the call.
const COMPARED: [&str; 33] = [
    "capset",
    "chdir",
    "chroot",
    "clone",
    "clone3",
    "close_range",
    "dup2",
    "execve",
    "fchdir",
    "fchown",
    "flock",
    "fsmount",
    "ioctl",
    "mkdir",
    "mkdirat",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "pipe2",
    "pivot_root",
    "prctl",
    "prlimit64",
    "seccomp",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setresgid",
    "setresuid",
    "symlinkat",
    "umount2",
    "unshare",
    "write",
];

fn replace(pattern: &str, with: &str, words: &str) -> String {
    Regex::new(pattern).unwrap().replace_all(words, with).into_owned()
}

/// The text between the quotation marks of a call's first path.
fn path_in(call: &str) -> Option<&str> {
    call.split('"').nth(1)
}

/// What both sides need: the names of cgroups, pointers, and constants differ.
fn general(call: &str) -> String {
    let call = replace("/sandbox/[0-9a-f]{8}\\b", "/sandbox/<cgroup>", call);
    let call = replace(r"0x[0-9a-f]+ /\* \d+ vars \*/|\[/\* \d+ vars \*/\]", "environ", &call);
    let call = replace(r"filter=0x[0-9a-f]+", "filter=<>", &call);
    let call = replace(r"</proc/(\d+|<>)/", "</proc/PID/", &call);
    let call = replace(r"userns_fd=<[^}]*>\}", "userns_fd=<>}", &call);
    let call = call.replace("setgroups(0, [])", "setgroups(0, NULL)").replace("SUID_DUMP_DISABLE", "0");
    let call = replace(r"(PR_SET_MM_MAP), .*", "$1)", &call);
    if let Some(kept) = call.strip_prefix("prctl(PR_CAPBSET_DROP, ~[") {
        let kept: BTreeSet<&str> = kept.trim_end_matches("])").split_whitespace().collect();
        return format!("prctl(PR_CAPBSET_DROP, ~[{}])", kept.into_iter().collect::<Vec<_>>().join(" "));
    }
    // strace of an ordinary user cannot read the memory of an undumpable process.
    if !is_root() && ["execve(", "seccomp("].iter().any(|name| call.starts_with(name)) {
        return call.split('(').next().unwrap().to_owned();
    }
    call
}

/// The compared calls of a plan, for each actor.
fn planned(arguments: &[&str]) -> Vec<Vec<String>> {
    let plan: serde_json::Value =
        serde_json::from_str(&stdout(&[arguments, &["--dry-run", "--format", "json"]].concat())).unwrap();
    let mut actors: Vec<(String, Vec<String>)> = Vec::new();
    for step in plan["steps"].as_array().unwrap() {
        let (actor, call) = (step["actor"].as_str().unwrap(), step["call"]["text"].as_str().unwrap());
        // Removes the plan's remarks after the call.
        let call = call.split("  [").next().unwrap();
        let name = call.split('(').next().unwrap();
        if !COMPARED.contains(&name) || is_missing(call) {
            continue;
        }
        let call = general(&slots(name, call));
        match actors.iter_mut().find(|(known, _)| known == actor) {
            Some((_, calls)) => calls.push(call),
            None => actors.push((actor.to_owned(), vec![call])),
        }
    }
    actors.into_iter().map(|(_, calls)| calls).collect()
}

/// Whether a call masks a path, or makes it read-only, that this machine does not have.
fn is_missing(call: &str) -> bool {
    let target = Regex::new("<((?:proc|sys)/[^>]+)>").unwrap();
    target.captures(call).is_some_and(|found| !Path::new("/").join(&found[1]).exists())
}

/// Replaces a descriptor by the path below it, which strace shows: `<root/etc>` is `<etc>`, and `<root>` is `<>`.
fn slots(name: &str, call: &str) -> String {
    let path = |found: &Captures<'_>| match &found[1] {
        path if path.starts_with('/') && name != "flock" => format!("<{path}>"),
        path if name == "flock" => format!("<{}>", path.rsplit('/').next().unwrap_or_default()),
        path => format!("<{}>", path.split_once('/').map_or("", |(_, below)| below)),
    };
    if name == "fsmount" {
        // The layers of an overlay; not the filesystem's own name.
        return replace("=<[a-z]+>", "=<>", call);
    }
    Regex::new("<([^<>=]*)>").unwrap().replace_all(call, path).into_owned()
}

/// What is known of the descriptors of all processes.
#[derive(Default)]
struct Descriptors {
    /// The path with which each one was opened, relative to the descriptor that openat(2) got.
    paths: HashMap<(String, String), String>,
    /// The filesystem that fsopen(2) and fsconfig(2) describe.
    filesystems: HashMap<(String, String), String>,
}

impl Descriptors {
    fn path(&self, pid: &str, number: &str) -> &str {
        self.paths.get(&(pid.to_owned(), number.to_owned())).map_or("", String::as_str)
    }

    /// Replaces the descriptors in a call, at the places where it has some.
    fn named(&self, pid: &str, call: &str) -> String {
        let places = [
            r"^((?:write|flock|fchdir|mkdirat|mknodat|mount_setattr|move_mount)\()(\d+)\b",
            r#"^(symlinkat\("[^"]*", )(\d+)\b"#,
            r#"^(move_mount\([^,]*, "", )(\d+)\b"#,
        ];
        places.iter().fold(call.to_owned(), |call, place| {
            let name = |found: &Captures<'_>| format!("{}<{}>", &found[1], self.path(pid, &found[2]));
            Regex::new(place).unwrap().replace(&call, name).into_owned()
        })
    }

    /// Notes what a call opens or describes.
    fn note(&mut self, pid: &str, call: &str, result: &str) {
        let (name, words) = call.split_once('(').unwrap_or_default();
        let first = words.split([',', ')']).next().unwrap_or_default();
        let key = |number: &str| (pid.to_owned(), number.to_owned());
        let path = path_in(call).unwrap_or_default();
        match name {
            "openat" | "openat2" if first != "AT_FDCWD" => {
                let above = self.path(pid, first).to_owned();
                let whole = if above.is_empty() { path.to_owned() } else { format!("{above}/{path}") };
                self.paths.insert(key(result), whole.trim_start_matches('/').to_owned());
            }
            // A copy of the mount there.
            "open_tree" if first != "AT_FDCWD" => {
                let above = self.path(pid, first).to_owned();
                self.paths.insert(key(result), above);
            }
            "openat" if call.contains("O_WRONLY") => {
                self.paths.insert(key(result), path.to_owned());
            }
            "fsopen" => {
                self.paths.remove(&key(result));
                self.filesystems.insert(key(result), path.to_owned());
            }
            "fsconfig" if call.contains("_SET_") && path != "source" => {
                let value = call.split('"').nth(3);
                let option = value.map_or(path.to_owned(), |value| format!("{path}={value}"));
                let about = self.filesystems.entry(key(first)).or_default();
                about.push(if about.contains(' ') { ',' } else { ' ' });
                about.push_str(&replace(r"/proc/self/fd/\d+", "<>", &option));
            }
            "close" => drop(self.paths.remove(&key(first))),
            _ => {
                self.paths.remove(&key(result));
            }
        }
    }
}

/// The compared calls that the kernel saw, for each process, up to the command's execve(2).
fn seen(trace: &str) -> Vec<Vec<String>> {
    let order = trace::processes(trace);
    let host = &order[0];
    let mut descriptors = Descriptors::default();
    let mut calls: HashMap<String, Vec<String>> = HashMap::new();
    let mut executed: Vec<String> = Vec::new();
    let mut dropped: HashMap<String, BTreeSet<String>> = HashMap::new();
    for Traced { pid, call, result } in trace::calls(trace) {
        let result = result.split_whitespace().next().unwrap_or_default().to_owned();
        let name = call.split('(').next().unwrap_or_default();
        let has_failed = result.starts_with('-');
        // mkdir(2) of a directory that is there counts as success in a plan.
        if executed.contains(&pid) || has_failed && !name.starts_with("mkdir") {
            continue;
        }
        let list = calls.entry(pid.clone()).or_default();
        let is_empty_file = call.contains("O_CREAT|O_EXCL") && pid != *host;
        let named = match name {
            "execve" if pid != *host => {
                executed.push(pid.clone());
                Some(call.clone())
            }
            "openat" if is_empty_file => {
                descriptors.note(&pid, &call, &result);
                list.push(format!("write(<{}>, \"\", 0)", descriptors.path(&pid, &result)));
                continue;
            }
            "write" => {
                let named = descriptors.named(&pid, &call);
                let file = named.split(", ").next().unwrap_or_default().to_owned();
                if list.last() == Some(&format!("{file}, \"\", 0)")) {
                    list.pop();
                    Some(named)
                } else {
                    Some(named)
                        .filter(|_| file.starts_with("write(</proc/") || file.starts_with("write(</sys/"))
                }
            }
            "fsmount" if call.contains("MOUNT_ATTR_RDONLY") && is_mask(&descriptors, &pid, &call) => None,
            "fsmount" => {
                let number = call[8..].split(',').next().unwrap_or_default().to_owned();
                let filesystem = &descriptors.filesystems[&(pid.clone(), number.clone())];
                Some(call.replacen(&number, &format!("<{filesystem}>"), 1))
            }
            "mount_setattr" => {
                let call = replace(r", attr_clr=0, propagation=0[^}]*, userns_fd=0", "", &call);
                let call =
                    replace(r", attr_clr=0, propagation=0[^}]*, userns_fd=\d+", ", userns_fd=<>", &call);
                Some(descriptors.named(&pid, &call))
            }
            // A path that is mounted on itself.
            "move_mount" => Some(descriptors.named(&pid, &call)).filter(|named| {
                let attributes = named.replace("move_mount(", "mount_setattr(");
                let itself = attributes.split(", \"\"").next().unwrap_or_default();
                itself.ends_with("<>") || list.last().is_none_or(|last| !last.starts_with(itself))
            }),
            "prctl" if call.contains("PR_CAPBSET_DROP") => {
                let capability = replace(r"^.*, |\)", "", &call);
                let all = dropped.entry(pid.clone()).or_default();
                all.insert(capability);
                (all.len() == 1).then(|| "prctl(PR_CAPBSET_DROP".to_owned())
            }
            "prctl" => Some(call.clone()).filter(|call| {
                ["PDEATHSIG", "MM_MAP,", "AMBIENT", "DUMPABLE", "NO_NEW_PRIVS"]
                    .iter()
                    .any(|one| call.contains(one))
            }),
            "flock" => Some(descriptors.named(&pid, &call)).filter(|call| call.contains("LOCK_SH")),
            "mkdirat" if pid == *host => None,
            "prlimit64" => Some(call.clone()).filter(|call| call.ends_with("}, NULL)")),
            "ioctl" if call.contains("SIOCS") => Some(replace(r"ioctl\(\d+", "ioctl(<>", &call)),
            "ioctl" => None,
            "pipe2" => Some(replace(r"\[\d+, \d+\]", "[<>, <>]", &call)),
            "dup2" => Some(replace(r"dup2\(\d+", "dup2(<>", &call)),
            // The init executes no program, so it closes its descriptors. No other process sees a change.
            "close_range" if call.ends_with(", 0)") => None,
            // The number of the new pidfd.
            "clone" => Some(replace(r", parent_tid=(\[\d+\]|0x[0-9a-f]+)", "", &call)),
            "clone3" => {
                let call = replace(r" => \{pidfd=\[\d+\]\}", "", &call);
                Some(replace(r", pidfd=0x[0-9a-f]+|, stack=NULL, stack_size=0", "", &call))
            }
            name if COMPARED.contains(&name) => Some(descriptors.named(&pid, &call)),
            _ => None,
        };
        list.extend(named.filter(|_| !(name == "execve" && pid == *host)).map(|call| general(&call)));
        if !has_failed {
            descriptors.note(&pid, &call, &result);
        }
    }
    for (pid, dropped) in dropped {
        let call =
            calls.get_mut(&pid).unwrap().iter_mut().find(|call| call.contains("CAPBSET_DROP")).unwrap();
        *call = format!("prctl(PR_CAPBSET_DROP, ~[{}])", capabilities_without(&dropped));
    }
    order.iter().filter_map(|pid| calls.remove(pid)).filter(|calls| !calls.is_empty()).collect()
}

/// The read-only tmpfs that hides a directory.
fn is_mask(descriptors: &Descriptors, pid: &str, call: &str) -> bool {
    let number = call[8..].split(',').next().unwrap_or_default().to_owned();
    descriptors.filesystems[&(pid.to_owned(), number)].starts_with("tmpfs")
}

/// The capabilities of this machine, without these.
fn capabilities_without(dropped: &BTreeSet<String>) -> String {
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse::<u8>().unwrap();
    let all = caps::all().into_iter().filter(|one| one.index() <= last).map(|one| one.to_string());
    all.filter(|name| !dropped.contains(name))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs `sandbox run SPEC` under strace, and compares.
fn compare(name: &str, arguments: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let output = Command::new("strace")
        .args(["-f", "-s", "4096", "-o"])
        .arg(&file)
        .arg(binary())
        .args(arguments)
        .current_dir("/")
        .output()
        .expect("strace can be executed");
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    let (seen, planned) = (seen(&fs::read_to_string(file).unwrap()), planned(arguments));
    let lines =
        |calls: &[Vec<String>]| calls.iter().map(|calls| calls.join("\n")).collect::<Vec<_>>().join("\n\n");
    if seen != planned {
        let at = seen.concat().iter().zip(planned.concat()).position(|(seen, planned)| *seen != planned);
        panic!("{name}: call {at:?} differs\nseen:\n{}\n\nplanned:\n{}", lines(&seen), lines(&planned));
    }
}

/// A program that only exits, in the directory. It is static, because there are no libraries.
fn small_root(directory: &Path) {
    let source = repository().join("benches/nothing.c");
    let program = directory.join("nothing");
    let compiled =
        Command::new("cc").args(["-static", "-nostdlib", "-O2", "-o"]).arg(&program).arg(source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc makes a static program");
}

const CONFINED: &str = "capabilities: default\nseccomp: default\nno_new_privileges: true\n";
const NAMESPACES: &str =
    "uts: { hostname: box, domainname: lab }\nipc:\nnet:\ncgroup:\ntime: { boottime: 1h }\n";

#[test]
fn the_kernel_sees_what_the_plan_of_a_container_says() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("the_kernel_sees_what_the_plan_of_a_container_says", "strace(1) isn't installed");
    }
    let _alone = support::alone();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    ["proc", "sys", "dev", "etc"].iter().for_each(|name| fs::create_dir_all(root.join(name)).unwrap());
    small_root(&root);
    let host =
        format!("rootfs: host\nmnt: {{ tmpfs: [/mnt] }}\nrlimits: {{ nofile: 100 }}\n{NAMESPACES}{CONFINED}");
    let bind = "mounts: [{ type: bind, source: /etc, target: /srv, readonly: true }]";
    let own = format!("rootfs: {}\ncommand: [/nothing]\npid:\n", root.display());
    let mut specs = vec![
        ("namespaces alone", "pid:\nuts:\ncommand: [\"true\"]\n".to_owned()),
        ("a directory", format!("{own}uts:\n")),
        ("below an overlay", format!("{own}overlay: true\nnet:\nmnt: {{ tmpfs: [/tmp] }}\n{CONFINED}")),
    ];
    if is_root() {
        let limits = "memory: { limit: 64MiB }\npids: { max: 20 }\ncpu: { cpus: 0.5 }\n";
        let command = "pid:\nrun_as: 1000\ncommand: [\"true\"]\n";
        specs.push(("root, limits, a user", format!("{host}{limits}{command}")));
        specs.push(("root, an init", format!("{host}{limits}pid: {{ init: true }}\ncommand: [\"true\"]\n")));
        let mapped = host.replace("tmpfs: [/mnt]", bind);
        specs.push((
            "root, mapped",
            format!("{mapped}user: {{ map: \"0:100000:1000\" }}\npid:\ncommand: [\"true\"]\n"),
        ));
    } else {
        let command = "user: { map: root }\npid: { init: true }\ncommand: [\"true\"]\n";
        specs.push(("a user, an init", format!("{host}{command}")));
        let bound = host.replace("tmpfs: [/mnt]", bind);
        specs.push((
            "a user, a bind mount",
            format!("{bound}user: {{ map: root }}\npid:\ncommand: [\"true\"]\n"),
        ));
    }
    for (name, spec) in specs {
        let file = directory.path().join("box.yaml");
        fs::write(&file, spec).unwrap();
        compare(name, &["run", "-q", file.to_str().unwrap()]);
    }
}
