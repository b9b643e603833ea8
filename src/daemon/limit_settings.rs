//! The limits and the restart policy in the body of a request, as flags of `sandbox`. Values that Docker refuses are refused here, with
//! Docker's messages: the command line accepts some of them.

use serde_json::Value;

use super::answer::{Answered, ApiError};
use super::settings::{Flags, flag, number, part, string};
use crate::text::printed;

/// The settings that are numbers, each with its flag.
const NUMBERS: [(&str, &str); 12] = [
    ("Memory", "memory"),
    ("MemoryReservation", "memory-reservation"),
    ("MemorySwap", "memory-swap"),
    ("CpuShares", "cpu-shares"),
    ("CpuPeriod", "cpu-period"),
    ("CpuQuota", "cpu-quota"),
    ("CpuRealtimePeriod", "cpu-rt-period"),
    ("CpuRealtimeRuntime", "cpu-rt-runtime"),
    ("PidsLimit", "pids-limit"),
    ("BlkioWeight", "blkio-weight"),
    ("KernelMemory", "kernel-memory"),
    ("OomScoreAdj", "oom-score-adj"),
];

/// The minimum of a limit of memory. With less, no command starts.
const MIN_MEMORY: i64 = 6 << 20;

/// The CPU time of one CPU, as `NanoCpus` counts.
const CPU: i64 = 1_000_000_000;

/// Checks the numbers, each alone and with the others.
fn check(value: &Value) -> Answered<()> {
    let of = |name| number(value, name).map(Option::unwrap_or_default);
    let (memory, reservation, swap) = (of("Memory")?, of("MemoryReservation")?, of("MemorySwap")?);
    let (cpus, period, quota) = (of("NanoCpus")?, of("CpuPeriod")?, of("CpuQuota")?);
    let (weight, score) = (of("BlkioWeight")?, of("OomScoreAdj")?);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let most = CPU.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
    let is_small = |limit: i64| limit != 0 && limit < MIN_MEMORY;
    let refused = if is_small(memory) {
        "Minimum memory limit allowed is 6MB".to_owned()
    } else if is_small(reservation) {
        "Minimum memory reservation allowed is 6MB".to_owned()
    } else if swap > 0 && memory > 0 && swap < memory {
        "Minimum memoryswap limit should be larger than memory limit, see usage".to_owned()
    } else if memory > 0 && reservation > memory {
        "Minimum memory limit can not be less than memory reservation limit, see usage".to_owned()
    } else if !(0..=most).contains(&cpus) {
        format!("range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    } else if cpus > 0 && (period > 0 || quota > 0) {
        let other = if period > 0 { "CPU Period" } else { "CPU Quota" };
        format!("Conflicting options: Nano CPUs and {other} cannot both be set.")
    } else if period != 0 && !(1000..=1_000_000).contains(&period) {
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned()
    } else if (1..1000).contains(&quota) {
        "CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned()
    } else if weight != 0 && !(10..=1000).contains(&weight) {
        "Range of blkio weight is from 10 to 1000".to_owned()
    } else if !(-1000..=1000).contains(&score) {
        format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")
    } else {
        return Ok(());
    };
    Err(ApiError::bad(refused))
}

/// The limits and the restart policy: what `update` can change.
pub(super) fn limits(value: &Value) -> Answered<Flags> {
    check(value)?;
    let mut flags = Flags::new();
    for (name, own) in NUMBERS {
        // Without a limit of memory, docker sends -1 for the one of swap too.
        if let Some(number) = number(value, name)? {
            flags.push(flag(own, &number.to_string()));
        }
    }
    if let Some(billionths) = number(value, "NanoCpus")? {
        flags.push(flag("cpus", &(billionths as f64 / 1e9).to_string()));
    }
    for (name, own) in [("CpusetCpus", "cpuset-cpus"), ("CpusetMems", "cpuset-mems")] {
        flags.extend(string(value, name)?.map(|list| flag(own, list)));
    }
    flags.extend(restart_policy(part(value, "RestartPolicy")?)?);
    Ok(flags)
}

fn restart_policy(policy: &Value) -> Answered<Option<std::ffi::OsString>> {
    let most = number(policy, "MaximumRetryCount")?;
    let refused = |why: &str| Err(ApiError::bad(format!("invalid restart policy: {why}")));
    Ok(Some(match (string(policy, "Name")?, most) {
        (None, _) => return Ok(None),
        (Some("on-failure"), Some(..0)) => return refused("maximum retry count cannot be negative"),
        (Some("on-failure"), Some(most)) => flag("restart", &format!("on-failure:{most}")),
        (Some("no" | "always" | "unless-stopped"), Some(_)) => {
            return refused("maximum retry count can only be used with 'on-failure'");
        }
        (Some(name @ ("no" | "always" | "unless-stopped" | "on-failure")), None) => flag("restart", name),
        (Some(other), _) => {
            let known = "use one of 'no', 'always', 'on-failure', or 'unless-stopped'";
            return refused(&format!("unknown policy '{}'; {known}", printed(other)));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_that_docker_refuses_are_refused() {
        for wrong in [
            json!({ "Memory": 1000 }),
            json!({ "Memory": -1 }),
            json!({ "MemoryReservation": 1000 }),
            json!({ "Memory": 64 << 20, "MemorySwap": 32 << 20 }),
            json!({ "Memory": 64 << 20, "MemoryReservation": 128 << 20 }),
            json!({ "NanoCpus": i64::MAX }),
            json!({ "NanoCpus": -1 }),
            json!({ "NanoCpus": 1000, "CpuQuota": 1000 }),
            json!({ "CpuPeriod": 10 }),
            json!({ "CpuQuota": 10 }),
            json!({ "BlkioWeight": 5 }),
            json!({ "OomScoreAdj": 2000 }),
            json!({ "RestartPolicy": { "Name": "sometimes" } }),
        ] {
            assert_eq!(limits(&wrong).map_err(|error| error.status.as_u16()), Err(400), "{wrong}");
        }
        for right in [
            json!({ "Memory": MIN_MEMORY, "MemorySwap": -1, "CpuQuota": -1, "PidsLimit": -1 }),
            json!({ "NanoCpus": CPU / 100, "OomScoreAdj": -500 }),
        ] {
            assert!(limits(&right).is_ok(), "{right}");
        }
    }
}
