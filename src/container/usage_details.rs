//! What the daemon shows of a container besides [`Usage`](super::usage::Usage): the counters of its cgroups and of its network
//! devices one by one, and which limits a container of this user can have at all.

use std::collections::BTreeMap;

use super::store::KeptContainer;
use super::usage::own_cgroup;
use crate::host::cgroups::{Cgroups, counts_swap};
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::{Unread, file};

/// The counters of a container. Each is empty or zero if nothing counts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageDetails {
    /// CPU time in the kernel and in user space, in nanoseconds.
    pub cpu_modes: (u64, u64),
    /// The periods of its CPU limit, those in which it was stopped, and how long that was in nanoseconds.
    pub throttling: (u64, u64, u64),
    /// All memory that its cgroup counts, in bytes. None: it has no cgroup of its own.
    pub memory: Option<u64>,
    /// The lines of memory.stat.
    pub memory_stat: BTreeMap<String, u64>,
    /// The counters of each network device but lo.
    pub devices: Vec<(String, DeviceCounters)>,
    /// What it has read and written, by the numbers of the disk.
    pub disks: Vec<DiskCounter>,
}

/// The counters of a network device: those that it has received and sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Bytes, packets, errors and drops of what came.
    pub received: [u64; 4],
    /// The same of what was sent.
    pub sent: [u64; 4],
}

/// A counter of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCounter {
    /// Its major and minor number.
    pub device: (u64, u64),
    /// `read` or `write`.
    pub operation: &'static str,
    /// Bytes.
    pub bytes: u64,
}

impl UsageDetails {
    /// The counters now. None of them, if the container does not run.
    pub fn of(container: &KeptContainer) -> UsageDetails {
        let state = &container.state;
        let processes = state.command.zip(state.supervisor).filter(|_| state.status.is_active());
        let Some((command, supervisor)) = processes else { return UsageDetails::default() };
        let cgroup = |controller| own_cgroup(command.pid, supervisor.pid, controller);
        let memory = cgroup(Controller::Memory);
        let net = &container.record.config.environment.namespaces.net;
        let dev = net.is_new().then(|| file::read_text(format!("/proc/{}/net/dev", command.pid)).ok());
        UsageDetails {
            cpu_modes: cgroup(Controller::Cpuacct).map(|cgroup| cpu_modes(&cgroup)).unwrap_or_default(),
            throttling: cgroup(Controller::Cpu).map(|cgroup| throttling(&cgroup)).unwrap_or_default(),
            memory: memory
                .as_ref()
                .and_then(|cgroup| cgroup.number("memory.usage_in_bytes", "memory.current")),
            memory_stat: memory
                .and_then(|cgroup| cgroup.read("memory.stat", "memory.stat"))
                .map(|content| numbers(&content))
                .unwrap_or_default(),
            devices: dev.flatten().map(|content| devices_in(&content)).unwrap_or_default(),
            disks: cgroup(Controller::Io).map(|cgroup| disks(&cgroup)).unwrap_or_default(),
        }
    }
}

fn cpu_modes(cgroup: &ProcessCgroup) -> (u64, u64) {
    // cpuacct.stat counts in ticks of the clock, cpu.stat in microseconds. A tick is a whole number of nanoseconds.
    let of = |v1: &str, v2: &str| {
        let number = cgroup.field(("cpuacct.stat", v1), ("cpu.stat", v2)).unwrap_or(0);
        match cgroup.version() {
            Version::V1 => number.saturating_mul(1_000_000_000 / procfs::ticks_per_second()),
            Version::V2 => number * 1000,
        }
    };
    (of("system", "system_usec"), of("user", "user_usec"))
}

fn throttling(cgroup: &ProcessCgroup) -> (u64, u64, u64) {
    let of = |v1: &str, v2: &str| cgroup.field(("cpu.stat", v1), ("cpu.stat", v2)).unwrap_or(0);
    let time = of("throttled_time", "throttled_usec");
    let time = if cgroup.version() == Version::V2 { time * 1000 } else { time };
    (of("nr_periods", "nr_periods"), of("nr_throttled", "nr_throttled"), time)
}

/// The numbers of lines such as `cache 4096`.
fn numbers(content: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    content.lines().filter_map(pair).collect()
}

/// The devices in the text of /proc/net/dev: eight numbers for what came, eight for what was sent. proc_pid_net(5)
fn devices_in(content: &str) -> Vec<(String, DeviceCounters)> {
    let device = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> =
            numbers.split_whitespace().map(|number| number.parse().unwrap_or(0)).collect();
        let four = |from: usize| [0, 1, 2, 3].map(|at| numbers.get(from + at).copied().unwrap_or(0));
        Some((name.trim().to_owned(), DeviceCounters { received: four(0), sent: four(8) }))
    };
    content.lines().filter_map(device).filter(|(name, _)| name != "lo").collect()
}

fn disks(cgroup: &ProcessCgroup) -> Vec<DiskCounter> {
    let Some(content) = cgroup.read("blkio.throttle.io_service_bytes", "io.stat") else { return Vec::new() };
    content.lines().flat_map(disks_in).collect()
}

/// The counters of a line of cgroup v1, `8:0 Read 4096`, or of v2, `8:0 rbytes=4096 wbytes=0 ...`.
fn disks_in(line: &str) -> Vec<DiskCounter> {
    let Some((numbers, rest)) = line.split_once(' ') else { return Vec::new() };
    let numbers = numbers.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let Some(device) = numbers else { return Vec::new() };
    let counter = |word: &str| {
        let (name, bytes) = word.split_once('=').or_else(|| word.split_once(' '))?;
        let operation = match name {
            "rbytes" | "Read" => "read",
            "wbytes" | "Write" => "write",
            _ => return None,
        };
        Some(DiskCounter { device, operation, bytes: bytes.parse().ok()? })
    };
    match rest.contains('=') {
        true => rest.split(' ').filter_map(counter).collect(),
        false => counter(rest).into_iter().collect(),
    }
}

/// Which limits a container of this user can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PossibleLimits {
    /// Of memory.
    pub memory: bool,
    /// Of swap.
    pub swap: bool,
    /// Of CPU time, and the share of it.
    pub cpu: bool,
    /// Of the CPUs that it may use.
    pub cpuset: bool,
    /// Of processes.
    pub pids: bool,
}

impl PossibleLimits {
    /// Finds out where cgroups can be made.
    pub fn here() -> PossibleLimits {
        let has =
            |controller| Cgroups::gather(&[controller], false, &mut Unread::default()).obstacles.is_empty();
        let memory = has(Controller::Memory);
        PossibleLimits {
            memory,
            swap: memory && counts_swap(),
            cpu: has(Controller::Cpu),
            cpuset: has(Controller::Cpuset),
            pids: has(Controller::Pids),
        }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.memory || self.cpu || self.cpuset || self.pids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_counters() {
        let content = "Inter-|   Receive\n face |bytes packets\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 100 1 2 3 0 0 0 0 \
                       200 4 5 6\n";
        let counters = DeviceCounters { received: [100, 1, 2, 3], sent: [200, 4, 5, 6] };
        assert_eq!(devices_in(content), [("eth0".to_owned(), counters)]);
        let counter = |operation, bytes| DiskCounter { device: (8, 0), operation, bytes };
        assert_eq!(disks_in("8:0 Read 4096"), [counter("read", 4096)]);
        assert_eq!(disks_in("8:0 rbytes=1 wbytes=2 rios=3"), [counter("read", 1), counter("write", 2)]);
        assert!(disks_in("8:0 Total 4096").is_empty() && disks_in("Total 4096").is_empty());
        assert_eq!(numbers("cache 1\nx y\n"), BTreeMap::from([("cache".to_owned(), 1)]));
    }
}
