//! Readers of /proc, /sys and a few files beside: each returns a value with the file it came from, and none fails —
//! what can't be read says why.

use std::io;
use std::os::unix::fs::MetadataExt;

use nix::time::{ClockId, clock_gettime};

use super::hierarchy::{Version, cgroup_lines};
use super::{Observation, Value, file, mountinfo};
use crate::feature::Feature;

pub(super) fn seen(path: &str, value: Value) -> Observation {
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
    match file::read_link(path) {
        Ok(target) => Value::Is(target),
        Err(error) => refusal(&error),
    }
}

/// The namespace of a process, as a value: [`namespace_link`].
pub fn namespace(process: &str, feature: Feature) -> Value {
    link_value(&format!("{process}/ns/{feature}"))
}

/// The namespace of a process, as `/proc/PID/ns/*` names it: `uts:[4026531838]`. `process` is `/proc/self` or `/proc/PID`.
///
/// # Errors
/// Those of readlink(2): ENOENT for a kind that this kernel does not have, EACCES for a process that the caller may not trace.
pub fn namespace_link(process: &str, feature: Feature) -> std::io::Result<String> {
    file::read_link(format!("{process}/ns/{feature}"))
}

/// The whole of a short file, its lines joined by ` | `, runs of blanks as one.
pub fn file(path: &str) -> Observation {
    let value = match file::read_text(path) {
        Ok(content) => Value::Is(file::one_line(&content)),
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// The first word of a file.
pub fn first_word(path: &str) -> Observation {
    let value = match file::read_text(path) {
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
    let value = match file::read_text(path) {
        Ok(content) => Value::Count(content.lines().count().saturating_sub(heading), of.to_owned()),
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// How many entries a directory has.
pub fn entries(path: &str, of: &str) -> Observation {
    let value = match std::fs::read_dir(path) {
        Ok(entries) => Value::Count(entries.count(), of.to_owned()),
        Err(error) => refusal(&error),
    };
    seen(path, value)
}

/// One field of a status file: the words behind `NSpid:`. Of `Uid:` and `Gid:` only the first number, the real id.
pub fn status(path: &str, field: &str) -> Observation {
    let value = match file::read_text(path) {
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

/// A number of bytes as /proc/meminfo writes it. procfs has it in bytes.
pub(crate) fn kibibytes(bytes: u64) -> String {
    format!("{} kB", bytes / 1024)
}

/// The machine's memory: `MemTotal:` of /proc/meminfo.
pub fn total_memory() -> Observation {
    let value = match file::parse::<procfs::Meminfo>("/proc/meminfo") {
        Ok(memory) => Value::Is(kibibytes(memory.mem_total)),
        Err(error) => refusal(&error),
    };
    Observation { path: "/proc/meminfo".into(), field: Some("MemTotal:".into()), value }
}

/// One line of /proc/PID/limits: `SOFT:HARD`, as the kernel writes them. procfs has a field for each limit, and so none that can
/// be chosen by its name.
pub fn limit(path: &str, name: &str) -> Observation {
    let value = match file::read_text(path) {
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
    let value = match mountinfo::read(process) {
        Ok(table) => Value::Count(mountinfo::mounts(&table).count(), "mounts".into()),
        Err(error) => refusal(&error),
    };
    seen(&format!("{process}/mountinfo"), value)
}

/// How the mount at `target` of a process propagates: the tags of its mountinfo.
pub fn propagation(process: &str, target: &str) -> Observation {
    let value = match mountinfo::read(process) {
        Ok(table) => {
            let mount = mountinfo::mounts(&table).rev().find(|mount| mount.is_on(target));
            match mount {
                Some(mount) => Value::Is(mount.propagation_text()),
                None => Value::Not("not a mount point".into()),
            }
        }
        Err(error) => refusal(&error),
    };
    Observation { path: format!("{process}/mountinfo"), field: Some(target.to_owned()), value }
}

/// The cgroup of a process in each hierarchy, one observation a line of its cgroup file.
pub fn cgroups(process: &str) -> Vec<Observation> {
    let path = format!("{process}/cgroup");
    match file::read(&path) {
        Ok(content) => cgroups_in(&path, &content),
        Err(error) => vec![seen(&path, refusal(&error))],
    }
}

/// As [`cgroups`], of the content of the file at `path`.
pub(crate) fn cgroups_in(path: &str, content: &[u8]) -> Vec<Observation> {
    let lines = cgroup_lines(content).map(|line| {
        let field = match line.version() {
            Version::V1 => line.controllers.to_owned(),
            Version::V2 => "v2".to_owned(),
        };
        let value = Value::Is(file::path_text(line.path));
        Observation { path: path.to_owned(), field: Some(field), value }
    });
    lines.collect()
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

    /// The kernel cuts a name to 15 bytes, here inside a character, and writes it as it is.
    #[test]
    fn a_process_name_may_be_cut_inside_a_character() {
        let named = std::thread::spawn(|| {
            std::fs::write("/proc/thread-self/comm", "\u{fc}".repeat(8)).unwrap();
            let path = "/proc/thread-self/status";
            let status = file::parse::<procfs::process::Status>(path).unwrap();
            let stat = file::parse::<procfs::process::Stat>("/proc/thread-self/stat").unwrap();
            (
                status.sigblk,
                stat.pid,
                super::status(path, "Name").value,
                first_word("/proc/thread-self/comm").value,
            )
        });
        let (_, pid, name, comm) = named.join().unwrap();
        let cut = "\u{fc}".repeat(7) + r"\xc3";
        assert!(pid > 0);
        assert_eq!((name, comm), (Value::Is(cut.clone()), Value::Is(cut)));
    }

    #[test]
    fn a_status_with_a_byte_that_is_not_utf8_has_all_its_fields() {
        let text = file::text(b"Name:\ta\xffb\nUid:\t1\t2\t3\t4\n".to_vec());
        assert_eq!(status_of(&text, "Name"), Some(r"a\xffb"));
        assert_eq!(status_of(&text, "Uid"), Some("1\t2\t3\t4"));
    }

    /// The whole of a name counts, in the first line too.
    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nPPid:\t1\nPid:\t 2\nGroups:\t\nNSpid:\t3\t4\n";
        let fields = ["Name", "Pid", "PPid", "Groups", "NSpid"].map(|name| status_of(status, name).unwrap());
        assert_eq!(fields, ["x", "2", "1", "", "3\t4"]);
        assert_eq!(["Na", "id", "x", "Seccomp"].map(|name| status_of(status, name)), [None; 4]);
    }
}
