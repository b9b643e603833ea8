//! The cpu controller: a share of the processors, a ceiling, and which of them.
//!
//! A *weight* counts only where processes of several groups want one processor at the same time: then each group gets its
//! part of the sum. Alone, a group gets all there is, whatever its weight. A *quota* is a ceiling, also on an idle machine:
//! so much time in each period; whoever has used it waits for the next one (is throttled). A *cpuset* says which
//! processors may be used at all. v1 calls the weight shares (1024 by default), v2 weight (100 by default).
//! Documentation/scheduler/sched-bwc.rst, admin-guide/cgroup-v1/cpusets.rst, cgroup-v2.rst (CPU, Cpuset)
//!
//! What you'll see: the group's own files, its time in cpuacct.usage or cpu.stat, nr_throttled.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
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
    #[arg(long, value_name = "F")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.5)]
    pub cpus: Option<Cpus>,
    /// Use only these CPUs: 0, 0-3 or 0,2
    #[arg(long, visible_alias = "cpuset-cpus", value_name = "LIST")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "processors")]
    #[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"), example = &"0")]
    pub cpuset: Option<String>,
}

/// The period of a quota, as docker has it, in microseconds.
const PERIOD: u64 = 100_000;
/// The least quota that the kernel takes, in microseconds.
const LEAST: u64 = 1000;

/// A number of processors, kept as microseconds of each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus(u64);

impl Cpus {
    /// So many hundredths of a processor.
    pub fn percent(hundredths: u64) -> Cpus {
        Cpus(hundredths * PERIOD / 100)
    }

    /// As a part of one processor.
    pub fn part(self) -> f64 {
        self.0 as f64 / PERIOD as f64
    }
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let number = words.parse::<f64>().ok().filter(|number| (0.01..=8192.0).contains(number));
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
    /// The controllers that it takes: on v1 the time is counted by one of its own.
    pub fn controllers(&self) -> Vec<Controller> {
        let mut all = vec![Controller::Cpu, Controller::Cpuacct];
        all.extend(self.cpuset.is_some().then_some(Controller::Cpuset));
        all
    }

    /// The intents.
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
        if let Some(cpus) = self.cpus {
            let quota = cpus.0.max(LEAST);
            let mut intent =
                of(Controller::Cpu, "cpu.cpus.why", format!("cpus {cpus}"), format!("--cpus {cpus}"));
            intent.v1 =
                vec![Setting::new("cpu.cfs_period_us", PERIOD), Setting::new("cpu.cfs_quota_us", quota)];
            intent.v2 = vec![Setting::new("cpu.max", format!("{quota} {PERIOD}"))];
            draft.intent(intent);
        }
        if let Some(list) = &self.cpuset {
            if !is_list(list) {
                let error = Error::failed(format!("--cpuset {list}"));
                draft.problem(Feature::Cpu, error.why(text("cpu.list.form")).todo(text("cpu.list.todo")));
            }
            let docker = format!("--cpuset-cpus {list}");
            let mut intent = of(Controller::Cpuset, "cpu.cpuset.why", format!("cpuset {list}"), docker);
            intent.v1 = vec![Setting::shown_as("cpuset.cpus", list, Some(as_shown(list)))];
            intent.v2 = intent.v1.clone();
            draft.intent(intent);
        }
    }
}

/// The weight of so many shares, by the formula of the OCI runtimes since 2025, a curve through (2, 1), (1024, 100) and
/// (262144, 10000): both defaults and both ends meet. Proportions between two groups don't survive it: `weight` keeps them.
pub fn weight_of(shares: u64) -> u64 {
    let exponent = (shares.clamp(2, 262_144) as f64).log2();
    let power = (exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0;
    // What isn't exact in binary fractions mustn't push 100 up to 101.
    ((10_f64.powf(power) - 1e-9).ceil() as u64).clamp(1, 10_000)
}

fn within(draft: &mut Draft, flag: &str, value: u64, range: std::ops::RangeInclusive<u64>) {
    if range.contains(&value) {
        return;
    }
    let (least, most) = (range.start().to_string(), range.end().to_string());
    let why = text_with("cpu.range.why", &[("least", &least), ("most", &most)]);
    let error = Error::failed(format!("--{flag} {value}")).why(why).todo(text("cpu.range.todo"));
    draft.problem(Feature::Cpu, error);
}

fn processors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    parse::checked(deserializer, |list: &String| {
        is_list(list).then_some(()).ok_or_else(|| text("cpu.list.form"))
    })
}

/// A list as the kernel shows it: in order, each range as long as it can be. `2,1,0` is `0-2`.
fn as_shown(list: &str) -> String {
    let number = |word: &str| word.parse::<u32>().unwrap_or_default();
    let range = |part: &str| {
        part.split_once('-').map_or((number(part), number(part)), |(from, to)| (number(from), number(to)))
    };
    let mut ranges: Vec<(u32, u32)> = list.split(',').map(range).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let part = |&(from, to): &(u32, u32)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    merged.iter().map(part).collect::<Vec<_>>().join(",")
}

/// `0-3,5`: cpuset(7), list format.
fn is_list(words: &str) -> bool {
    let number = |word: &str| word.parse::<u32>().ok();
    !words.is_empty()
        && words.split(',').all(|part| match part.split_once('-') {
            Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
            None => number(part).is_some(),
        })
}

/// The files that show it; read by a process on each side.
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
    fn both_defaults_and_both_ends_meet() {
        assert_eq!([2, 1024, 262_144].map(weight_of), [1, 100, 10_000]);
        assert_eq!((weight_of(0), weight_of(u64::MAX)), (1, 10_000));
        assert!((2..5000).all(|shares| weight_of(shares) <= weight_of(shares + 1)));
    }

    #[test]
    fn a_number_of_processors_becomes_a_quota() {
        assert_eq!("0.5".parse(), Ok(Cpus(50_000)));
        assert_eq!("2".parse::<Cpus>().unwrap().to_string(), "2");
        for wrong in ["", "0", "-1", "half", "NaN", "inf", "1e9"] {
            assert!(wrong.parse::<Cpus>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_of_processors_has_numbers_and_ranges() {
        assert!(["0", "0-3", "0,2", "0-1,3"].into_iter().all(is_list));
        assert!(!["", "a", "3-1", "0,", "-1", "0-"].into_iter().any(is_list));
    }

    #[test]
    fn the_kernel_shows_a_list_of_processors_in_order() {
        let lists = ["0", "0-3", "3,1,2", "0,2", "0-4,2-3,5", "9,0-1"].map(as_shown);
        assert_eq!(lists, ["0", "0-3", "1-3", "0,2", "0-5", "0-1,9"]);
    }
}
