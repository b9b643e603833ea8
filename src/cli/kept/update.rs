//! `sandbox update`: other limits for containers, also for those that run.

use std::ops::RangeInclusive;

use clap::Args;

use super::{Names, as_docker, each_named, tell_reading};
use crate::cgroups::blkio::Blkio;
use crate::cgroups::cpu::{Cpu, Cpus, PERIODS, QUOTAS};
use crate::cgroups::memory::Memory;
use crate::cli::explain::ExplainArg;
use crate::config::container::Resources;
use crate::container::limits::{self, LimitChange, NewLimit};
use crate::container::restart::RestartPolicy;
use crate::error::{Error, Result};
use crate::render::paint::Color;
use crate::text::{text, text_with};
use crate::value::units::Size;

/// The flags of `update`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct UpdateArgs {
    /// Maximum memory; 64m, 64MB and 64MiB all mean 64·1024² bytes; -1: no limit, and none of swap
    #[arg(long, short, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<NewLimit<Size>>,
    /// Maximum memory and swap together; -1: any amount of swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<NewLimit<Size>>,
    /// Memory that the kernel tries to leave to the container when the machine runs short of memory
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<Size>,
    /// Maximum CPU time: 0.5 is half of one CPU, 2 is two whole CPUs
    #[arg(long, value_name = "NUMBER", value_parser = cpu_limit)]
    cpus: Option<NewLimit<Cpus>>,
    /// Maximum CPU time of each period, in microseconds; -1: any amount
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", allow_hyphen_values = true, value_parser = quota)]
    cpu_quota: Option<i64>,
    /// The period of --cpu-quota, in microseconds
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", value_parser = |written: &str| within(written, &PERIODS))]
    cpu_period: Option<NewLimit<u64>>,
    /// CPU weight, 2 to 262144; every cgroup starts with 1024; 0: it stays as it is
    #[arg(long, short, value_name = "N", value_parser = |written: &str| weight(written, &(2..=262_144)))]
    cpu_shares: Option<NewLimit<u64>>,
    /// Use only these CPUs: 0, 0-3 or 0,2
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Use memory of only these NUMA nodes: 0, 0-3 or 0,2
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// A flag of docker update that is refused by name
    #[arg(long, hide = true, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<String>,
    /// A flag of docker update that is refused by name
    #[arg(long, hide = true, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<String>,
    /// Weight of its disk I/O, 10 to 1000; has an effect only on disks that use BFQ or, in cgroup v2, iocost
    #[arg(long, value_name = "N", value_parser = |written: &str| weight(written, &(10..=1000)))]
    blkio_weight: Option<NewLimit<u64>>,
    /// Maximum number of processes and threads; 0 or -1: any number
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = pids_limit)]
    pids_limit: Option<NewLimit<u32>>,
    /// When to start it again after its end: no, on-failure[:MAX], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    names: Names,
}

impl UpdateArgs {
    fn change(&self) -> LimitChange {
        let memory = Memory {
            limit: at(self.memory),
            swap: None,
            reservation: self.memory_reservation,
            swappiness: None,
        };
        let cpu = Cpu {
            shares: at(self.cpu_shares),
            weight: None,
            cpus: at(self.cpus),
            quota: self.cpu_quota.filter(|quota| *quota > 0).and_then(|quota| quota.try_into().ok()),
            period: at(self.cpu_period),
            cpuset: self.cpuset_cpus.clone().filter(|list| !list.is_empty()),
            mems: self.cpuset_mems.clone().filter(|list| !list.is_empty()),
        };
        let blkio = Blkio { weight: at(self.blkio_weight), ..Blkio::default() };
        LimitChange {
            resources: Resources {
                memory: Some(memory).filter(|memory| *memory != Memory::default()),
                cpu: Some(cpu).filter(|cpu| *cpu != Cpu::default()),
                blkio: Some(blkio).filter(|blkio| *blkio != Blkio::default()),
                ..Resources::default()
            },
            lifts_memory: self.memory == Some(NewLimit::Unlimited),
            lifted_quota: self.cpu_quota.filter(|quota| *quota < 0),
            memory_and_swap: self.memory_swap.filter(|new| *new != NewLimit::Unchanged),
            pids: self.pids_limit,
            restart: self.restart,
        }
    }
}

/// The limit that is set. None: there is none, or it stays as it is.
fn at<T>(new: Option<NewLimit<T>>) -> Option<T> {
    match new {
        Some(NewLimit::At(limit)) => Some(limit),
        _ => None,
    }
}

/// Reads a number of CPUs. As in Docker, there is no value that takes the limit away.
fn cpu_limit(written: &str) -> std::result::Result<NewLimit<Cpus>, String> {
    match written {
        "-1" => written.parse().map(NewLimit::At),
        _ => match written.parse()? {
            NewLimit::At(cpus) => Cpus::of_machine(cpus).map(NewLimit::At),
            unchanged => Ok(unchanged),
        },
    }
}

/// Reads a quota. 0 leaves it as it is, and a negative number takes it away.
fn quota(written: &str) -> std::result::Result<i64, String> {
    match written.parse::<i64>() {
        Ok(number @ ..=0) => Ok(number),
        _ => match within(written, &QUOTAS)? {
            NewLimit::At(quota) => Ok(quota.cast_signed()),
            _ => Err(text("docker.number")),
        },
    }
}

/// Reads a weight. None can be taken away: there is always one.
fn weight(written: &str, range: &RangeInclusive<u64>) -> std::result::Result<NewLimit<u64>, String> {
    match within(written, range)? {
        NewLimit::Unlimited => Err(text("docker.number")),
        weight => Ok(weight),
    }
}

/// Reads a number of processes. As in Docker, 0 and less is no limit.
fn pids_limit(written: &str) -> std::result::Result<NewLimit<u32>, std::num::ParseIntError> {
    match written.parse::<i64>() {
        Ok(..=0) => Ok(NewLimit::Unlimited),
        _ => written.parse().map(NewLimit::At),
    }
}

/// Reads a limit that the kernel accepts only in a range.
fn within(written: &str, range: &RangeInclusive<u64>) -> std::result::Result<NewLimit<u64>, String> {
    let limit = written.parse().map_err(|_| text("docker.number"))?;
    match limit {
        NewLimit::At(number) if !range.contains(&number) => {
            let (least, most) = (range.start().to_string(), range.end().to_string());
            Err(text_with("spec.range", &[("least", &least), ("most", &most)]))
        }
        limit => Ok(limit),
    }
}

/// Changes containers.
pub(crate) fn run(color: Color, args: &UpdateArgs) -> Result<u8> {
    let refused = [
        ("--cpu-rt-period", &args.cpu_rt_period, "docker.no.realtime"),
        ("--cpu-rt-runtime", &args.cpu_rt_runtime, "docker.no.realtime"),
    ];
    if let Some((flag, _, why)) = refused.into_iter().find(|(_, value, _)| value.is_some()) {
        return Err(Error::usage(text_with("docker.refused", &[("flag", flag)])).why(text(why)));
    }
    let change = args.change();
    // A zero leaves a limit as it is, and is something that was asked for.
    let has_zero = [args.memory, args.memory_swap].contains(&Some(NewLimit::Unchanged))
        || args.cpu_quota == Some(0)
        || args.cpu_period == Some(NewLimit::Unchanged)
        || [args.cpu_shares, args.blkio_weight].contains(&Some(NewLimit::Unchanged))
        || [&args.cpuset_cpus, &args.cpuset_mems].into_iter().flatten().any(String::is_empty)
        || matches!(args.cpus, Some(NewLimit::Unchanged));
    if change.resources == Resources::default()
        && !change.lifts_memory
        && change.lifted_quota.is_none()
        && change.memory_and_swap.is_none()
        && change.pids.is_none()
        && change.restart.is_none()
        && !has_zero
    {
        return Err(as_docker(limits::nothing()));
    }
    let explain = args.explain.explainer();
    each_named(color, &args.names.containers, &args.explain, |store, container| {
        tell_reading(explain, container);
        limits::update(store, container, &change, explain).map_err(as_docker)?;
        Ok(())
    })
}
