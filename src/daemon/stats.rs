//! GET /containers/NAME/stats: what a container uses of the machine. Docker's client computes percentages from the counters.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, line, ok, slow_stream};
use super::command::blocking;
use super::containers::find;
use super::request::ApiRequest;
use super::served::ClientEnd;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::usage::Usage;
use crate::container::usage_details::{DeviceCounters, UsageDetails};
use crate::value::timestamp::Timestamp;

/// The time between two readings.
const INTERVAL: Duration = Duration::from_secs(1);

/// A tick of /proc/stat, in nanoseconds.
const TICK: u64 = 10_000_000;

/// A reading of the counters.
struct Counters {
    at: Timestamp,
    usage: Usage,
    details: UsageDetails,
    /// The CPU time of the whole machine, in nanoseconds.
    system: u64,
}

impl Counters {
    fn read(container: &KeptContainer) -> Counters {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = stat.lines().next().unwrap_or_default();
        // guest and guest_nice are in user and nice already. proc_stat(5)
        let ticks = line.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse::<u64>().ok());
        let system = ticks.sum::<u64>() * TICK;
        let details = UsageDetails::of(container);
        Counters { at: Timestamp::now(), usage: Usage::of(container), details, system }
    }

    fn cpu(&self, cpus: usize) -> Value {
        let (kernel, user) = self.details.cpu_modes;
        let (periods, throttled, time) = self.details.throttling;
        json!({
            "cpu_usage": {
                "total_usage": self.usage.cpu.unwrap_or_default(),
                "usage_in_kernelmode": kernel,
                "usage_in_usermode": user,
            },
            "system_cpu_usage": self.system,
            "online_cpus": cpus,
            "throttling_data": { "periods": periods, "throttled_periods": throttled, "throttled_time": time },
        })
    }
}

fn value(container: &KeptContainer, before: Option<&Counters>, now: &Counters) -> Value {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let (usage, details) = (&now.usage, &now.details);
    let disks = details.disks.iter().map(|disk| {
        let (major, minor) = disk.device;
        json!({ "major": major, "minor": minor, "op": disk.operation, "value": disk.bytes })
    });
    let disks: Option<Vec<Value>> = usage.disk.map(|_| disks.collect());
    let mut value = json!({
        "id": container.record.id,
        "name": format!("/{}", container.name),
        "read": now.at,
        "preread": before.map_or(json!("0001-01-01T00:00:00Z"), |before| json!(before.at)),
        "pids_stats": { "current": usage.pids.unwrap_or_default() },
        "num_procs": 0,
        "cpu_stats": now.cpu(cpus),
        "precpu_stats": before.map_or_else(|| json!({}), |before| before.cpu(cpus)),
        // The client subtracts the files that the kernel can drop at once, as it finds them in `stats`.
        "memory_stats": {
            "usage": details.memory.or(usage.memory).unwrap_or_default(),
            "limit": usage.memory_limit.unwrap_or_default(),
            "stats": details.memory_stat,
        },
        "blkio_stats": { "io_service_bytes_recursive": disks },
        "storage_stats": {},
    });
    for (name, DeviceCounters { received, sent }) in &details.devices {
        value["networks"][name] = json!({
            "rx_bytes": received[0], "rx_packets": received[1], "rx_errors": received[2], "rx_dropped": received[3],
            "tx_bytes": sent[0], "tx_packets": sent[1], "tx_errors": sent[2], "tx_dropped": sent[3],
        });
    }
    value
}

/// Sends the counters: once, or each second.
pub(super) async fn stats(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut container = find(request.name()).await?;
    // Older clients do not send the parameter for a stream.
    let is_stream = request.query.get("stream").is_none() || request.query.is("stream");
    let read = |container: KeptContainer| {
        blocking(move || {
            let counters = Counters::read(&container);
            Ok((container, counters))
        })
    };
    let (own, mut now) = read(container).await?;
    container = own;
    if !is_stream {
        let mut before = None;
        if !request.query.is("one-shot") && container.state.status.is_active() {
            tokio::time::sleep(INTERVAL).await;
            before = Some(now);
            (container, now) = read(container).await?;
        }
        return ok(&value(&container, before.as_ref(), &now));
    }
    let (sender, answer) = slow_stream("application/json", request.stream.clone());
    let place = request.stream;
    tokio::spawn(async move {
        let mut before: Option<Counters> = None;
        while sender.send(line(&value(&container, before.as_ref(), &now))).await.is_ok() {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = sender.closed() => return,
            }
            if place.as_ref().is_some_and(|place| place.has_left(ClientEnd::Sending)) {
                return;
            }
            let again = blocking(move || Ok(ContainerStore::open()?.again(&container)?));
            let Ok(Some(present)) = again.await else { return };
            let Ok((own, counters)) = read(present).await else { return };
            container = own;
            before = Some(std::mem::replace(&mut now, counters));
        }
    });
    Ok(answer)
}
