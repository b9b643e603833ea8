//! Facts about the cgroups of a process.

use std::path::PathBuf;

use super::data::{CgroupFact, DiskLimit};
use super::fact::FactValue;
use crate::host::disk::Disk;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::file;
use crate::observe::hierarchy::Controller;

/// What is refused where no hierarchy has the controller.
const NO_HIERARCHY: &str = "no hierarchy";

/// A file of the cgroup, or the value of a key in it.
pub(super) fn file_of(process: &str, wanted: &CgroupFact) -> FactValue {
    match path_of(process, wanted.controller, &wanted.v1, &wanted.v2) {
        Some(path) => FactValue::of(file::read_text(path), |content| match &wanted.key {
            Some(key) => value_of(content, key),
            None => FactValue::lines(content),
        }),
        None => FactValue::refused(NO_HIERARCHY),
    }
}

/// The path of a file of the cgroup, which has another name in each version.
fn path_of(process: &str, controller: Controller, v1: &str, v2: &str) -> Option<PathBuf> {
    let cgroup = ProcessCgroup::of(process, controller)?;
    Some(cgroup.directory().join(cgroup.name(v1, v2)))
}

/// The value of a key in a file with lines `KEY VALUE`.
pub(super) fn value_of(content: &str, key: &str) -> FactValue {
    let mut lines = content.lines().filter_map(|line| line.split_once(char::is_whitespace));
    match lines.find(|(known, _)| *known == key) {
        Some((_, value)) => FactValue::words(value),
        None => FactValue::refused("no such key"),
    }
}

/// The quota of CPU time in percent of its period.
pub(super) fn cpu_percent(process: &str) -> FactValue {
    let path = |v1: &str| path_of(process, Controller::Cpu, v1, "cpu.max");
    let Some((quota, period)) = path("cpu.cfs_quota_us").zip(path("cpu.cfs_period_us")) else {
        return FactValue::refused(NO_HIERARCHY);
    };
    // In cgroup v2, both paths are one file, which has both numbers.
    let files = if quota == period { vec![quota] } else { vec![quota, period] };
    let content: std::io::Result<Vec<String>> = files.into_iter().map(file::read_text).collect();
    FactValue::of(content.map(|content| content.join(" ")), percent)
}

/// The percentage of a quota and a period: `30500 50000` is 61.
fn percent(content: &str) -> FactValue {
    let mut words = content.split_whitespace();
    match (words.next(), words.next().and_then(|period| period.parse::<f64>().ok())) {
        // Without a quota, v2 has `max`, and v1 has -1.
        (Some("max" | "-1"), _) => FactValue::one("max"),
        (Some(quota), Some(period)) => match quota.parse::<f64>() {
            // The kernel counts whole microseconds.
            Ok(quota) => FactValue::one(&((quota / period * 10000.0).round() / 100.0).to_string()),
            Err(_) => FactValue::refused("no number"),
        },
        _ => FactValue::refused("no number"),
    }
}

/// The limit on the disk with a file.
pub(super) fn disk_limit(process: &str, on: &str, limit: DiskLimit) -> FactValue {
    let disk = match Disk::find(on) {
        Ok(disk) => disk.to_string(),
        Err(message) => return FactValue::refused(message),
    };
    match path_of(process, Controller::Io, limit.v1(), "io.max") {
        Some(path) => FactValue::of(file::read_text(path), |content| limit_of(content, &disk, limit)),
        None => FactValue::refused(NO_HIERARCHY),
    }
}

/// The limit of one disk in a file with a line for each: `8:0 1048576` in v1, `8:0 rbps=max wbps=1048576` in v2. A disk
/// without a line has none.
fn limit_of(content: &str, disk: &str, limit: DiskLimit) -> FactValue {
    let words: Vec<String> = value_of(content, disk).items;
    let value = |word: &String| match word.split_once('=') {
        Some((key, value)) => (key == limit.key()).then(|| value.to_owned()),
        None => Some(word.clone()),
    };
    FactValue::one(&words.iter().find_map(value).unwrap_or_else(|| "max".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_compared_with_its_period() {
        let percent = |content: &str| percent(content).text();
        assert_eq!(["61000 100000", "30500 50000", "610000 1000000"].map(percent), ["61", "61", "61"]);
        assert_eq!(["61000 1000000", "250000 100000", "333 1000"].map(percent), ["6.1", "250", "33.3"]);
        assert_eq!(
            ["max 100000", "-1\n 100000", "", "x 5"].map(percent),
            ["max", "max", "no number", "no number"]
        );
    }

    #[test]
    fn a_limit_is_that_of_the_disk() {
        let v2 = "8:0 rbps=max wbps=1048576 riops=max wiops=50\n8:16 rbps=5 wbps=6 riops=7 wiops=8\n";
        let limit = |content: &str, disk: &str, limit| limit_of(content, disk, limit).text();
        assert_eq!(limit(v2, "8:0", DiskLimit::Wbps), "1048576");
        assert_eq!([limit(v2, "8:0", DiskLimit::Rbps), limit(v2, "8:16", DiskLimit::Riops)], ["max", "7"]);
        assert_eq!(limit(v2, "8:32", DiskLimit::Wbps), "max");
        let v1 = "8:0 1048576\n8:16 6\n";
        assert_eq!([limit(v1, "8:16", DiskLimit::Wbps), limit("", "8:16", DiskLimit::Wbps)], ["6", "max"]);
    }
}
