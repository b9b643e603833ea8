//! Cgroups as the kernel shows them. The tests read the files themselves, not with the code under test.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{run, skip, stdout, text};

/// The five controllers.
pub const FEATURES: [&str; 5] = ["memory", "cpu", "blkio", "devices", "pids"];

/// Returns true if this user may create cgroups of a feature here. If not, the refusal must give the reason.
pub fn is_possible(feature: &str) -> bool {
    let plan = stdout(&[feature, "--dry-run", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    if plan["problems"].as_array().unwrap().is_empty() {
        return true;
    }
    let output = run(&[feature, "--", "true"]);
    assert_eq!(output.status.code(), Some(125), "{feature}");
    let error = text(&output.stderr);
    assert!(error.contains("no cgroup can be created") && error.contains("  why"), "{error}");
    false
}

/// The same. If the user may not, the test is skipped.
pub fn may(test: &str, feature: &str) -> bool {
    let may = is_possible(feature);
    if !may {
        skip(test, "machine: v1 isn't delegated, or v2 without this controller: the other runs hold it");
    }
    may
}

/// The features for which this user may create cgroups here. If there is none, the test is skipped.
pub fn possible(test: &str) -> Vec<&'static str> {
    let possible: Vec<&str> = FEATURES.into_iter().filter(|feature| is_possible(feature)).collect();
    if possible.is_empty() {
        skip(test, "machine: v1 isn't delegated to this user: the other runs hold it");
    }
    possible
}

/// The directory of a process's cgroup, in the controller's v1 hierarchy or else in the v2 hierarchy.
pub fn group(pid: u32, v1: &str) -> PathBuf {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let path = |is_it: &dyn Fn(&str) -> bool| {
        membership.lines().find_map(|line| {
            let (hierarchy, path) = line.rsplit_once(':').unwrap();
            is_it(hierarchy.split_once(':').unwrap().1).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mount = |is_it: &dyn Fn(&str) -> bool| {
        let line = table.lines().find(|line| is_it(line.split_once(" - ").unwrap().1)).unwrap();
        PathBuf::from(line.split(' ').nth(4).unwrap())
    };
    let has = |names: &str| names.split(',').any(|name| name == v1);
    match path(&has) {
        Some(path) => {
            mount(&|words| words.starts_with("cgroup ") && words.split(' ').nth(2).is_some_and(has))
                .join(path)
        }
        None => mount(&|words| words.starts_with("cgroup2 ")).join(path(&|names| names.is_empty()).unwrap()),
    }
}

/// Returns true if the cgroup has cgroup v2 files.
pub fn is_v2(group: &Path) -> bool {
    group.join("cgroup.controllers").exists()
}

/// The content of a cgroup's file.
pub fn says(group: &Path, v1: &str, v2: &str) -> String {
    let file = group.join(if is_v2(group) { v2 } else { v1 });
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

/// Every directory named `sandbox` in any hierarchy that belongs to this user: the tests of another one run at the same time.
pub fn left() -> Vec<PathBuf> {
    let own = nix::unistd::geteuid().as_raw();
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == "sandbox" && entry.metadata().is_ok_and(|found| found.uid() == own) {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// In the virtual machine of scripts/vm, all names are the same on each run.
pub fn is_known_world() -> bool {
    std::env::var_os("SANDBOX_VM").is_some()
}
