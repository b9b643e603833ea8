//! What the cpu controller shows.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::limits::{group, watch};
use super::plot::{Mark, Plot, Sample};
use super::{Card, CardEntry, Stage};
use crate::cgroups::cpu::{Cpu as Flags, Cpus};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Cpu;
use crate::host::Cgroups;
use crate::observe::Unread;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::{file, proc};
use crate::teach::agent::{Agent, Progress};
use crate::teach::call::LoadCall;
use crate::text::text;

pub(super) const CARDS: &[CardEntry] =
    &[("weight", weight), ("alone", alone), ("quota", quota), ("cpuset", cpuset)];

/// How long processes compute, in milliseconds.
const LONG: u64 = 2000;
const SHORT: u64 = 1000;

/// Two on one processor, weighed 1 to 3.
fn weight(stage: &mut Stage<'_>) -> Result<Card> {
    let race = Race::run(stage, [LONG, LONG])?;
    let [light, heavy] = race.both;
    let ratio = heavy / light;
    Ok(Card::new(Cpu, "weight")
        .seen("INSIDE 1", race.weight_file(), &race.weights[0])
        .seen("INSIDE 2", race.weight_file(), &race.weights[1])
        .seen("INSIDE 1", race.time_file(), format!("{:.0} ms", light * 1000.0))
        .seen("INSIDE 2", race.time_file(), format!("{:.0} ms = {ratio:.2} x", heavy * 1000.0))
        .measured(race.plot)
        .holds((2.7..=3.3).contains(&ratio)))
}

/// The same two; the heavy one ends first.
fn alone(stage: &mut Stage<'_>) -> Result<Card> {
    let race = Race::run(stage, [LONG, SHORT])?;
    let (before, after) = (race.both[0] / race.seconds[0], race.alone / race.seconds[1]);
    let percent = |part: f64| format!("{:.0} % of the processor", part * 100.0);
    Ok(Card::new(Cpu, "alone")
        .seen("INSIDE 1", race.weight_file(), &race.weights[0])
        .seen("INSIDE 1", format!("{}, {}", race.time_file(), text("cpu.beside")), percent(before))
        .seen("INSIDE 1", format!("{}, {}", race.time_file(), text("cpu.alone")), percent(after))
        .measured(race.plot)
        .holds(after >= 2.0 * before))
}

/// A ceiling, on an idle machine too.
fn quota(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = stage.spec.clone();
    let flags = spec.cpu.get_or_insert_default();
    let allowed = flags.cpus.get_or_insert(Cpus::percent(20)).part();
    let inside = stage.start(&spec, Cpu)?;
    let (group, time) = (group(&inside, Controller::Cpu)?, CpuTime::of(&inside)?);
    inside.begin(LoadCall::Spin { milliseconds: SHORT })?;
    let mut plot = Plot::new(text("cpu.plot"), "% of a CPU", Some(allowed * 100.0));
    let lane = plot.lane("one that computes", '#');
    let throttled = || group.field(("cpu.stat", "nr_throttled"), ("cpu.stat", "nr_throttled")).unwrap_or(0);
    let begin = time.seconds();
    let (mut rate, mut seen, mut elapsed) = (Rate::new(begin), 0, 0.0);
    watch(stage, &mut plot, &[&inside], |seconds, _, plot| {
        elapsed = seconds;
        let now = throttled();
        if let Some(percent) = rate.after(seconds, time.seconds()) {
            let mark = (now > seen).then_some(Mark::Throttled);
            plot.push(lane, Sample { seconds, value: percent, mark });
            seen = now;
        }
        plot.lanes[lane].note = format!("nr_throttled {now}");
    })?;
    let used = (time.seconds() - begin) / elapsed.max(0.001);
    let card = Card::new(Cpu, "quota")
        .outside(format!("<cpu>/{}", group.name("cpu.cfs_quota_us", "cpu.max")), cpus_words(&group))
        .inside(
            LoadCall::Spin { milliseconds: SHORT }.to_string(),
            format!("{:.0} % of a processor", used * 100.0),
        )
        .outside("<cpu>/cpu.stat", format!("nr_throttled {}", throttled()))
        .measured(plot);
    if allowed >= 1.0 {
        // One process can't use more than one.
        return Ok(card.skip("cpu.skip.quota"));
    }
    Ok(card.holds(throttled() > 0 && used <= allowed * 1.3 + 0.05))
}

/// Only some of the processors.
fn cpuset(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Cpu, "cpuset");
    let mut spec = stage.spec.clone();
    let flags = spec.cpu.get_or_insert_default();
    let list = flags.cpuset.get_or_insert_with(|| processor().to_string()).clone();
    let controllers = [Controller::Cpuset];
    if Cgroups::gather(&controllers, &mut Unread::default()).site(Controller::Cpuset).is_none() {
        return Ok(card.skip("cpu.skip.cpuset"));
    }
    let inside = stage.start(&spec, Cpu)?;
    let allowed = |words: String| proc::status_of(&words, "Cpus_allowed_list").unwrap_or_default().to_owned();
    let outer = allowed(file::read_text("/proc/self/status").unwrap_or_default());
    let inner = allowed(inside.read("/proc/self/status")?.unwrap_or_default());
    Ok(card
        .outside("<cpuset>/cpuset.cpus", &list)
        .outside("/proc/self/status, Cpus_allowed_list:", outer)
        .inside("/proc/self/status, Cpus_allowed_list:", &inner)
        .holds(inner == list))
}

/// Two processes that compute on one processor, weighed 1 to 3, and what time each was given.
struct Race {
    /// What each one's file of the weight says.
    weights: [String; 2],
    version: Version,
    plot: Plot,
    /// The seconds of each while both computed.
    both: [f64; 2],
    /// The seconds of the first when it was alone.
    alone: f64,
    /// How long both computed, and then the first alone.
    seconds: [f64; 2],
}

impl Race {
    /// The first weighs 100 (v1: 1024), the second 300 (3072); each computes for so many milliseconds.
    fn run(stage: &mut Stage<'_>, milliseconds: [u64; 2]) -> Result<Race> {
        let runner = |stage: &mut Stage<'_>, weight| -> Result<Agent> {
            let mut spec =
                Spec { cpu: Some(Flags { weight: Some(weight), ..Flags::default() }), ..Spec::default() };
            spec.cpu.get_or_insert_default().cpuset = None;
            let runner = stage.start(&spec, Cpu)?;
            // A processor of their own that both must share: without that each would have one.
            let _ = runner.perform(LoadCall::Pin(processor()))?;
            Ok(runner)
        };
        let runners = [runner(stage, 100)?, runner(stage, 300)?];
        let groups = [group(&runners[0], Controller::Cpu)?, group(&runners[1], Controller::Cpu)?];
        let times = [CpuTime::of(&runners[0])?, CpuTime::of(&runners[1])?];
        let mut plot = Plot::new(text("cpu.plot"), "% of a CPU", Some(100.0));
        let lanes = [plot.lane("weight 100", '1'), plot.lane("weight 300", '3')];
        let begin = times.each_ref().map(CpuTime::seconds);
        for (runner, milliseconds) in runners.iter().zip(milliseconds) {
            runner.begin(LoadCall::Spin { milliseconds })?;
        }
        let mut rates = begin.map(Rate::new);
        // When the second had ended, and what each had used by then.
        let mut turn: Option<(f64, [f64; 2])> = None;
        let mut end = 0.0;
        watch(stage, &mut plot, &[&runners[0], &runners[1]], |seconds, progress, plot| {
            let now = times.each_ref().map(CpuTime::seconds);
            for (index, rate) in rates.iter_mut().enumerate() {
                if let Some(value) = rate.after(seconds, now[index]) {
                    plot.push(lanes[index], Sample { seconds, value, mark: None });
                }
            }
            if progress.iter().any(|one| *one != Progress::Works) {
                turn.get_or_insert((seconds, now));
            }
            end = seconds;
        })?;
        let now = times.each_ref().map(CpuTime::seconds);
        let (at, used) = turn.unwrap_or((end, now));
        let weights = groups
            .each_ref()
            .map(|group| group.read("cpu.shares", "cpu.weight").unwrap_or_default().trim().to_owned());
        Ok(Race {
            weights,
            version: groups[0].version(),
            plot,
            both: [used[0] - begin[0], used[1] - begin[1]],
            alone: now[0] - used[0],
            seconds: [at.max(0.001), (end - at).max(0.001)],
        })
    }

    fn weight_file(&self) -> &'static str {
        match self.version {
            Version::V1 => "<cpu>/cpu.shares",
            Version::V2 => "<cpu>/cpu.weight",
        }
    }

    fn time_file(&self) -> &'static str {
        match self.version {
            Version::V1 => "<cpuacct>/cpuacct.usage",
            Version::V2 => "<cpu>/cpu.stat, usage_usec",
        }
    }
}

/// The processor time of a process's group, as the kernel counts it.
pub(crate) struct CpuTime(ProcessCgroup);

impl CpuTime {
    pub(crate) fn of(agent: &Agent) -> Result<CpuTime> {
        group(agent, Controller::Cpuacct).map(CpuTime)
    }

    pub(crate) fn seconds(&self) -> f64 {
        match self.0.version() {
            Version::V1 => self.0.number("cpuacct.usage", "").unwrap_or(0) as f64 / 1e9,
            Version::V2 => self.0.field(("", ""), ("cpu.stat", "usage_usec")).unwrap_or(0) as f64 / 1e6,
        }
    }
}

/// Time used between two looks, as a part of the time gone by.
struct Rate {
    at: f64,
    used: f64,
}

impl Rate {
    /// Over less than this the kernel's own steps would show.
    const LEAST: f64 = 0.1;

    fn new(used: f64) -> Rate {
        Rate { at: 0.0, used }
    }

    fn after(&mut self, seconds: f64, used: f64) -> Option<f64> {
        if seconds - self.at < Rate::LEAST {
            return None;
        }
        let percent = 100.0 * (used - self.used) / (seconds - self.at);
        (self.at, self.used) = (seconds, used);
        Some(percent)
    }
}

/// The last of the processors that the caller may use.
pub(crate) fn processor() -> usize {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).unwrap_or(0)
}

fn cpus_words(group: &ProcessCgroup) -> String {
    let quota = group.read("cpu.cfs_quota_us", "cpu.max").unwrap_or_default();
    quota.trim().to_owned()
}
