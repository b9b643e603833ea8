//! The cpu and cpuset controllers: shares of CPU time, a maximum, and a choice of CPUs.
//!
//! # What they do
//!
//! - A *weight* has an effect while processes of several cgroups want the same CPU. Each cgroup then gets its part of
//!   the sum of the weights. A cgroup that is alone gets all the time, with any weight. cgroup v1 calls it shares (1024
//!   by default), cgroup v2 weight (100 by default).
//! - A *quota* is a maximum, also on an idle machine. It is an amount of time in each period. A cgroup that has used it
//!   is throttled until the next period.
//! - A *cpuset* is the list of CPUs that the processes may use.
//!
//! # Why one wants it
//!
//! A program that computes without end cannot slow down the others.
//!
//! # What you see here
//!
//! The files of the cgroup, its time in cpuacct.usage or cpu.stat, and nr_throttled.
//!
//! Documentation/scheduler/sched-bwc.rst, admin-guide/cgroup-v1/cpusets.rst, cgroup-v2.rst (CPU, Cpuset)

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::Host;
use crate::observe::hierarchy::Controller;
use crate::observe::{Observation, cgroup};
use crate::plan::{Context, Draft, Setting};
use crate::text::{text, text_with};
use crate::value::parse;

/// Options of the cpu and cpuset controllers.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Cpu {
    /// CPU weight in the units of cgroup v1 and docker, 2 to 262144; every cgroup starts with 1024
    #[arg(long, short = 'c', visible_alias = "cpu-shares", value_name = "N", conflicts_with = "weight")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "parse::within::<2, 262_144, _, _>")]
    #[schemars(range(min = 2, max = 262_144), example = 512)]
    pub shares: Option<u64>,
    /// CPU weight in the units of cgroup v2, 1 to 10000; every cgroup starts with 100; not together with shares
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "parse::within::<1, 10_000, _, _>")]
    #[schemars(range(min = 1, max = 10_000), example = 50)]
    pub weight: Option<u64>,
    /// Maximum CPU time: 0.5 is half of one CPU, 2 is two whole CPUs
    #[arg(long, value_name = "F", conflicts_with_all = ["quota", "period"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.5)]
    pub cpus: Option<Cpus>,
    /// Maximum CPU time of each period in microseconds, at least 1000: cpus in the units of the kernel
    #[arg(long, visible_alias = "cpu-quota", value_name = "MICROSECONDS")]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "parse::within::<1000, 8_192_000_000, _, _>"
    )]
    #[schemars(range(min = 1000, max = 8_192_000_000_u64), example = 50_000)]
    pub quota: Option<u64>,
    /// The period of a quota in microseconds, 1000 to 1000000; the default is 100000
    #[arg(long, visible_alias = "cpu-period", value_name = "MICROSECONDS")]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "parse::within::<1000, 1_000_000, _, _>"
    )]
    #[schemars(range(min = 1000, max = 1_000_000), example = 50_000)]
    pub period: Option<u64>,
    /// Use only these CPUs: 0, 0-3 or 0,2
    #[arg(long, visible_alias = "cpuset-cpus", value_name = "LIST")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "cpu_list")]
    #[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"), example = &"0")]
    pub cpuset: Option<String>,
    /// Use memory of only these NUMA nodes: 0, 0-3 or 0,2
    #[arg(long, visible_alias = "cpuset-mems", value_name = "LIST")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "node_list")]
    #[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"), example = &"0")]
    pub mems: Option<String>,
}

/// The period of a quota in microseconds, the same as docker's.
const PERIOD: u64 = 100_000;
/// The quotas that the kernel accepts, in microseconds, up to that of 8192 CPUs in the maximum period.
pub const QUOTAS: RangeInclusive<u64> = 1000..=8_192_000_000;
/// The periods that the kernel accepts, in microseconds.
pub const PERIODS: RangeInclusive<u64> = 1000..=1_000_000;

/// A number of CPUs, stored as microseconds of each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus(u64);

impl Cpus {
    /// A number of hundredths of a CPU.
    pub fn percent(hundredths: u64) -> Cpus {
        Cpus(hundredths * PERIOD / 100)
    }

    /// This number, if the machine has at least as many CPUs. Docker refuses more, and counts those on which the caller may run.
    ///
    /// # Errors
    /// The machine has fewer.
    pub fn of_machine(self) -> Result<Self, String> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
        let count = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true)).count();
        match count > 0 && self.part() > count as f64 {
            true => Err(text_with("cpu.cpus.machine", &[("count", &count.to_string())])),
            false => Ok(self),
        }
    }

    /// The number of CPUs: 0.5 is half of one.
    pub fn part(self) -> f64 {
        self.0 as f64 / PERIOD as f64
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(number: &str) -> Result<Self, String> {
        let number = number.parse::<f64>().ok().filter(|number| (0.01..=8192.0).contains(number));
        number
            .map(|number| Cpus((number * PERIOD as f64).round() as u64))
            .ok_or_else(|| text("cpu.cpus.form"))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.part())
    }
}

impl Serialize for Cpus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.part())
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)?.to_string().parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cpus {
    fn schema_name() -> Cow<'static, str> {
        "Cpus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.01, "maximum": 8192 })
    }
}

impl Cpu {
    /// The controllers that these options need. In cgroup v1, cpuacct counts the time.
    pub fn controllers(&self) -> Vec<Controller> {
        let mut all = vec![Controller::Cpu, Controller::Cpuacct];
        all.extend((!self.lists().is_empty()).then_some(Controller::Cpuset));
        all
    }

    /// The quota and the period as the caller wrote them, and as flags of docker. None: the caller wrote none of them.
    fn wish_of_quota(&self) -> Option<(String, String)> {
        let cpus = self.cpus.map(|cpus| ("cpus", "--cpus", cpus.to_string()));
        let quota = self.quota.map(|quota| ("quota", "--cpu-quota", quota.to_string()));
        let period = self.period.map(|period| ("period", "--cpu-period", period.to_string()));
        let written: Vec<_> = [cpus, quota, period].into_iter().flatten().collect();
        let wish =
            written.iter().map(|(key, _, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ");
        let docker =
            written.iter().map(|(_, flag, value)| format!("{flag} {value}")).collect::<Vec<_>>().join(" ");
        (!written.is_empty()).then_some((wish, docker))
    }

    /// The limits, as intents: the files and values of cgroup v1 and of cgroup v2.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let host = context.host;
        let of = |controller, why, wish, docker| intent(host, controller, why, wish, docker);
        if let Some(shares) = self.shares {
            within(draft, "shares", shares, 2..=262_144);
            let docker = format!("--cpu-shares {shares}");
            let mut intent = of(Controller::Cpu, "cpu.shares.why", format!("shares {shares}"), docker);
            intent.v1 = vec![Setting::new("cpu.shares", shares)];
            intent.v2 = vec![Setting::new("cpu.weight", weight_of(shares))];
            draft.intent(intent);
        }
        if let Some(weight) = self.weight {
            within(draft, "weight", weight, 1..=10_000);
            let shares = (weight.saturating_mul(1024) / 100).clamp(2, 262_144);
            let docker = format!("--cpu-shares {shares}");
            let mut intent = of(Controller::Cpu, "cpu.weight.why", format!("weight {weight}"), docker);
            intent.v1 = vec![Setting::new("cpu.shares", shares)];
            intent.v2 = vec![Setting::new("cpu.weight", weight)];
            draft.intent(intent);
        }
        if let Some((wish, docker)) = self.wish_of_quota() {
            for (key, value, range) in [("quota", self.quota, QUOTAS), ("period", self.period, PERIODS)] {
                value.iter().for_each(|value| within(draft, key, *value, range.clone()));
            }
            let quota = self.cpus.map(|cpus| cpus.0.max(*QUOTAS.start())).or(self.quota);
            let period = self.period.unwrap_or(PERIOD);
            let written = |none: &str| quota.map_or(none.to_owned(), |quota| quota.to_string());
            let mut intent = of(Controller::Cpu, "cpu.cpus.why", wish, docker);
            intent.v1 = vec![
                Setting::new("cpu.cfs_period_us", period),
                Setting::new("cpu.cfs_quota_us", written("-1")),
            ];
            intent.v2 = vec![Setting::new("cpu.max", format!("{} {period}", written("max")))];
            draft.intent(intent);
        }
        self.lists().into_iter().for_each(|list| list.plan(host, draft));
    }

    /// The lists of the cpuset controller.
    fn lists(&self) -> Vec<CpusetList<'_>> {
        let cpus = self.cpuset.as_deref().map(|list| CpusetList { list, of_nodes: false });
        let nodes = self.mems.as_deref().map(|list| CpusetList { list, of_nodes: true });
        cpus.into_iter().chain(nodes).collect()
    }
}

/// A list of the cpuset controller: of CPUs, or of memory nodes.
#[derive(Clone, Copy)]
struct CpusetList<'a> {
    list: &'a str,
    of_nodes: bool,
}

impl CpusetList<'_> {
    fn plan(self, host: &Host, draft: &mut Draft) {
        let CpusetList { list, of_nodes } = self;
        let (key, flag, file, why, online) = match of_nodes {
            false => ("cpuset", "--cpuset-cpus", "cpuset.cpus", "cpu.cpuset.why", &host.online_cpus),
            true => ("mems", "--cpuset-mems", "cpuset.mems", "cpu.mems.why", &host.memory_nodes),
        };
        if let Some(reason) = self.wrong(online.as_deref()) {
            let error = Error::failed(draft.option_with(Feature::Cpu, key, list)).why(reason);
            draft.problem_of(Feature::Cpu, key, error.todo(text(list_todo(of_nodes))));
        }
        let docker = format!("{flag} {list}");
        let mut intent = intent(host, Controller::Cpuset, why, format!("{key} {list}"), docker);
        intent.v1 = vec![Setting::shown_as(file, list, Some(as_shown(list)))];
        intent.v2 = intent.v1.clone();
        draft.intent(intent);
    }

    /// Why this machine cannot have this list. None: it can.
    fn wrong(self, online: Option<&str>) -> Option<String> {
        let keys = match self.of_nodes {
            false => ["cpu.list.form", "cpu.cpuset.offline"],
            true => ["cpu.nodes.form", "cpu.mems.offline"],
        };
        if !is_list(self.list) {
            return Some(text(keys[0]));
        }
        let missing =
            online.map(|online| without(self.list, online)).filter(|missing| !missing.is_empty())?;
        let values = [("missing", missing.as_str()), ("online", online.unwrap_or_default())];
        Some(text_with(keys[1], &values))
    }
}

/// The message with the line that shows which CPUs or memory nodes there are.
pub(super) fn list_todo(of_nodes: bool) -> &'static str {
    if of_nodes { "cpu.nodes.todo" } else { "cpu.list.todo" }
}

/// The weight of cgroup v2 for shares of cgroup v1, by the formula that the OCI runtimes use since 2025. Its curve goes
/// through (2, 1), (1024, 100) and (262144, 10000): it maps the default and both ends of the range. It does not keep
/// the proportion between two cgroups. The option `weight` does.
pub fn weight_of(shares: u64) -> u64 {
    let exponent = (shares.clamp(2, 262_144) as f64).log2();
    let power = (exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0;
    // A rounding error of the floating-point numbers must not turn 100 into 101.
    ((10_f64.powf(power) - 1e-9).ceil() as u64).clamp(1, 10_000)
}

/// Adds a problem if the value of an option is out of its range.
fn within(draft: &mut Draft, key: &str, value: u64, range: RangeInclusive<u64>) {
    if range.contains(&value) {
        return;
    }
    let (least, most) = (range.start().to_string(), range.end().to_string());
    let why = text_with("cpu.range.why", &[("least", &least), ("most", &most)]);
    let error = Error::failed(draft.option_with(Feature::Cpu, key, value));
    draft.problem_of(Feature::Cpu, key, error.why(why).todo(text("cpu.range.todo")));
}

fn cpu_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    parse::checked(deserializer, |list: &String| {
        is_list(list).then_some(()).ok_or_else(|| text("cpu.list.form"))
    })
}

fn node_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    parse::checked(deserializer, |list: &String| {
        is_list(list).then_some(()).ok_or_else(|| text("cpu.nodes.form"))
    })
}

/// A list of CPUs as the kernel shows it: sorted, with neighbours joined to ranges. `2,1,0` becomes `0-2`.
pub(super) fn as_shown(list: &str) -> String {
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (from, to) in ranges(list) {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let part = |&(from, to): &(u32, u32)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    merged.iter().map(part).collect::<Vec<_>>().join(",")
}

/// The CPUs that are in both lists. Empty if there are none.
pub(super) fn common(one: &str, other: &str) -> String {
    let pairs = ranges(one).into_iter().flat_map(|a| ranges(other).into_iter().map(move |b| (a, b)));
    let both = pairs.map(|(a, b)| (a.0.max(b.0), a.1.min(b.1))).filter(|(from, to)| from <= to);
    as_shown(&both.map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>().join(","))
}

/// The CPUs of the first list that are not in the second one.
fn without(list: &str, other: &str) -> String {
    let mut left = ranges(list);
    for (from, to) in ranges(other) {
        let parts = left.into_iter().flat_map(|(first, last)| {
            let below = from.checked_sub(1).map(|end| (first, last.min(end)));
            let above = to.checked_add(1).map(|start| (first.max(start), last));
            [below, above].into_iter().flatten().filter(|(first, last)| first <= last)
        });
        left = parts.collect();
    }
    as_shown(&left.iter().map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>().join(","))
}

/// The ranges of a list of CPUs, sorted.
fn ranges(list: &str) -> Vec<(u32, u32)> {
    let number = |digits: &str| digits.parse::<u32>().ok();
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((number(from)?, number(to)?)),
        None => Some((number(part)?, number(part)?)),
    };
    let mut ranges: Vec<(u32, u32)> = list.split(',').filter_map(range).collect();
    ranges.sort_unstable();
    ranges
}

/// Whether this is a list of CPUs, such as `0-3,5`: cpuset(7), list format.
fn is_list(list: &str) -> bool {
    let number = |digits: &str| digits.parse::<u32>().ok();
    !list.is_empty()
        && list.split(',').all(|part| match part.split_once('-') {
            Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
            None => number(part).is_some(),
        })
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    let file = |controller, v1, v2| cgroup::file(process, controller, v1, v2);
    let throttled = ("cpu.stat", "nr_throttled");
    vec![
        cgroup::membership(process, Controller::Cpu),
        file(Controller::Cpu, "cpu.shares", "cpu.weight"),
        file(Controller::Cpu, "cpu.cfs_quota_us", "cpu.max"),
        cgroup::field(process, Controller::Cpu, throttled, throttled),
        file(Controller::Cpuset, "cpuset.effective_cpus", "cpuset.cpus.effective"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_and_the_ends_of_both_ranges_correspond() {
        assert_eq!([2, 1024, 262_144].map(weight_of), [1, 100, 10_000]);
        assert_eq!((weight_of(0), weight_of(u64::MAX)), (1, 10_000));
        assert!((2..5000).all(|shares| weight_of(shares) <= weight_of(shares + 1)));
    }

    #[test]
    fn a_number_of_cpus_becomes_a_quota() {
        assert_eq!("0.5".parse(), Ok(Cpus(50_000)));
        assert_eq!("2".parse::<Cpus>().unwrap().to_string(), "2");
        for wrong in ["", "0", "-1", "half", "NaN", "inf", "1e9"] {
            assert!(wrong.parse::<Cpus>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_of_cpus_has_numbers_and_ranges() {
        assert!(["0", "0-3", "0,2", "0-1,3"].into_iter().all(is_list));
        assert!(!["", "a", "3-1", "0,", "-1", "0-"].into_iter().any(is_list));
    }

    #[test]
    fn lists_of_cpus_are_sets() {
        assert_eq!(common("0-3,5", "2-6"), "2-3,5");
        assert_eq!(common("0", "1"), "");
        assert_eq!(without("0-3,5", "1-2"), "0,3,5");
        assert_eq!(without("0-1", "0-7"), "");
        assert_eq!(without("0,4294967295", "0-1"), "4294967295");
    }

    #[test]
    fn the_kernel_shows_a_list_of_cpus_in_order() {
        let lists = ["0", "0-3", "3,1,2", "0,2", "0-4,2-3,5", "9,0-1"].map(as_shown);
        assert_eq!(lists, ["0", "0-3", "1-3", "0,2", "0-5", "0-1,9"]);
    }
}
