//! A line of `stats`: what a container uses, in Docker's form.

use std::time::Duration;

use serde::Serialize;

use super::store::KeptContainer;
use super::usage::Usage;

/// What Docker prints for a value that is not known.
const UNKNOWN: &str = "--";

/// A line of `stats`. The names are those of `docker stats --format json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatsRow {
    /// Bytes read from and written to disks.
    #[serde(rename = "BlockIO")]
    pub block_io: String,
    /// CPU time, as a part of one CPU.
    #[serde(rename = "CPUPerc")]
    pub cpu: String,
    /// The ID, or what the command line names it by.
    #[serde(rename = "Container")]
    pub container: String,
    /// The ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Memory, as a part of the limit.
    #[serde(rename = "MemPerc")]
    pub memory_part: String,
    /// Memory, and the limit.
    #[serde(rename = "MemUsage")]
    pub memory: String,
    /// The name.
    #[serde(rename = "Name")]
    pub name: String,
    /// Bytes that the network has received and sent.
    #[serde(rename = "NetIO")]
    pub network: String,
    /// Processes and threads.
    #[serde(rename = "PIDs")]
    pub pids: String,
}

impl StatsRow {
    /// The line of a container that has used `before` some time before `now`.
    pub fn of(
        container: &KeptContainer,
        before: &Usage,
        now: &Usage,
        elapsed: Duration,
        is_whole: bool,
    ) -> StatsRow {
        let id = if is_whole { container.record.id.as_str() } else { container.record.id.short() };
        let pair = |pair: Option<(u64, u64)>| match pair {
            Some((one, other)) => format!("{} / {}", decimal(one), decimal(other)),
            None => format!("{UNKNOWN} / {UNKNOWN}"),
        };
        let percent =
            |part: Option<f64>| part.map_or(UNKNOWN.to_owned(), |part| format!("{:.2}%", 100.0 * part));
        let cpu = before.cpu.zip(now.cpu).map(|(before, now)| {
            let nanoseconds = elapsed.as_nanos().max(1) as f64;
            now.saturating_sub(before) as f64 / nanoseconds
        });
        let memory = now.memory.zip(now.memory_limit);
        // One that does not run uses nothing.
        if !container.state.status.is_active() {
            let (percent, pair) = ("0.00%".to_owned(), "0B / 0B".to_owned());
            return StatsRow {
                block_io: pair.clone(),
                cpu: percent.clone(),
                container: id.to_owned(),
                id: id.to_owned(),
                memory_part: percent,
                memory: pair.clone(),
                name: container.shown_name().to_owned(),
                network: pair,
                pids: "0".to_owned(),
            };
        }
        StatsRow {
            block_io: pair(now.disk),
            cpu: percent(cpu),
            container: id.to_owned(),
            id: id.to_owned(),
            memory_part: percent(memory.map(|(used, limit)| used as f64 / limit.max(1) as f64)),
            memory: match memory {
                Some((used, limit)) => format!("{} / {}", binary(used), binary(limit)),
                None => format!("{UNKNOWN} / {UNKNOWN}"),
            },
            name: container.shown_name().to_owned(),
            network: pair(now.network),
            pids: now.pids.map_or(UNKNOWN.to_owned(), |pids| pids.to_string()),
        }
    }
}

/// A number of bytes as Docker's `units.BytesSize`: `1.5MiB`.
fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// A number of bytes as Docker's `units.HumanSize`: `1.45kB`.
fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// A number in the largest unit of which it has at least one, with this number of digits.
fn scaled(number: u64, step: f64, units: &[&str], digits: usize) -> String {
    let (mut value, mut unit) = (number as f64, 0);
    while value >= step && unit + 1 < units.len() {
        (value, unit) = (value / step, unit + 1);
    }
    let before = if value < 1.0 { 1 } else { value.log10().floor() as usize + 1 };
    let written = format!("{value:.*}", digits.saturating_sub(before));
    let short = match written.contains('.') {
        true => written.trim_end_matches('0').trim_end_matches('.'),
        false => &written,
    };
    format!("{short}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_docker_does() {
        for (bytes, written) in [
            (0, "0B"),
            (512, "512B"),
            (1024, "1KiB"),
            (1536 << 10, "1.5MiB"),
            (1023 << 20, "1023MiB"),
            (16_645_079_040, "15.5GiB"),
        ] {
            assert_eq!(binary(bytes), written);
        }
        for (bytes, written) in
            [(0, "0B"), (999, "999B"), (1450, "1.45kB"), (12_345, "12.3kB"), (100_000_000, "100MB")]
        {
            assert_eq!(decimal(bytes), written);
        }
    }
}
