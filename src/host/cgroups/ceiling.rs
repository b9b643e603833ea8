//! The limits of the caller that a new cgroup must not exceed, although it is not below the cgroup that has them.
//!
//! The kernel applies the limits of all ancestors. So this is about three other cases: levels of cgroup v2 that cannot
//! have children and are skipped; the controllers of cgroup v1 that do not apply a limit to child cgroups; and files in
//! which the kernel refuses a value above the parent's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Obstacle;
use crate::observe::Unread;
use crate::observe::hierarchy::Controller;
use crate::sys::bpf;

/// One limit of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The cgroup that has the limit.
    pub level: PathBuf,
    /// The controller that enforces it.
    pub controller: Controller,
    /// The name of the file.
    pub file: String,
    /// What the limit is for, in a file with several: a device, `8:0`, or a device and a kind, `8:0 wbps`. Empty in
    /// other files.
    pub key: String,
    /// The value. For `cpu.max` and `cpu.cfs_quota_us`, it is the quota and the period.
    pub value: String,
    /// Whether the limit must be set in the new cgroup, even if the user asks for no value there. Otherwise the kernel
    /// applies it anyway.
    pub is_carried: bool,
}

/// The throttles of cgroup v1. The kernel applies them to the processes of a cgroup, but not to its child cgroups:
/// "the broken flat hierarchy" of block/blk-throttle.c.
const THROTTLES: [&str; 4] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
];

/// The ceilings in a hierarchy of cgroup v1 with the controllers `all`. `levels` are the caller's cgroup, which is the
/// parent of the new one, and its ancestors.
pub(super) fn of_v1(
    all: &[String],
    wanted: &[Controller],
    levels: &[PathBuf],
    unread: &mut Unread,
) -> Vec<Ceiling> {
    let has = |name: &str| all.iter().any(|known| known == name);
    let own = &levels[0];
    let mut found = Vec::new();
    if has("blkio") {
        found.extend(throttles(own, unread));
    }
    // Before Linux 5.11, a memory limit applies to child cgroups only where this file is 1.
    if has("memory") && unread.text(own.join("memory.use_hierarchy")).trim() == "0" {
        for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            let content = unread.text(own.join(file));
            let limit = content.trim().parse::<u64>().ok().filter(|limit| *limit < (1 << 62));
            found.extend(limit.map(|limit| carried(own, Controller::Memory, file, &limit.to_string())));
        }
    }
    // The kernel refuses a quota above that of an ancestor with EINVAL.
    for level in levels.iter().filter(|_| wanted.contains(&Controller::Cpu)) {
        let mut number = |file: &str| unread.text(level.join(file)).trim().parse::<u64>().ok();
        if let (Some(quota), Some(period)) = (number("cpu.cfs_quota_us"), number("cpu.cfs_period_us")) {
            let value = format!("{quota} {period}");
            let ceiling = carried(level, Controller::Cpu, "cpu.cfs_quota_us", &value);
            found.push(Ceiling { is_carried: false, ..ceiling });
        }
    }
    if wanted.contains(&Controller::Cpuset) {
        found.extend(cpus(own, "cpuset.effective_cpus", unread));
    }
    found
}

/// The limits of levels of cgroup v1, the lowest first, which a cgroup elsewhere has to have too. `root` is the root of the
/// hierarchy.
pub(super) fn of_levels_v1(
    all: &[String],
    root: &Path,
    levels: &[PathBuf],
    unread: &mut Unread,
) -> Vec<Ceiling> {
    let has = |name: &str| all.iter().any(|known| known == name);
    let Some(own) = levels.first() else { return Vec::new() };
    let mut found = Vec::new();
    for level in levels {
        let mut number = |file: &str| unread.text(level.join(file)).trim().parse::<u64>().ok();
        if has("memory") {
            for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
                let limit = number(file).filter(|limit| *limit < (1 << 62));
                found.extend(limit.map(|limit| carried(level, Controller::Memory, file, &limit.to_string())));
            }
        }
        if has("pids") {
            let limit = number("pids.max");
            found.extend(limit.map(|limit| carried(level, Controller::Pids, "pids.max", &limit.to_string())));
        }
        if has("cpu")
            && let (Some(quota), Some(period)) = (number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"))
        {
            let value = format!("{quota} {period}");
            found.push(carried(level, Controller::Cpu, "cpu.cfs_quota_us", &value));
        }
    }
    if has("blkio") {
        found.extend(throttles(own, unread));
    }
    if has("cpuset") {
        let [theirs, every] = [own.as_path(), root].map(|level| cpus(level, "cpuset.effective_cpus", unread));
        let is_limit = theirs.as_ref().map(|one| &one.value) != every.as_ref().map(|one| &one.value);
        found.extend(theirs.filter(|_| is_limit).map(|one| Ceiling { is_carried: true, ..one }));
    }
    found
}

/// The throttles of a cgroup of v1.
fn throttles(own: &Path, unread: &mut Unread) -> Vec<Ceiling> {
    let mut found = Vec::new();
    for file in THROTTLES {
        let content = unread.text(own.join(file));
        let lines = content.lines().filter_map(|line| line.split_once(' '));
        found.extend(lines.map(|(device, rate)| Ceiling {
            key: device.to_owned(),
            ..carried(own, Controller::Io, file, rate.trim())
        }));
    }
    found
}

/// The CPUs that a cgroup has. Its children get no others.
pub(super) fn cpus(level: &Path, file: &str, unread: &mut Unread) -> Option<Ceiling> {
    let list = unread.text(level.join(file)).trim().to_owned();
    let ceiling = || carried(level, Controller::Cpuset, "cpuset.cpus", &list);
    (!list.is_empty()).then(|| Ceiling { is_carried: false, ..ceiling() })
}

/// All limits of a skipped level of cgroup v2. Their files end in `.max` or `.high`; those of cpuset are lists.
///
/// # Errors
/// A limit of a controller that `sandbox` does not set, such as hugetlb.
pub(super) fn of_v2(level: &Path, unread: &mut Unread) -> Result<Vec<Ceiling>, Obstacle> {
    let mut found = Vec::new();
    let entries = fs::read_dir(level).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_limit = |name: &String| {
        let is_list = matches!(name.as_str(), "cpuset.cpus" | "cpuset.mems");
        is_list || name.ends_with(".max") || name.ends_with(".high")
    };
    let mut names: Vec<String> =
        names.filter(|name| is_limit(name) && !name.starts_with("cgroup.")).collect();
    names.sort_unstable();
    for file in names {
        let content = unread.text(level.join(&file));
        let limits = limits_in(&file, content.trim());
        let controller = match file.split('.').next() {
            Some("memory") => Controller::Memory,
            Some("pids") => Controller::Pids,
            Some("cpu") if file == "cpu.max" => Controller::Cpu,
            Some("cpuset") => Controller::Cpuset,
            Some("io") => Controller::Io,
            _ if limits.is_empty() => continue,
            _ => return Err(Obstacle::Unliftable(level.to_owned(), file)),
        };
        found.extend(
            limits
                .into_iter()
                .map(|(key, value)| Ceiling { key, ..carried(level, controller, &file, &value) }),
        );
    }
    Ok(found)
}

/// The limits in the content of a file of cgroup v2, each with its key.
fn limits_in(file: &str, content: &str) -> Vec<(String, String)> {
    match file {
        // `max 100000` is no limit.
        "cpu.max" | "cpuset.cpus" | "cpuset.mems" => {
            let is_limit = !content.is_empty() && !content.starts_with("max");
            is_limit.then(|| (String::new(), content.to_owned())).into_iter().collect()
        }
        _ => content.lines().flat_map(limits_in_line).collect(),
    }
}

/// The limits in one line: `65536`, `8:0 rbps=max wbps=1048576`, or `name 10`.
fn limits_in_line(line: &str) -> Vec<(String, String)> {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let pairs = match *rest {
        [] => vec![(String::new(), first)],
        [value] if !value.contains('=') => vec![(first.to_owned(), value)],
        _ => {
            let fields = rest.iter().filter_map(|field| field.split_once('='));
            fields.map(|(name, value)| (format!("{first} {name}"), value)).collect()
        }
    };
    let limits = pairs.into_iter().filter(|(_, value)| *value != "max");
    limits.map(|(key, value)| (key, value.to_owned())).collect()
}

/// Whether a device program is attached to a cgroup of cgroup v2. Only root may ask; others may not attach one either.
pub(super) fn has_program(level: &Path) -> bool {
    File::open(level).is_ok_and(|directory| bpf::query(&directory).is_ok_and(|programs| !programs.is_empty()))
}

fn carried(level: &Path, controller: Controller, file: &str, value: &str) -> Ceiling {
    Ceiling {
        level: level.to_owned(),
        controller,
        file: file.to_owned(),
        key: String::new(),
        value: value.to_owned(),
        is_carried: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_found_in_every_form_of_file() {
        let limits = |file, content| {
            let limits = limits_in(file, content).into_iter();
            limits.map(|(key, value)| format!("{key}|{value}")).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(limits("memory.max", "max"), none);
        assert_eq!(limits("memory.max", "65536"), ["|65536"]);
        assert_eq!(limits("cpu.max", "max 100000"), none);
        assert_eq!(limits("cpu.max", "50000 200000"), ["|50000 200000"]);
        assert_eq!(limits("cpuset.cpus", ""), none);
        assert_eq!(limits("cpuset.cpus", "0-1,3"), ["|0-1,3"]);
        let io = "8:0 rbps=max wbps=1048576 riops=max wiops=20\n8:16 rbps=1 wbps=max riops=max wiops=max";
        assert_eq!(limits("io.max", io), ["8:0 wbps|1048576", "8:0 wiops|20", "8:16 rbps|1"]);
        assert_eq!(limits("misc.max", "sev max\nsev_es 10"), ["sev_es|10"]);
    }
}
