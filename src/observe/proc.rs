//! Readers of /proc, /sys and a few files beside: each returns a value with the file it came from, and none fails —
//! what can't be read says why.

use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;

use nix::time::{ClockId, clock_gettime};
use procfs::FromBufRead;
use procfs::process::{MountInfo, MountInfos};

use super::{Observation, Value};
use crate::feature::Feature;

fn seen(path: &str, value: Value) -> Observation {
    Observation { path: path.to_owned(), field: None, value }
}

/// A reason that fits a cell: the kernel's own word.
pub(crate) fn refusal(error: &io::Error) -> Value {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Value::Not("no such file".into()),
        Some(number) => Value::Not(format!("{:?}", nix::errno::Errno::from_raw(number))),
        None => Value::Not(error.to_string()),
    }
}

/// The target of a link.
pub fn link(path: &str) -> Observation {
    seen(path, link_value(path))
}

fn link_value(path: &str) -> Value {
    match std::fs::read_link(path) {
        Ok(target) => Value::Is(target.to_string_lossy().into_owned()),
        Err(error) => refusal(&error),
    }
}

/// The namespace of a process, as `/proc/PID/ns/*` names it: `uts:[4026531838]`. `process` is `/proc/self` or `/proc/PID`.
pub fn namespace(process: &str, feature: Feature) -> Value {
    link_value(&format!("{process}/ns/{feature}"))
}

/// The whole of a short file, its lines joined by ` | `, runs of blanks as one.
pub fn file(path: &str) -> Observation {
    let value = match std::fs::read_to_string(path) {
        Ok(content) => {
            let lines = content.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            let joined = lines.collect::<Vec<_>>().join(" | ");
            Value::Is(if joined.is_empty() { "(empty)".into() } else { joined })
        }
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// The first word of a file.
pub fn first_word(path: &str) -> Observation {
    let value = match std::fs::read_to_string(path) {
        Ok(content) => Value::Is(content.split_whitespace().next().unwrap_or("(empty)").to_owned()),
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// How many lines a file has.
pub fn lines(path: &str) -> Observation {
    counted(path, 0, "lines")
}

/// How many lines a table has below its heading.
pub fn rows(path: &str) -> Observation {
    counted(path, 1, "rows")
}

fn counted(path: &str, heading: usize, of: &str) -> Observation {
    let value = match std::fs::read_to_string(path) {
        Ok(content) => Value::Count(content.lines().count().saturating_sub(heading), of.to_owned()),
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// How many entries a folder has.
pub fn entries(path: &str, of: &str) -> Observation {
    let value = match std::fs::read_dir(path) {
        Ok(entries) => Value::Count(entries.count(), of.to_owned()),
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// One field of a status file: the words behind `NSpid:`. Of `Uid:` and `Gid:` only the first number, the real id.
pub fn status(path: &str, field: &str) -> Observation {
    let value = match std::fs::read_to_string(path) {
        Ok(content) => {
            match status_of(&content, field).map(|words| words.split_whitespace().collect::<Vec<_>>()) {
                Some(ids) if matches!(field, "Uid" | "Gid") => {
                    Value::Is(ids.first().copied().unwrap_or("").to_owned())
                }
                Some(words) => Value::Is(words.join(" ")),
                None => Value::Not("no such field".into()),
            }
        }
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some(format!("{field}:")), value }
}

/// What stands behind `NAME:` in the words of a status file.
pub(crate) fn status_of<'a>(content: &'a str, name: &str) -> Option<&'a str> {
    let first = content.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    // Not line by line: the file is long, and is asked for many of its fields.
    let words = first.or_else(|| Some(content.split_once(&["\n", name, ":"].concat())?.1))?;
    words.lines().next().map(str::trim)
}

/// One line of a file of such lines: `MemTotal:       16290436 kB`.
pub fn field(path: &str, field: &str) -> Observation {
    let value = match std::fs::read_to_string(path) {
        Ok(content) => match status_of(&content, field) {
            Some(words) => Value::Is(words.to_owned()),
            None => Value::Not("no such field".into()),
        },
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some(format!("{field}:")), value }
}

/// One line of /proc/PID/limits: `SOFT:HARD`. Its columns are as wide as the kernel prints them, the name first.
pub fn limit(path: &str, name: &str) -> Observation {
    let value = match std::fs::read_to_string(path) {
        Ok(content) => match content.lines().find_map(|line| line.strip_prefix(name)) {
            Some(line) => {
                let words: Vec<&str> = line.split_whitespace().take(2).collect();
                Value::Is(words.join(":"))
            }
            None => Value::Not("no such field".into()),
        },
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some(name.to_owned()), value }
}

/// How many processes /proc lists.
pub fn processes() -> Observation {
    let value = match std::fs::read_dir("/proc") {
        Ok(entries) => {
            let numbers = entries.flatten().filter(|entry| {
                entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
            });
            Value::Count(numbers.count(), "processes".into())
        }
        Err(error) => refusal(&error),
    };
    seen("/proc/[0-9]*", value)
}

/// Who owns a file.
pub fn owner(path: &str) -> Observation {
    let value = match std::fs::metadata(path) {
        Ok(metadata) => Value::Is(metadata.uid().to_string()),
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some("owner".into()), value }
}

/// How many mounts the mount table of a process has.
pub fn mounts(process: &str) -> Observation {
    let path = format!("{process}/mountinfo");
    let value = match mount_table(&path) {
        Ok(mounts) => Value::Count(mounts.len(), "mounts".into()),
        Err(why) => why,
    };
    seen(&path, value)
}

/// How the mount at `target` of a process propagates: the tags of its mountinfo.
pub fn propagation(process: &str, target: &str) -> Observation {
    let path = format!("{process}/mountinfo");
    let value = match mount_table(&path) {
        Ok(mounts) => match mounts.iter().rev().find(|mount| mount.mount_point.as_os_str() == target) {
            Some(mount) if mount.opt_fields.is_empty() => Value::Is("private".into()),
            Some(mount) => Value::Is(format!("{:?}", mount.opt_fields).to_lowercase()),
            None => Value::Not("not a mount point".into()),
        },
        Err(why) => why,
    };
    Observation { path, field: Some(target.to_owned()), value }
}

fn mount_table(path: &str) -> Result<Vec<MountInfo>, Value> {
    let file = std::fs::File::open(path).map_err(|error| refusal(&error))?;
    let mounts = MountInfos::from_buf_read(BufReader::new(file));
    mounts.map(|mounts| mounts.0).map_err(|error| Value::Not(error.to_string()))
}

/// The network devices of a process's namespace, by name.
pub fn devices(process: &str) -> Observation {
    part(format!("{process}/net/dev"), device_names)
}

/// The names in a table of devices: below two lines of headings, up to the colon.
pub fn device_names(table: &str) -> String {
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.collect::<Vec<_>>().join(" ")
}

/// The IPv4 addresses of a process's namespace: fib_trie is the kernel's only file that has them in words.
pub fn addresses(process: &str) -> Observation {
    part(format!("{process}/net/fib_trie"), local_addresses)
}

/// The local addresses of a fib_trie: a leaf `|-- ADDRESS`, and below it `/32 host LOCAL`.
pub fn local_addresses(trie: &str) -> String {
    let (mut found, mut leaf) = (Vec::new(), "");
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address;
        } else if line == "/32 host LOCAL" && !found.contains(&leaf) {
            found.push(leaf);
        }
    }
    if found.is_empty() { "(none)".into() } else { found.join(" ") }
}

/// What `part` makes of a file.
fn part(path: String, part: impl Fn(&str) -> String) -> Observation {
    let value = match std::fs::read_to_string(&path) {
        Ok(content) => Value::Is(part(&content)),
        Err(error) => refusal(&error),
    };
    seen(&path, value)
}

/// The cgroup of a process in each hierarchy, one observation a line of its cgroup file.
pub fn cgroups(process: &str) -> Vec<Observation> {
    let file = format!("{process}/cgroup");
    match std::fs::read_to_string(&file) {
        Ok(content) => cgroups_in(&file, &content),
        Err(error) => vec![seen(&file, refusal(&error))],
    }
}

/// The same, where `content` is what `file` said.
pub(crate) fn cgroups_in(file: &str, content: &str) -> Vec<Observation> {
    let hierarchy = |line: &str| {
        let (hierarchy, path) = line.rsplit_once(':')?;
        let field = Some(hierarchy.split_once(':')?.1).filter(|name| !name.is_empty()).unwrap_or("v2");
        let value = Value::Is(path.to_owned());
        Some(Observation { path: file.to_owned(), field: Some(field.to_owned()), value })
    };
    content.lines().filter_map(hierarchy).collect()
}

fn clock(name: &str, id: ClockId) -> Observation {
    let value = match clock_gettime(id) {
        Ok(time) => Value::Is(format!("{} s", time.tv_sec())),
        Err(errno) => Value::Not(format!("{errno:?}")),
    };
    seen(&format!("clock_gettime({name})"), value)
}

/// Seconds since boot, sleep included, as the caller's time namespace has it.
pub fn clock_boottime() -> Observation {
    clock("CLOCK_BOOTTIME", ClockId::CLOCK_BOOTTIME)
}

/// Seconds since some point, as the caller's time namespace has it.
pub fn clock_monotonic() -> Observation {
    clock("CLOCK_MONOTONIC", ClockId::CLOCK_MONOTONIC)
}

/// The wall clock: one for all.
pub fn clock_realtime() -> Observation {
    clock("CLOCK_REALTIME", ClockId::CLOCK_REALTIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole of a name counts, in the first line too.
    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nPPid:\t1\nPid:\t 2\nGroups:\t\nNSpid:\t3\t4\n";
        let fields = ["Name", "Pid", "PPid", "Groups", "NSpid"].map(|name| status_of(status, name).unwrap());
        assert_eq!(fields, ["x", "2", "1", "", "3\t4"]);
        assert_eq!(["Na", "id", "x", "Seccomp"].map(|name| status_of(status, name)), [None; 4]);
    }
}
