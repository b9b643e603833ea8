//! Demonstrations of the cpu controller: weights, quotas and cpusets.
//!
//! A weight divides a CPU between cgroups that compete for it; it has no effect on a cgroup that computes alone. A
//! quota is an upper limit, also on an idle machine. A cpuset allows only some of the CPUs.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::limits::{cgroup_of, watch};
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
use crate::text::{text, text_with};

pub(super) const CARDS: &[CardEntry] =
    &[("weight", weight), ("alone", alone), ("quota", quota), ("cpuset", cpuset)];

/// The milliseconds that a process computes in a long run.
const LONG: u64 = 2000;
/// The same in a short run.
const SHORT: u64 = 1000;

/// Two processes on one CPU whose weights are 1 to 3 get CPU time in this ratio.
fn weight(stage: &mut Stage<'_>) -> Result<Card> {
    let test = WeightTest::run(stage, [LONG, LONG])?;
    let [light, heavy] = test.both;
    let ratio = heavy / light;
    Ok(Card::new(Cpu, "weight")
        .seen("INSIDE 1", test.weight_file(), &test.weights[0])
        .seen("INSIDE 2", test.weight_file(), &test.weights[1])
        .seen("INSIDE 1", test.time_file(), format!("{:.0} ms", light * 1000.0))
        .seen("INSIDE 2", test.time_file(), format!("{:.0} ms = {ratio:.2} x", heavy * 1000.0))
        .measured(test.plot.clone())
        .with_lines_of(&test)
        .holds((2.7..=3.3).contains(&ratio)))
}

/// The same two processes. When the one with the larger weight ends, the other one gets the whole CPU.
fn alone(stage: &mut Stage<'_>) -> Result<Card> {
    let test = WeightTest::run(stage, [LONG, SHORT])?;
    let (before, after) = (test.both[0] / test.seconds[0], test.alone / test.seconds[1]);
    let percent = |part: f64| format!("{:.0} % of the CPU", part * 100.0);
    Ok(Card::new(Cpu, "alone")
        .seen("INSIDE 1", test.weight_file(), &test.weights[0])
        .seen("INSIDE 1", format!("{}, {}", test.time_file(), text("cpu.beside")), percent(before))
        .seen("INSIDE 1", format!("{}, {}", test.time_file(), text("cpu.alone")), percent(after))
        .measured(test.plot.clone())
        .with_lines_of(&test)
        .holds(after >= 2.0 * before))
}

/// A quota limits CPU time, also on an idle machine.
fn quota(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = stage.spec.clone();
    let flags = spec.cpu.get_or_insert_default();
    let allowed = flags.cpus.get_or_insert(Cpus::percent(20)).part();
    let inside = stage.start(&spec, Cpu)?;
    let (cgroup, time) = (cgroup_of(&inside, Controller::Cpu)?, CpuTime::of(&inside)?);
    inside.begin(LoadCall::Spin { milliseconds: SHORT })?;
    let mut plot = picture(&time, Some(allowed * 100.0));
    let lane = plot.lane(text("cpu.picture.alone"), '#', text("cpu.picture.time"));
    let throttled = || cgroup.field(("cpu.stat", "nr_throttled"), ("cpu.stat", "nr_throttled")).unwrap_or(0);
    let begin = time.seconds();
    let (mut rate, mut seen, mut elapsed) = (CpuUsage::new(begin), 0, 0.0);
    watch(stage, &mut plot, &[&inside], |seconds, _, plot| {
        elapsed = seconds;
        let now = throttled();
        if let Some(percent) = rate.after(seconds, time.seconds()) {
            let mark = (now > seen).then_some(Mark::Throttled);
            plot.push(lane, Sample { seconds, value: percent, mark });
            seen = now;
        }
        plot.lanes[lane].note = text_with("cpu.picture.counts", &[("count", &now.to_string())]);
    })?;
    let used = (time.seconds() - begin) / elapsed.max(0.001);
    let card = Card::new(Cpu, "quota")
        .outside(format!("<cpu>/{}", cgroup.name("cpu.cfs_quota_us", "cpu.max")), quota_text(&cgroup))
        .inside(LoadCall::Spin { milliseconds: SHORT }.to_string(), format!("{:.0} % of a CPU", used * 100.0))
        .outside("<cpu>/cpu.stat", format!("nr_throttled {}", throttled()))
        .measured(plot)
        .in_cgroup(&cgroup)
        .with("quota", quota_text(&cgroup));
    if allowed >= 1.0 {
        // One process cannot use more than one CPU, so the limit is not reached.
        return Ok(card.skip("cpu.skip.quota"));
    }
    Ok(card.holds(throttled() > 0 && used <= allowed * 1.3 + 0.05))
}

/// A cpuset allows only some of the CPUs.
fn cpuset(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Cpu, "cpuset");
    let mut spec = stage.spec.clone();
    let flags = spec.cpu.get_or_insert_default();
    let list = flags.cpuset.get_or_insert_with(|| processor().to_string()).clone();
    let controllers = [Controller::Cpuset];
    if Cgroups::gather(&controllers, false, &mut Unread::default()).parent(Controller::Cpuset).is_none() {
        return Ok(card.skip("cpu.skip.cpuset"));
    }
    let inside = stage.start(&spec, Cpu)?;
    let allowed =
        |status: String| proc::status_of(&status, "Cpus_allowed_list").unwrap_or_default().to_owned();
    let outer = allowed(file::read_text("/proc/self/status").unwrap_or_default());
    let inner = allowed(inside.read("/proc/self/status")?.unwrap_or_default());
    Ok(card
        .in_cgroup(&cgroup_of(&inside, Controller::Cpuset)?)
        .with("list", &list)
        .outside("<cpuset>/cpuset.cpus", &list)
        .outside("/proc/self/status, Cpus_allowed_list:", outer)
        .inside("/proc/self/status, Cpus_allowed_list:", &inner)
        .holds(inner == list))
}

impl Card {
    /// The values for the lines that repeat a test of weights.
    fn with_lines_of(self, test: &WeightTest) -> Card {
        let enable = match test.cgroup.version() {
            Version::V1 => "",
            Version::V2 => "echo +cpu > $g/cgroup.subtree_control",
        };
        self.in_cgroup(&test.cgroup)
            .with("enable", enable)
            .with("file", test.cgroup.name("cpu.shares", "cpu.weight"))
            .with("light", &test.weights[0])
            .with("heavy", &test.weights[1])
            .with("cpu", processor())
    }
}

/// Two processes computed on one CPU, with weights 1 to 3. This is the CPU time that each got.
struct WeightTest {
    /// The weights, as read from the files.
    weights: [String; 2],
    /// The cgroup of the first process.
    cgroup: ProcessCgroup,
    plot: Plot,
    /// The CPU seconds of each while both computed.
    both: [f64; 2],
    /// The CPU seconds of the first process after the second had ended.
    alone: f64,
    /// How many seconds both computed, and then the first alone.
    seconds: [f64; 2],
}

impl WeightTest {
    /// Runs both processes, each for so many milliseconds. The weights are 100 and 300 (cgroup v1: 1024 and 3072).
    fn run(stage: &mut Stage<'_>, milliseconds: [u64; 2]) -> Result<WeightTest> {
        let runner = |stage: &mut Stage<'_>, weight| -> Result<Agent> {
            let mut spec =
                Spec { cpu: Some(Flags { weight: Some(weight), ..Flags::default() }), ..Spec::default() };
            spec.cpu.get_or_insert_default().cpuset = None;
            let runner = stage.start(&spec, Cpu)?;
            // Both must run on the same CPU. Otherwise each would have one for itself.
            let _ = runner.perform(LoadCall::Pin(processor()))?;
            Ok(runner)
        };
        let runners = [runner(stage, 100)?, runner(stage, 300)?];
        let cgroups = [cgroup_of(&runners[0], Controller::Cpu)?, cgroup_of(&runners[1], Controller::Cpu)?];
        let times = [CpuTime::of(&runners[0])?, CpuTime::of(&runners[1])?];
        let weight_file = cgroups[0].name("cpu.shares", "cpu.weight");
        let weights = cgroups
            .each_ref()
            .map(|cgroup| cgroup.read("cpu.shares", "cpu.weight").unwrap_or_default().trim().to_owned());
        // A weight limits nothing, so the picture has no limit.
        let mut plot = picture(&times[0], None);
        let name = |index: usize| {
            text_with("cpu.picture.weight", &[("file", weight_file), ("weight", &weights[index])])
        };
        let lanes = [(0, '1'), (1, '3')]
            .map(|(index, character)| plot.lane(name(index), character, text("cpu.picture.time")));
        let begin = times.each_ref().map(CpuTime::seconds);
        for (runner, milliseconds) in runners.iter().zip(milliseconds) {
            runner.begin(LoadCall::Spin { milliseconds })?;
        }
        let mut rates = begin.map(CpuUsage::new);
        // The time when the first of them ended, and the CPU time of each until then.
        let mut first_end: Option<(f64, [f64; 2])> = None;
        let mut end = 0.0;
        watch(stage, &mut plot, &[&runners[0], &runners[1]], |seconds, progress, plot| {
            let now = times.each_ref().map(CpuTime::seconds);
            for (index, rate) in rates.iter_mut().enumerate() {
                if let Some(value) = rate.after(seconds, now[index]) {
                    plot.push(lanes[index], Sample { seconds, value, mark: None });
                }
            }
            if progress.iter().any(|progress| *progress != Progress::Works) {
                first_end.get_or_insert((seconds, now));
            }
            end = seconds;
        })?;
        let now = times.each_ref().map(CpuTime::seconds);
        let (at, used) = first_end.unwrap_or((end, now));
        let [cgroup, _] = cgroups;
        Ok(WeightTest {
            weights,
            cgroup,
            plot,
            both: [used[0] - begin[0], used[1] - begin[1]],
            alone: now[0] - used[0],
            seconds: [at.max(0.001), (end - at).max(0.001)],
        })
    }

    fn weight_file(&self) -> &'static str {
        self.cgroup.name("<cpu>/cpu.shares", "<cpu>/cpu.weight")
    }

    fn time_file(&self) -> &'static str {
        self.cgroup.name("<cpuacct>/cpuacct.usage", "<cpu>/cpu.stat, usage_usec")
    }
}

/// Reads the CPU time that the cgroup of a process has used.
pub(crate) struct CpuTime(ProcessCgroup);

impl CpuTime {
    /// Finds the cgroup of the agent.
    pub(crate) fn of(agent: &Agent) -> Result<CpuTime> {
        cgroup_of(agent, Controller::Cpuacct).map(CpuTime)
    }

    /// The CPU time so far, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        match self.0.version() {
            Version::V1 => self.0.number("cpuacct.usage", "").unwrap_or(0) as f64 / 1e9,
            Version::V2 => self.0.field(("", ""), ("cpu.stat", "usage_usec")).unwrap_or(0) as f64 / 1e6,
        }
    }
}

/// Computes CPU usage between two readings, in percent of the elapsed time.
struct CpuUsage {
    at: f64,
    used: f64,
}

impl CpuUsage {
    /// The shortest interval, in seconds. Over a shorter one the counter would grow in visible steps.
    const MIN_INTERVAL: f64 = 0.1;

    fn new(used: f64) -> CpuUsage {
        CpuUsage { at: 0.0, used }
    }

    /// The usage since the last reading; none if that was too short a time ago.
    fn after(&mut self, seconds: f64, used: f64) -> Option<f64> {
        if seconds - self.at < CpuUsage::MIN_INTERVAL {
            return None;
        }
        let percent = 100.0 * (used - self.used) / (seconds - self.at);
        (self.at, self.used) = (seconds, used);
        Some(percent)
    }
}

/// The last of the CPUs that the caller may use.
pub(crate) fn processor() -> usize {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).unwrap_or(0)
}

/// An empty picture of CPU time.
fn picture(time: &CpuTime, limit: Option<f64>) -> Plot {
    let file = time.0.name("cpuacct.usage", "cpu.stat, usage_usec");
    Plot::new(text_with("cpu.picture.title", &[("file", file)]), text("cpu.picture.unit"), limit)
}

/// The quota that the kernel reports.
fn quota_text(cgroup: &ProcessCgroup) -> String {
    let quota = cgroup.read("cpu.cfs_quota_us", "cpu.max").unwrap_or_default();
    quota.trim().to_owned()
}
