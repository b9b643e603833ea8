//! Readers of /proc, /sys and a few other files. Each returns a value with the file that it was read from. A reader
//! never fails: if a file cannot be read, the value is the reason.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::hierarchy::{Version, cgroup_lines};
use super::{ClockReading, Listing, Observation, Value, file, mountinfo};
use crate::feature::Feature;

pub(super) fn observed(path: &str, value: Value) -> Observation {
    Observation { path: path.to_owned(), field: None, value }
}

/// Why a file cannot be read: the name of the errno, which fits into a table cell.
pub(crate) fn refusal(error: &io::Error) -> Value {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Value::Not("no such file".into()),
        Some(errno) => Value::Not(format!("{:?}", nix::errno::Errno::from_raw(errno))),
        None => Value::Not(crate::error::io_text(error)),
    }
}

/// The target of a symbolic link.
pub fn link(path: &str) -> Observation {
    observed(path, link_value(path))
}

fn link_value(path: &str) -> Value {
    match file::read_link(path) {
        Ok(target) => Value::Is(target),
        Err(error) => refusal(&error),
    }
}

/// The namespace of a process, as a value. See [`namespace_link`].
pub fn namespace(process: &str, feature: Feature) -> Value {
    link_value(&format!("{process}/ns/{feature}"))
}

/// The name of a process's namespace, from the link in `/proc/PID/ns`: `uts:[4026531838]`. `process` is `/proc/self`
/// or `/proc/PID`.
///
/// # Errors
/// Those of readlink(2): ENOENT for a kind that this kernel does not have, EACCES for a process that the caller may
/// not trace.
pub fn namespace_link(process: &str, feature: Feature) -> std::io::Result<String> {
    file::read_link(format!("{process}/ns/{feature}"))
}

/// The PID, in the caller's PID namespace, of the process that a pidfd refers to. None: the process has ended and was
/// reaped, is in another PID namespace, or /proc is not mounted. pidfd_open(2), proc_pid_fdinfo(5)
pub fn pid_of(pidfd: &OwnedFd) -> Option<Pid> {
    read_pid_of(pidfd).ok()?
}

/// As [`pid_of`].
///
/// # Errors
/// /proc/self/fdinfo cannot be read.
pub fn read_pid_of(pidfd: &OwnedFd) -> std::io::Result<Option<Pid>> {
    let info = file::read_text(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = status_of(&info, "Pid").and_then(|pid| pid.parse().ok());
    Ok(pid.filter(|pid| *pid > 0).map(Pid::from_raw))
}

/// The whole text of a short file, on one line: ` | ` separates the lines.
pub fn file(path: &str) -> Observation {
    let value = match file::read_text(path) {
        Ok(content) => Value::Is(file::one_line(&content)),
        Err(error) => refusal(&error),
    };
    observed(path, value)
}

/// The first word of a file.
pub fn first_word(path: &str) -> Observation {
    let value = match file::read_text(path) {
        Ok(content) => Value::Is(content.split_whitespace().next().unwrap_or("(empty)").to_owned()),
        Err(error) => refusal(&error),
    };
    observed(path, value)
}

/// The lines of a file.
pub fn lines(path: &str) -> Observation {
    listed(path, |content| Listing::new("lines", content.lines().map(str::to_owned)))
}

/// The mounts in /proc/PID/mounts: a line for each.
pub fn mount_lines(process: &str) -> Observation {
    listed(&format!("{process}/mounts"), |content| {
        Listing::sorted("lines", content.lines().map(str::to_owned).collect()).without(&["order"])
    })
}

/// The rows of a table, without its heading. Blanks between the fields have no meaning.
pub fn rows(path: &str) -> Observation {
    listed(path, |content| Listing::new("rows", content.lines().skip(1).map(file::one_line)))
}

/// A list that `list` extracts from a file.
pub(super) fn listed(path: &str, list: impl Fn(&str) -> Listing) -> Observation {
    let value = match file::read_text(path) {
        Ok(content) => Value::List(list(&content)),
        Err(error) => refusal(&error),
    };
    observed(path, value)
}

/// The files in a directory. Two files with one name are different files if their inodes are.
pub fn files(path: &str) -> Observation {
    entries(path, "files", |entry| {
        let inode = entry.metadata().map(|file| format!("inode {} of device {}", file.ino(), file.dev()));
        format!("{} {}", entry_name(entry), inode.unwrap_or_default())
    })
}

/// The names in a directory.
pub fn names(path: &str, of: &str) -> Observation {
    entries(path, of, entry_name)
}

fn entries(path: &str, of: &str, item: impl Fn(&fs::DirEntry) -> String) -> Observation {
    let value = match fs::read_dir(path) {
        Ok(entries) => {
            Value::List(Listing::sorted(of, entries.flatten().map(|entry| item(&entry)).collect()))
        }
        Err(error) => refusal(&error),
    };
    observed(path, value)
}

fn entry_name(entry: &fs::DirEntry) -> String {
    file::path_text(entry.file_name().as_ref())
}

/// One field of /proc/PID/status, such as `NSpid:`. Of `Uid:` and `Gid:`, four equal IDs are
/// one number.
pub fn status(path: &str, field: &str) -> Observation {
    let value = match file::read_text(path) {
        Ok(content) => {
            match status_of(&content, field).map(|value| value.split_whitespace().collect::<Vec<_>>()) {
                // Real, effective, saved and filesystem ID.
                Some(ids) if matches!(field, "Uid" | "Gid") && ids.iter().all(|id| *id == ids[0]) => {
                    Value::Is(ids.first().copied().unwrap_or("").to_owned())
                }
                Some(parts) => Value::Is(parts.join(" ")),
                None => Value::Not("no such field".into()),
            }
        }
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some(format!("{field}:")), value }
}

/// The value after `NAME:` in the text of /proc/PID/status.
pub(crate) fn status_of<'a>(content: &'a str, name: &str) -> Option<&'a str> {
    let first = content.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    // Not searched line by line, because the file is long and many fields are read.
    let rest = first.or_else(|| Some(content.split_once(&["\n", name, ":"].concat())?.1))?;
    rest.lines().next().map(str::trim)
}

/// The ranges of a map of IDs, /proc/PID/uid_map or gid_map: the first ID inside, the first outside, the count.
/// user_namespaces(7)
pub fn id_ranges(map: &str) -> Vec<[u32; 3]> {
    ranges_of(&file::read_text(map).unwrap_or_default())
}

/// The ranges in the content of such a map.
pub fn ranges_of(content: &str) -> Vec<[u32; 3]> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    };
    content.lines().filter_map(range).collect()
}

/// Whether a map is that of the initial user namespace, which maps each ID to itself. user_namespaces(7)
pub(crate) fn is_initial_map(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The ID in a user namespace that means `outside` in the reader's, or in the parent's if it is the reader's own. `map`
/// is the path of the map. None: it has none.
pub(crate) fn id_inside(map: &str, outside: u32) -> Option<u32> {
    let of = |[inside, first, count]: [u32; 3]| {
        outside.checked_sub(first).filter(|offset| *offset < count).map(|offset| inside + offset)
    };
    id_ranges(map).into_iter().find_map(of)
}

/// The reverse of [`id_inside`].
pub(crate) fn id_outside(map: &str, inside: u32) -> Option<u32> {
    let of = |[first, outside, count]: [u32; 3]| {
        inside.checked_sub(first).filter(|offset| *offset < count).map(|offset| outside + offset)
    };
    id_ranges(map).into_iter().find_map(of)
}

/// A number of bytes, as /proc/meminfo prints it. The crate procfs has it in bytes.
pub(crate) fn kibibytes(bytes: u64) -> String {
    format!("{} kB", bytes / 1024)
}

/// The memory of the machine: `MemTotal:` in /proc/meminfo.
pub fn total_memory() -> Observation {
    let value = match file::parse::<procfs::Meminfo>("/proc/meminfo") {
        Ok(memory) => Value::Is(kibibytes(memory.mem_total)),
        Err(error) => refusal(&error),
    };
    Observation { path: "/proc/meminfo".into(), field: Some("MemTotal:".into()), value }
}

/// One line of /proc/PID/limits, as `SOFT:HARD`. The crate procfs has a struct field for each limit, so a limit
/// cannot be selected by its name.
pub fn limit(path: &str, name: &str) -> Observation {
    let value = match file::read_text(path) {
        Ok(content) => match limit_of(&content, name) {
            Some(limits) => Value::Is(limits.join(":")),
            None => Value::Not("no such field".into()),
        },
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some(name.to_owned()), value }
}

/// The soft and the hard limit of one line of /proc/PID/limits. The name can contain blanks. proc_pid_limits(5)
pub fn limit_of<'a>(content: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let line = content.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().take(2).collect())
}

/// The processes in /proc: PID, name and start, within the PID namespace of /proc.
pub fn processes() -> Observation {
    let value = match fs::read_dir("/proc") {
        Ok(entries) => {
            let offset = boottime_offset();
            let mut pids: Vec<i32> =
                entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
            pids.sort_unstable();
            let items = pids.into_iter().filter_map(|pid| process(pid, offset));
            Value::List(Listing { within: namespace_of_proc(), ..Listing::new("processes", items) })
        }
        Err(error) => refusal(&error),
    };
    observed("/proc/[0-9]*", value)
}

/// The PID namespace that /proc shows, if it is the reader's. Otherwise the link /proc/self does not exist, or names
/// another PID.
fn namespace_of_proc() -> Option<String> {
    let own = file::read_link("/proc/self").ok()?;
    let is_own = own == nix::unistd::getpid().to_string();
    is_own.then(|| namespace_link("/proc/self", Feature::Pid).ok()).flatten()
}

/// A process of a list; none if it has ended.
fn process(pid: i32, offset: i64) -> Option<String> {
    match file::parse::<procfs::process::Stat>(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let start = i64::try_from(stat.starttime).unwrap_or(i64::MAX).saturating_sub(offset);
            Some(format!("{pid} {} started {start}", stat.comm))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => None,
        Err(_) => Some(pid.to_string()),
    }
}

/// By how many ticks the time namespace of the caller shifts the start of a process in /proc/PID/stat.
fn boottime_offset() -> i64 {
    let offsets = file::read_text("/proc/self/timens_offsets").unwrap_or_default();
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime")).unwrap_or_default();
    let mut parts = line.split_whitespace().filter_map(|part| part.parse::<i64>().ok());
    let (seconds, nanoseconds) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    seconds * TICKS + nanoseconds * TICKS / 1_000_000_000
}

/// Ticks in a second, in the files of /proc: USER_HZ.
const TICKS: i64 = 100;

/// The user ID of a file's owner.
pub fn owner(path: &str) -> Observation {
    let value = match fs::metadata(path) {
        Ok(metadata) => Value::Is(metadata.uid().to_string()),
        Err(error) => refusal(&error),
    };
    Observation { path: path.to_owned(), field: Some("owner".into()), value }
}

/// The mounts in a process's mount table.
pub fn mounts(process: &str) -> Observation {
    let value = match mountinfo::read(process) {
        Ok(table) => {
            // A copy of a mount table has its mounts in another order, with other IDs.
            let items = mountinfo::descriptions(&table);
            Value::List(Listing::sorted("mounts", items).without(&["mount IDs", "order"]))
        }
        Err(error) => refusal(&error),
    };
    observed(&format!("{process}/mountinfo"), value)
}

/// The propagation of the mount on `target`, from a process's mountinfo.
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

/// The cgroup of a process in each hierarchy: one observation for each line of /proc/PID/cgroup.
pub fn cgroups(process: &str) -> Vec<Observation> {
    let path = format!("{process}/cgroup");
    match file::read(&path) {
        Ok(content) => cgroups_in(&path, &content),
        Err(error) => vec![observed(&path, refusal(&error))],
    }
}

/// As [`cgroups`], from the content of the file `path`.
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
    let value = match clock_reading(id) {
        Ok(clock) => Value::Clock(clock),
        Err(errno) => Value::Not(format!("{errno:?}")),
    };
    observed(&format!("clock_gettime({name})"), value)
}

fn clock_reading(id: ClockId) -> nix::Result<ClockReading> {
    let microseconds = |id| clock_gettime(id).map(|time| time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000);
    let mut best: Option<(i64, ClockReading)> = None;
    // The scheduler can stop this process between two calls. The reading with the least time between them counts.
    for _ in 0..10 {
        let before = microseconds(ClockId::CLOCK_REALTIME)?;
        let now = microseconds(id)?;
        let took = microseconds(ClockId::CLOCK_REALTIME)? - before;
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, ClockReading { seconds: now / 1_000_000, ahead: now - before }));
        }
        if took <= 20 {
            break;
        }
    }
    best.map(|(_, clock)| clock).ok_or(nix::errno::Errno::EIO)
}

/// The seconds since boot, including suspend, in the caller's time namespace.
pub fn clock_boottime() -> Observation {
    clock("CLOCK_BOOTTIME", ClockId::CLOCK_BOOTTIME)
}

/// The seconds since an unspecified point in the past, in the caller's time namespace.
pub fn clock_monotonic() -> Observation {
    clock("CLOCK_MONOTONIC", ClockId::CLOCK_MONOTONIC)
}

/// The wall clock. Time namespaces do not change it.
pub fn clock_realtime() -> Observation {
    clock("CLOCK_REALTIME", ClockId::CLOCK_REALTIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel truncates a name to 15 bytes, here inside a character.
    #[test]
    fn a_process_name_can_be_truncated_inside_a_character() {
        let named = std::thread::spawn(|| {
            fs::write("/proc/thread-self/comm", "\u{fc}".repeat(8)).unwrap();
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

    /// This also holds for the first line.
    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nPPid:\t1\nPid:\t 2\nGroups:\t\nNSpid:\t3\t4\n";
        let fields = ["Name", "Pid", "PPid", "Groups", "NSpid"].map(|name| status_of(status, name).unwrap());
        assert_eq!(fields, ["x", "2", "1", "", "3\t4"]);
        assert_eq!(["Na", "id", "x", "Seccomp"].map(|name| status_of(status, name)), [None; 4]);
    }
}
