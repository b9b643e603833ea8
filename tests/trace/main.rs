//! Compares plans with what the kernel saw: strace(1) traces a run. Each call of the plan must have been made, with these
//! arguments, and in this order for each process. The kernel must have seen no other call that changes something.
//!
//! Inputs of the same kind: each feature by itself; whole containers of root and of an ordinary user, with the root
//! filesystem of the host, of a directory, and of one below an overlay; with and without a user namespace, a bridge,
//! published ports, an init, a terminal, another user, limits, and each restriction.
//!
//! | file | what |
//! |---|---|
//! | `strace` | runs strace, and reads its output |
//! | `kernel` | the calls that the kernel saw, in the form of a plan; and those that no plan is about |
//! | `netlink` | the messages among them |
//! | `plan` | the calls of a plan |

mod kernel;
mod netlink;
mod plan;
mod strace;
#[path = "../support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use plan::{Planned, Process};
use regex_lite::Regex;
use strace::Threads;
use support::running::Running;
use support::{binary, held, is_root, repository, sample, skip, text};

/// A call, in the form in which both sides have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) text: String,
    /// Whether the other side must have it. If not: a plan has a call that is made only if a file exists; the kernel saw
    /// a directory being opened, maybe only to be looked at.
    pub(crate) must: bool,
}

impl Item {
    pub(crate) fn must(text: &str) -> Item {
        Item { text: text.to_owned(), must: true }
    }
}

/// A regular expression. Each is compiled once.
pub(crate) fn pattern(text: &str) -> Regex {
    thread_local!(static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        known.entry(text.to_owned()).or_insert_with(|| Regex::new(text).expect("a pattern")).clone()
    })
}

pub(crate) fn replace(of: &str, with: &str, words: &str) -> String {
    pattern(of).replace_all(words, with).into_owned()
}

/// What differs from run to run, or between strace and a plan: names, numbers, pointers, and the names of constants.
pub(crate) fn general(call: &str) -> String {
    let call = replace("/sandbox/[0-9a-f]{8}\\b", "/sandbox/<cgroup>", call);
    let call = replace(r"0x[0-9a-f]+ /\* \d+ vars \*/|\[/\* \d+ vars \*/\]", "environ", &call);
    let call = replace(r"(filter|insns)=(0x[0-9a-f]+|<>)", "$1=<>", &call);
    let call = replace(r"<proc/\d+/", "<proc/PID/", &call);
    let call = replace(r"userns_fd=<[^}]*>\}", "userns_fd=<>}", &call);
    let call = replace(r"/proc/self/fd/\d+", "<>", &call);
    let call = call.replace("setgroups(0, [])", "setgroups(0, NULL)").replace("SUID_DUMP_DISABLE", "0");
    let call = call.replace(", IPPROTO_IP)", ", 0)").replace("|0x10)", "|MFD_EXEC)");
    let call = replace("7362782d[0-9a-f]{16}|sbx-n?[0-9a-f]{8}", "<port>", &call);
    let call = replace(r"10\.111\.\d+\.\d+/30", "<pair>/30", &call).replace("|O_LARGEFILE", "");
    let call = call.replace("TIOCGPTPEER, 0x80102", "TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC");
    let call = replace(r"TIOCSWINSZ, (\{[^}]*\}|<>)", "TIOCSWINSZ, <>", &call);
    let call = replace("bridge-[0-9]+", "bridge-<netns>", &call);
    let call = replace(r"(PR_SET_MM_MAP), .*", "$1)", &call);
    if let Some(kept) = call.strip_prefix("prctl(PR_CAPBSET_DROP, ~[") {
        let mut kept: Vec<&str> = kept.trim_end_matches("])").split_whitespace().collect();
        kept.sort_unstable();
        return format!("prctl(PR_CAPBSET_DROP, ~[{}])", kept.join(" "));
    }
    call
}

/// Whether both are the same call. Of an undumpable process, strace of an ordinary user cannot read the memory: it prints
/// only pointers.
fn is_same(seen: &str, planned: &str) -> bool {
    let name = |call: &str| call.split('(').next().unwrap_or_default().to_owned();
    let is_unread = || !is_root() && pattern(r"[(, ]0x[0-9a-f]{9,}[,)]").is_match(seen);
    seen == planned || name(seen) == name(planned) && is_unread()
}

/// The calls that the kernel saw and the plan does not have, and those that only the plan has. Each of the first with the
/// number of calls of the plan that had not been made by then.
fn differences(seen: &[Item], planned: &[Item]) -> (Vec<(String, usize)>, Vec<String>) {
    let (mut next, mut extra, mut missing) = (0, Vec::new(), Vec::new());
    for call in seen {
        // A call that need not be made may be left out.
        let last = planned[next..].iter().position(|one| one.must).map_or(planned.len(), |at| next + at + 1);
        match planned[next..last].iter().position(|one| is_same(&call.text, &one.text)) {
            Some(at) => next += at + 1,
            None if call.must => {
                extra.push((call.text.clone(), planned[next..].iter().filter(|one| one.must).count()));
            }
            None => {}
        }
    }
    missing.extend(planned[next..].iter().filter(|one| one.must).map(|one| one.text.clone()));
    (extra, missing)
}

/// What a process may do after the last call of its plan, for which no step is responsible.
fn is_afterwards(process: &Process, planned: &Planned, call: &str) -> bool {
    match process.actor.as_str() {
        // The terminal of the command gets the size of the user's again whenever that changes. Bytes are carried.
        "host" => {
            let is_carried = ["ioctl(<>, TIOCSWINSZ, ", "splice("].iter().any(|name| call.starts_with(name));
            is_carried || planned.undo.iter().any(|undo| undo == call)
        }
        // An init closes its descriptors, and leaves the process group of the command.
        "child" => call.starts_with("close_range(") || call == "setpgid(0, 0)",
        // It closes what it does not need, and may have as many connections as it is allowed to.
        "relay" => call.starts_with("close_range(") || call.starts_with("prlimit64(0, RLIMIT_NOFILE, "),
        _ => false,
    }
}

/// Runs `sandbox` under strace, and compares. The launcher's words come before strace, and before `sandbox` for the plan.
fn compare(name: &str, launcher: &[&str], arguments: &[&str]) -> String {
    let command = |last: &[&str]| {
        let words: Vec<&str> = launcher.iter().chain(last).copied().collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir("/");
        command
    };
    let (seen, address) = kernel::seen(&strace::trace(command(&["strace"]), arguments));
    let own = binary();
    // Behind the subcommand: what follows the name of a container is the command.
    let mut dry = arguments.to_vec();
    dry.splice(1..1, ["--dry-run", "--format", "json"]);
    let output = command(&[own.to_str().unwrap()]).args(dry).output().unwrap();
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    compare_calls(name, &seen, &Planned::read(&text(&output.stdout), address))
}

/// Compares the calls of each process.
fn compare_calls(name: &str, seen: &[Vec<Item>], planned: &Planned) -> String {
    let lines = |calls: &[Item]| calls.iter().map(|call| format!("    {}\n", call.text)).collect::<String>();
    let actors: Vec<&str> = planned.processes.iter().map(|process| process.actor.as_str()).collect();
    if seen.len() != actors.len() {
        return format!("{name}: the processes are {actors:?}, seen: {seen:#?}\n");
    }
    // Which process appears first is a matter of chance. Each has the list of calls that differs least.
    let mut rest: Vec<&Vec<Item>> = seen.iter().collect();
    let mut report = String::new();
    for process in &planned.processes {
        let found = |seen: &[Item]| {
            let (mut extra, missing) = differences(seen, &process.calls);
            extra.retain(|(call, left)| *left > 0 || !is_afterwards(process, planned, call));
            (extra, missing)
        };
        let nearest = (0..rest.len()).min_by_key(|at| {
            let (extra, missing) = found(rest[*at]);
            extra.len() + missing.len()
        });
        let seen = rest.remove(nearest.expect("as many processes as actors"));
        let (extra, missing) = found(seen);
        let (first, lost) = (extra.first(), missing.first());
        if first.is_some() || lost.is_some() {
            let (seen, planned) = (lines(seen), lines(&process.calls));
            report.push_str(&format!(
                "{name}, {}: only seen: {first:?}\nonly planned: {lost:?}\nseen:\n{seen}planned:\n{planned}",
                process.actor
            ));
        }
    }
    report
}

/// A program that only exits, in the directory. It is static, because there are no libraries.
fn small_root(directory: &Path) {
    ["proc", "sys", "dev", "etc", "tmp"]
        .iter()
        .for_each(|name| fs::create_dir_all(directory.join(name)).unwrap());
    let source = repository().join("benches/nothing.c");
    let program = directory.join("nothing");
    let compiled =
        Command::new("cc").args(["-static", "-nostdlib", "-O2", "-o"]).arg(&program).arg(source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc makes a static program");
}

#[test]
fn the_kernel_sees_what_the_plan_of_a_feature_says() {
    if let Some(reason) = strace::missing() {
        return skip("the_kernel_sees_what_the_plan_of_a_feature_says", reason);
    }
    let _alone = support::alone();
    let directory = tempfile::tempdir().unwrap();
    small_root(directory.path());
    let root = directory.path().to_str().unwrap();
    let plans: &[&[&str]] = &[
        &["uts", "-q", "--hostname", "box", "--domainname", "lab", "--", "true"],
        &["pid", "-q", "--", "true"],
        &["pid", "-q", "--init", "--", "true"],
        &["mnt", "-q", "--tmpfs", "/tmp", "--bind", "/etc:/usr/share", "--", "true"],
        &["mnt", "-q", "--root", root, "--", "/nothing"],
        &["net", "-q", "--", "true"],
        &["ipc", "-q", "--", "true"],
        &["user", "-q", "--", "true"],
        &["user", "-q", "--map", "none", "--", "true"],
        &["user", "-q", "--map-user", "7", "--map-group", "8", "--", "true"],
        &["cgroup", "-q", "--", "true"],
        &["time", "-q", "--boottime", "1h", "--monotonic", "5", "--", "true"],
    ];
    let report = |arguments: &&[&str]| compare(&arguments.join(" "), &[], arguments);
    let reports: String = sample(3, plans).into_iter().map(report).collect();
    assert!(reports.is_empty(), "{reports}");
}

const CONFINED: &str = "capabilities: default\nseccomp: default\nno_new_privileges: true\n";
const NAMESPACES: &str =
    "uts: { hostname: box, domainname: lab }\nipc:\nnet:\ncgroup:\ntime: { boottime: 1h }\n";
const LIMITS: &str = "memory: { limit: 64MiB }\npids: { max: 20 }\ncpu: { cpus: 0.5 }\n\
                      devices: { allow: ['/dev/null rw'] }\n";

/// Specs of whole containers, each with a name. `root` is a directory with a program `/nothing`.
fn containers(root: &str) -> Vec<(&'static str, String)> {
    let host = format!("rootfs: host\nrlimits: {{ nofile: 100 }}\n{NAMESPACES}");
    let tmpfs = "mnt: { tmpfs: [/mnt] }\n";
    let bind =
        "mnt: { mounts: [{ type: bind, source: /etc, target: /srv, readonly: true }], readonly: true }\n";
    let own = format!("rootfs: {root}\npid:\ncommand: [/nothing]\n");
    let command = "pid:\ncommand: ['true']\n";
    let init = "pid: { init: true }\ncommand: ['true']\n";
    let publish = "net: { publish: ['127.0.0.1:0:80', '[::]:0:81', '127.0.0.1:0:53/udp'] }\n";
    let hidden = host.replace("net:\n", "");
    let mut all = vec![
        ("namespaces alone", format!("uts:\n{command}")),
        ("a directory", format!("{own}uts:\n")),
        ("a directory, published", format!("{own}{publish}")),
        ("below an overlay", format!("{own}overlay: true\nnet:\n{tmpfs}{CONFINED}")),
    ];
    if is_root() {
        let user = "run_as: 1000\n";
        let mapped = "user: { map: '0:100000:1000' }\n";
        all.extend([
            ("limits, a user", format!("{host}{tmpfs}{CONFINED}{LIMITS}{user}{command}")),
            ("privileges, a user", format!("{host}{tmpfs}seccomp: default\n{user}{command}")),
            ("limits, an init", format!("{host}{tmpfs}{CONFINED}{LIMITS}{init}")),
            ("mapped, a bind mount", format!("{host}{bind}{CONFINED}{mapped}{command}")),
            ("mapped, published", format!("{hidden}{publish}{CONFINED}{mapped}{init}")),
            ("a terminal", format!("{host}{CONFINED}{user}tty: true\n{command}")),
        ]);
    } else {
        let user = "user: { map: root }\n";
        all.extend([
            ("an init", format!("{host}{tmpfs}{CONFINED}{user}{init}")),
            ("a bind mount", format!("{host}{bind}{CONFINED}{user}{command}")),
            ("published", format!("{hidden}{publish}{CONFINED}{user}{init}")),
            ("privileges", format!("{host}seccomp: default\n{user}{command}")),
            ("a terminal", format!("{host}{CONFINED}{user}tty: true\n{command}")),
        ]);
    }
    all
}

/// Runs its arguments where only cgroup v2 is mounted.
const CGROUP2: [&str; 8] = [
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    "grep ' - cgroup ' /proc/self/mountinfo | cut -d ' ' -f 5 | xargs -r umount; exec \"$@\"",
    "sh",
];

#[test]
fn the_kernel_sees_what_the_plan_of_a_container_says() {
    if let Some(reason) = strace::missing() {
        return skip("the_kernel_sees_what_the_plan_of_a_container_says", reason);
    }
    let _alone = support::alone();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    small_root(&root);
    let report = |(name, launcher, spec): (&str, &[&str], String)| {
        let file = directory.path().join("box.yaml");
        fs::write(&file, spec).unwrap();
        compare(name, launcher, &["run", "-q", file.to_str().unwrap()])
    };
    let mut runs: Vec<(&str, &[&str], String)> = Vec::new();
    runs.extend(containers(root.to_str().unwrap()).into_iter().map(|(name, spec)| (name, &[][..], spec)));
    let without = ["perl", "-e", support::WITHOUT_MM_MAP];
    if is_root() {
        runs.push(("a sealed copy", &without, "pid:\nuts:\ncommand: ['true']\n".to_owned()));
        if fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ") {
            let devices = "pid:\ndevices: { allow: ['/dev/null rw'] }\ncommand: ['true']\n";
            runs.push(("a device program", &CGROUP2, devices.to_owned()));
        }
    }
    let reports: String = sample(3, runs).into_iter().map(report).collect();
    assert!(reports.is_empty(), "{reports}");
}

/// A new network namespace represents the host, so the host gets no bridge.
#[test]
fn the_kernel_sees_the_bridge_the_rules_and_the_relay() {
    if let Some(reason) = strace::missing() {
        return skip("the_kernel_sees_the_bridge_the_rules_and_the_relay", reason);
    }
    let _alone = support::alone();
    let sandbox = binary();
    let sandbox = sandbox.to_str().unwrap();
    let own = "mount -t tmpfs tmpfs /run; echo 0 > /proc/sys/net/ipv4/ip_forward; exec \"$@\"";
    let launcher = [sandbox, "net", "-q", "--", sandbox, "mnt", "-q", "--", "sh", "-c", own, "sh"];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("box.yaml");
    let net = "net: { mode: bridge, publish: ['127.0.0.1:0:80'] }";
    fs::write(&file, format!("rootfs: host\n{net}\n{CONFINED}pid: {{ init: true }}\ncommand: ['true']\n"))
        .unwrap();
    let runs: [&[&str]; 3] = [
        &["net", "-q", "--mode", "bridge", "-p", "127.0.0.1:0:80", "--", "true"],
        &["net", "-q", "--veth", "--", "true"],
        &["run", "-q", file.to_str().unwrap()],
    ];
    let report = |arguments: &[&str]| compare(&arguments.join(" "), &launcher, arguments);
    let reports: String = runs.into_iter().map(report).collect();
    assert!(reports.is_empty(), "{reports}");
}

/// A process that joins the namespaces of another one.
#[test]
fn the_kernel_sees_what_the_plan_of_joins_says() {
    if let Some(reason) = strace::missing() {
        return skip("the_kernel_sees_what_the_plan_of_joins_says", reason);
    }
    let _alone = support::alone();
    let container = Running::of(&format!("uts:\npid:\nnet:\n{CONFINED}"), "");
    let inside = container.pid.to_string();
    let mut report = compare("enter", &[], &["enter", &inside, "-q", "--", "true"]);
    // By path and by the container's name: `run` with some of its namespaces.
    let spec = format!(
        "uts: {{ join: /proc/{inside}/ns/uts }}\npid: {{ join: 'container:{}' }}\nipc: {{ join: host }}\n\
         cgroup:\ncommand: ['true']\n",
        container.name
    );
    let file = container.directory.path().join("joins.yaml");
    fs::write(&file, spec).unwrap();
    if is_root() {
        report += &compare("joins", &[], &["run", "-q", file.to_str().unwrap()]);
    }
    // A further process, with each kind of streams.
    let name = &*container.name;
    for flags in [&["exec"][..], &["exec", "-t"], &["exec", "-i", "-u", "0", "-w", "/tmp"]] {
        report += &compare(&flags.join(" "), &[], &[flags, &[name, "true"]].concat());
    }
    assert!(report.is_empty(), "{report}");
}

/// It is no test: the container that waits is made by it.
#[test]
fn another_process() {
    held::make();
}

/// A container that one process makes, and another one releases.
#[test]
fn the_kernel_sees_what_the_plan_of_a_container_that_waits_says() {
    if let Some(reason) = strace::missing() {
        return skip("the_kernel_sees_what_the_plan_of_a_container_that_waits_says", reason);
    }
    let _alone = support::alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let spec = format!("rootfs: host\n{NAMESPACES}{CONFINED}pid: {{ init: true }}\ncommand: [/bin/true]\n");
    let command = |program: &Path| {
        let mut command = Command::new(program);
        held::tell(&mut command, &spec, &path);
        command.current_dir("/");
        command
    };
    // The release is there before the command waits for it.
    let mut fifo = File::options().read(true).write(true).open(&path).unwrap();
    fifo.write_all(b".").unwrap();
    let own = std::env::current_exe().unwrap();
    let launcher = command(Path::new("strace"));
    let trace = strace::trace_program(launcher, &own, &held::ARGUMENTS, Threads::OfProcess);
    let (seen, address) = kernel::seen(&trace);
    let output = command(&own).args(held::ARGUMENTS).env(held::DRY, "1").output().unwrap();
    let shown = text(&output.stdout);
    let plan = shown.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{shown}"));
    let report = compare_calls("made, then released", &seen, &Planned::read(plan, address));
    assert!(report.is_empty(), "{report}");
}

#[test]
fn a_dry_run_changes_nothing() {
    if let Some(reason) = strace::missing() {
        return skip("a_dry_run_changes_nothing", reason);
    }
    for feature in ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"] {
        let trace = strace::trace(Command::new("strace"), &[feature, "--dry-run", "--", "true"]);
        let (seen, _) = kernel::seen(&trace);
        assert!(seen.is_empty(), "{feature}: {seen:#?}");
    }
}

/// A comparison that finds nothing would prove nothing.
#[test]
fn a_call_that_only_one_side_has_is_found() {
    let must = |names: &[&str]| names.iter().map(|name| Item::must(name)).collect::<Vec<_>>();
    let found = |seen: &[&str], planned: &[&str]| {
        let (extra, missing) = differences(&must(seen), &must(planned));
        (extra.into_iter().map(|(call, _)| call).collect::<Vec<_>>(), missing)
    };
    let none = (Vec::new(), Vec::new());
    assert_eq!(found(&["a()", "b()"], &["a()", "b()"]), none);
    assert_eq!(found(&["a()", "c()", "b()"], &["a()", "b()"]), (vec!["c()".to_owned()], Vec::new()));
    assert_eq!(found(&["a()"], &["a()", "b()"]), (Vec::new(), vec!["b()".to_owned()]));
    assert_eq!(found(&["b()", "a()"], &["a()", "b()"]), (vec!["b()".to_owned()], vec!["b()".to_owned()]));
    // A call that need not be made.
    let planned = [Item { text: "x()".into(), must: false }, Item::must("a()")];
    assert_eq!(differences(&must(&["a()"]), &planned), (Vec::new(), Vec::new()));
    assert_eq!(differences(&must(&["x()", "a()"]), &planned), (Vec::new(), Vec::new()));
}
