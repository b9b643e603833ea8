//! How far a process is confined, as the kernel shows it to a process on the host.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::unistd::Pid;
use regex_lite::Regex;

use crate::support::limits;

/// What the kernel shows: a file or a field of it, and the value. Two starts of one spec have the same values.
pub(crate) type Confinement = BTreeMap<String, String>;

/// The fields of /proc/PID/status that show a process's IDs and privileges.
const STATUS: [&str; 12] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "SigIgn",
];

const LIMITS: [&str; 12] = [
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.max",
    "memory.swap.max",
    "cpu.shares",
    "cpu.weight",
    "cpu.cfs_quota_us",
    "cpu.max",
    "cpuset.cpus",
    "devices.list",
    "pids.max",
    "blkio.weight",
];

/// The confinement of a process that has just executed its command. None if the process was killed meanwhile: the
/// files of a dead process in /proc say nothing about its confinement.
pub(crate) fn of(pid: Pid) -> Option<Confinement> {
    let mut all = Confinement::new();
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let link = |name: &str| {
        let target = fs::read_link(format!("/proc/{pid}/{name}"));
        target.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default()
    };
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        let shown = link(&format!("ns/{kind}"));
        let said = if shown.is_empty() {
            "?"
        } else if Path::new(&shown) == own {
            "outside's"
        } else {
            "its own"
        };
        all.insert(format!("ns/{kind}"), said.into());
    }
    let status = read("status");
    for field in STATUS {
        let said = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        all.insert(format!("status {field}"), said.unwrap_or("?").trim().into());
    }
    for name in ["limits", "uid_map", "gid_map", "setgroups", "timens_offsets", "oom_score_adj"] {
        all.insert(name.into(), read(name));
    }
    all.insert("mountinfo".into(), mounts(&read("mountinfo")));
    all.insert("environ".into(), read("environ").replace('\0', "\n"));
    all.insert("cwd".into(), link("cwd"));
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        // A terminal is marked as deleted once its master is closed, which the host may already have done.
        let file = link(&format!("fd/{number}")).replace(" (deleted)", "");
        // Each pipe has its own number.
        let file = if file.starts_with("pipe:") { "pipe".to_owned() } else { file };
        all.insert(format!("fd/{number}"), file);
    }
    let name = Regex::new("/sandbox/[0-9a-f]{8}").expect("a pattern");
    all.insert("cgroup".into(), name.replace_all(&read("cgroup"), "/sandbox/<group>").into_owned());
    for controller in limits::FEATURES {
        let group = limits::group(pid.as_raw().cast_unsigned(), controller);
        if !name.is_match(&group.to_string_lossy()) {
            continue;
        }
        for file in LIMITS {
            if let Ok(said) = fs::read_to_string(group.join(file)) {
                all.insert(file.into(), said);
            }
        }
    }
    (!is_dying(&read("stat"))).then_some(all)
}

/// Checks the flags in /proc/PID/stat for PF_EXITING of linux/sched.h. A process that no longer exists has no flags.
fn is_dying(stat: &str) -> bool {
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
    flags.is_none_or(|flags| flags & 4 != 0)
}

/// The mount table without its IDs and the names of cgroups, which differ in each run. proc_pid_mountinfo(5)
fn mounts(table: &str) -> String {
    let number = Regex::new(r"(/proc/self/fd/|shared:|master:|/sandbox/)[0-9a-f]+").expect("a pattern");
    let line = |line: &str| {
        let words = line.splitn(4, ' ').nth(3)?;
        Some(number.replace_all(words, "$1N").into_owned() + "\n")
    };
    table.lines().filter_map(line).collect()
}

/// The differences between what was requested and what is there.
pub(crate) fn differences(asked: &Confinement, shown: &Confinement) -> Vec<String> {
    let names = asked.keys().chain(shown.keys().filter(|name| !asked.contains_key(*name)));
    names
        .filter(|name| asked.get(*name) != shown.get(*name))
        .map(|name| format!("{name}: {:?} instead of {:?}", shown.get(name), asked.get(name)))
        .collect()
}
