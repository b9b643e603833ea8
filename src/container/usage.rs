//! What a container uses of the machine, and its limits, as the files of its cgroups show them. Where it has no cgroup of
//! its own, its processes are added.

use std::collections::BTreeSet;
use std::io;

use super::processes::pids;
use super::store::KeptContainer;
use crate::observe::cgroup::{ProcessCgroup, memory_limit};
use crate::observe::file;
use crate::observe::hierarchy::{Controller, Version};

/// The controllers whose limits are shown.
pub const LIMITED: [Controller; 4] =
    [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Cpuset];

/// What a container uses. None: nothing shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time, in nanoseconds.
    pub cpu: Option<u64>,
    /// Memory in bytes: of a cgroup, without the files that the kernel can drop at once; of processes, with each page that
    /// several share divided among them.
    pub memory: Option<u64>,
    /// The limit of the memory: that of its cgroups, or the memory of the machine.
    pub memory_limit: Option<u64>,
    /// Bytes that its network has received and sent. Zero: it uses that of the machine.
    pub network: Option<(u64, u64)>,
    /// Bytes that it has read from and written to disks.
    pub disk: Option<(u64, u64)>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Whether CPU time and memory are sums over its processes: no cgroup counts it alone.
    pub is_summed: bool,
}

/// The cgroup of a container with this process 1, if it is not that of its supervisor: only then it counts and limits the
/// container alone.
pub fn own_cgroup(command: i32, supervisor: i32, controller: Controller) -> Option<ProcessCgroup> {
    let cgroup = ProcessCgroup::of(&format!("/proc/{command}"), controller)?;
    // All cgroups of containers are in a directory of this name.
    let is_ours = cgroup.directory().parent().is_some_and(|parent| parent.ends_with("sandbox"));
    let others = ProcessCgroup::of(&format!("/proc/{supervisor}"), controller);
    (is_ours && others.is_none_or(|other| other.directory() != cgroup.directory())).then_some(cgroup)
}

impl Usage {
    /// What a container uses now. Nothing, if it does not run.
    pub fn of(container: &KeptContainer) -> Usage {
        let state = &container.state;
        let Some((command, supervisor)) = state.command.zip(state.supervisor) else {
            return Usage::default();
        };
        if !state.status.is_active() {
            return Usage::default();
        }
        let cgroup = |controller| own_cgroup(command.pid, supervisor.pid, controller);
        let memory = cgroup(Controller::Memory);
        let net = &container.record.config.environment.namespaces.net;
        let mut usage = Usage {
            cpu: cgroup(Controller::Cpuacct).and_then(|cgroup| match cgroup.version() {
                Version::V1 => cgroup.number("cpuacct.usage", ""),
                Version::V2 => Some(1000 * cgroup.field(("", ""), ("cpu.stat", "usage_usec"))?),
            }),
            memory: memory.as_ref().and_then(|cgroup| {
                let all = cgroup.number("memory.usage_in_bytes", "memory.current")?;
                let files = ("memory.stat", "total_inactive_file");
                let inactive = cgroup.field(files, ("memory.stat", "inactive_file")).unwrap_or(0);
                Some(all.saturating_sub(inactive))
            }),
            memory_limit: memory.as_ref().and_then(|cgroup| {
                let machine = field_of_memory("MemTotal:")?;
                Some(memory_limit(cgroup.directory()).map_or(machine, |limit| limit.min(machine)))
            }),
            network: match net.is_new() {
                true => traffic(command.pid),
                false => Some((0, 0)),
            },
            disk: cgroup(Controller::Io).and_then(|cgroup| disk(&cgroup)),
            pids: cgroup(Controller::Pids).and_then(|cgroup| cgroup.number("pids.current", "pids.current")),
            is_summed: false,
        };
        if usage.cpu.is_none() || usage.memory.is_none() || usage.pids.is_none() {
            usage.add_processes(&pids(container, command.pid));
        }
        usage
    }

    /// Fills in what no cgroup counts.
    fn add_processes(&mut self, pids: &BTreeSet<i32>) {
        self.is_summed = self.cpu.is_none() || self.memory.is_none();
        self.cpu = self.cpu.or_else(|| pids.iter().map(|pid| cpu_time(*pid)).sum());
        if self.memory.is_none() {
            self.memory = pids.iter().map(|pid| memory_of(*pid)).sum();
            self.memory_limit = field_of_memory("MemTotal:");
        }
        self.pids = self.pids.or(u64::try_from(pids.len()).ok());
    }
}

/// The CPU time of a process and of its children that have ended and were waited for, in nanoseconds. Zero: it has ended. None:
/// it cannot be read.
fn cpu_time(pid: i32) -> Option<u64> {
    match file::parse::<procfs::process::Stat>(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let ticks = stat.utime + stat.stime + (stat.cutime + stat.cstime).cast_unsigned();
            Some(ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second()))
        }
        Err(error) => has_ended(&error).then_some(0),
    }
}

/// The memory of a process in bytes: `Pss` of proc_pid_smaps(5). Zero: it has ended. None: it cannot be read.
fn memory_of(pid: i32) -> Option<u64> {
    match file::read_text(format!("/proc/{pid}/smaps_rollup")) {
        Ok(content) => Some(kilobytes(&content, "Pss:").unwrap_or(0)),
        Err(error) => has_ended(&error).then_some(0),
    }
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// A number in lines such as `Pss:   12 kB`, in bytes.
fn kilobytes(content: &str, name: &str) -> Option<u64> {
    let line = content.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// A number of /proc/meminfo, in bytes.
fn field_of_memory(name: &str) -> Option<u64> {
    kilobytes(&file::read_text("/proc/meminfo").ok()?, name)
}

/// The bytes that the network devices of a process have received and sent, without those of lo.
fn traffic(pid: i32) -> Option<(u64, u64)> {
    let content = file::read_text(format!("/proc/{pid}/net/dev")).ok()?;
    Some(traffic_in(&content))
}

/// The sums in the text of /proc/net/dev: the first and the ninth number of each device. proc_pid_net(5)
fn traffic_in(content: &str) -> (u64, u64) {
    let devices = content.lines().filter_map(|line| line.split_once(':'));
    let devices = devices.filter(|(name, _)| name.trim() != "lo");
    devices.fold((0, 0), |(received, sent), (_, numbers)| {
        let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0));
        (received + numbers.next().unwrap_or(0), sent + numbers.nth(7).unwrap_or(0))
    })
}

fn disk(cgroup: &ProcessCgroup) -> Option<(u64, u64)> {
    let content = cgroup.read("blkio.throttle.io_service_bytes", "io.stat")?;
    Some(match cgroup.version() {
        Version::V1 => disk_v1(&content),
        Version::V2 => disk_v2(&content),
    })
}

/// Lines such as `8:0 Read 4096`. The sum of all devices is in a line `Total`.
fn disk_v1(content: &str) -> (u64, u64) {
    let sum = |kind: &str| {
        let of = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, word, number] if word == kind => number.parse::<u64>().ok(),
            _ => None,
        };
        content.lines().filter_map(of).sum()
    };
    (sum("Read"), sum("Write"))
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 ...`.
fn disk_v2(content: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let words = content.split_whitespace();
        words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok()).sum()
    };
    (sum("rbytes"), sum("wbytes"))
}

/// The limit that the cgroup of `process` (`/proc/PID`) has for a controller: the name of the file, and its value. None: it
/// has no limit.
pub fn limit_of(process: &str, controller: Controller) -> Option<(String, String)> {
    let cgroup = ProcessCgroup::of(process, controller)?;
    let (v1, v2) = match controller {
        Controller::Memory => ("memory.limit_in_bytes", "memory.max"),
        Controller::Pids => ("pids.max", "pids.max"),
        Controller::Cpu => ("cpu.cfs_quota_us", "cpu.max"),
        Controller::Cpuset => ("cpuset.cpus", "cpuset.cpus"),
        _ => return None,
    };
    let value = cgroup.read(v1, v2)?.trim().to_owned();
    // v1 shows "no limit" as the greatest number of whole pages that fits into 63 bits.
    let is_unlimited = value.parse::<u64>().is_ok_and(|number| number >= 1 << 62);
    // A new cpuset of cgroup v1 has the CPUs of its parent.
    let parents = cgroup.directory().parent().map(|parent| parent.join("cpuset.cpus"));
    let is_copy = controller == Controller::Cpuset
        && parents
            .and_then(|parents| file::read_text(parents).ok())
            .is_some_and(|parents| parents.trim() == value);
    if is_copy || value.is_empty() || value == "-1" || value.starts_with("max") || is_unlimited {
        return None;
    }
    let period = cgroup.number("cpu.cfs_period_us", "");
    let shown = match (controller, period) {
        (Controller::Cpu, Some(period)) => format!("{value} {period}"),
        _ => value,
    };
    Some((cgroup.name(v1, v2).to_owned(), shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_devices_are_added() {
        let content = "Inter-|   Receive\n face |bytes packets\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 100 1 0 0 0 0 0 0 \
                       200 2\n  eth1:5 1 0 0 0 0 0 0 7 2\n";
        assert_eq!(traffic_in(content), (105, 207));
        assert_eq!(
            disk_v1("8:0 Read 4096\n8:0 Write 1\n8:0 Total 4097\n8:16 Read 4\nTotal 5000\n"),
            (4100, 1)
        );
        assert_eq!(disk_v2("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 dbytes=9\n"), (11, 22));
        assert!(field_of_memory("MemTotal:").is_some_and(|bytes| bytes > 1 << 20));
    }
}
