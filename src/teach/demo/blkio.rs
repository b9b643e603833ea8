//! Demonstrations of the blkio controller (cgroup v2: io): limits on reads from and writes to a disk.
//!
//! A limit applies where data goes to the disk. Ordinary writes return as soon as the data is in the page cache, so a
//! limit seems to have no effect on them. With O_DIRECT a write goes to the disk at once.

use std::path::PathBuf;

use super::limits::{cgroup_of, file_on_disk, mib, outcome, watch};
use super::plot::{Plot, Sample};
use super::{Card, CardEntry, Stage};
use crate::cgroups::blkio::Throttle;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Blkio;
use crate::host::Disk;
use crate::host::disk;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::file;
use crate::observe::hierarchy::{Controller, Version};
use crate::teach::agent::{Agent, Progress};
use crate::teach::call::LoadCall;
use crate::text::{printed, text, text_with};
use crate::value::units::Size;

pub(super) const CARDS: &[CardEntry] =
    &[("direct", direct), ("buffered", buffered), ("iops", iops), ("counters", counters), ("weight", weight)];

/// A limit that makes a small file take seconds.
pub(super) const RATE: Size = Size(1 << 20);
/// The same as a number of operations a second.
const OPERATIONS: Size = Size(40);

/// Direct writes are as fast as the limit allows.
fn direct(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Blkio, "direct");
    let Some(scene) = Scene::new(stage, |disk| limited(disk, RATE))? else {
        return Ok(card.skip("blkio.skip.nodisk"));
    };
    let limit = mib(Some(RATE.0));
    let run = scene.write(stage, (64, 48), true, Some((Counter::Bytes, limit)))?;
    let rate = run.mib / run.seconds;
    let holds = run.is_done && (rate - limit).abs() <= 0.15 * limit;
    Ok(scene
        .lines(card, 64, 48)
        .outside(scene.limit_file(), scene.limit())
        .inside(run.load, outcome(run.end))
        .inside("took", format!("{:.1} s: {rate:.2} MiB/s", run.seconds))
        .measured(run.plot)
        .holds(holds))
}

/// Ordinary writes return when the data is in the page cache, faster than the limit.
fn buffered(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Blkio, "buffered");
    let Some(scene) = Scene::new(stage, |disk| limited(disk, RATE))? else {
        return Ok(card.skip("blkio.skip.nodisk"));
    };
    let run = scene.write(stage, (64, 128), false, None)?;
    let rate = run.mib / run.seconds;
    let counted = scene.count(Counter::Bytes);
    Ok(scene
        .lines(card, 64, 128)
        .outside(scene.limit_file(), scene.limit())
        .inside(run.load, outcome(run.end))
        .inside("took", format!("{:.2} s: {rate:.0} MiB/s", run.seconds))
        .outside(
            scene.count_file(Counter::Bytes),
            text_with("blkio.meanwhile", &[("bytes", &counted.to_string())]),
        )
        .holds(run.is_done && rate > 2.0 * mib(Some(RATE.0))))
}

/// A limit on operations counts each write, however small it is.
fn iops(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Blkio, "iops");
    let by_operations = |disk: &Disk| {
        let mut spec = Spec::default();
        let throttle = Throttle { device: disk.to_string().into(), rate: OPERATIONS };
        spec.blkio.get_or_insert_default().write_iops.push(throttle);
        spec
    };
    let Some(scene) = Scene::new(stage, by_operations)? else { return Ok(card.skip("blkio.skip.nodisk")) };
    let limit = OPERATIONS.0 as f64;
    let run = scene.write(stage, (4, 80), true, Some((Counter::Operations, limit)))?;
    let rate = 80.0 / run.seconds;
    Ok(scene
        .lines(card, 4, 80)
        .outside(scene.limit_file(), scene.limit())
        .inside(run.load, outcome(run.end))
        .inside("took", format!("{:.1} s: {rate:.0} a second", run.seconds))
        .measured(run.plot)
        .holds(run.is_done && (rate - limit).abs() <= 0.2 * limit))
}

/// A cgroup has counters for the bytes and operations of its processes.
fn counters(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Blkio, "counters");
    // cgroup v1 counts only where a limit is set. This limit is too high to be reached.
    let Some(scene) = Scene::new(stage, |disk| limited(disk, Size(1 << 40)))? else {
        return Ok(card.skip("blkio.skip.nodisk"));
    };
    let before = [Counter::Bytes, Counter::Operations].map(|kind| scene.count(kind));
    let run = scene.write(stage, (64, 16), true, None)?;
    let after = [Counter::Bytes, Counter::Operations].map(|kind| scene.count(kind));
    let [bytes, operations] = [after[0] - before[0], after[1] - before[1]];
    Ok(scene
        .lines(card, 64, 16)
        .inside(run.load, outcome(run.end))
        .outside(scene.count_file(Counter::Bytes), format!("+ {bytes}"))
        .outside(scene.count_file(Counter::Operations), format!("+ {operations}"))
        // The filesystem may write a little metadata in addition.
        .holds((16 << 16..17 << 16).contains(&bytes) && operations >= 16))
}

/// A weight has an effect only if an I/O scheduler or controller of the disk uses it.
fn weight(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = Spec::default();
    spec.blkio.get_or_insert_default().weight = Some(500);
    let inside = stage.start(&spec, Blkio)?;
    let cgroup = cgroup_of(&inside, Controller::Io)?;
    let by = disk::weighted(cgroup.version() == Version::V2);
    let schedulers = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let schedulers = schedulers.filter_map(|disk| {
        let text = file::read_text(disk.path().join("queue/scheduler")).ok()?;
        let active = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'))?.0.to_owned();
        Some((printed(disk.file_name()), active))
    });
    // Loop devices and RAM disks are left out: they would only fill the card.
    let real =
        schedulers.filter(|(name, _)| !["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind)));
    let mut shown: Vec<String> = real.map(|(name, active)| format!("{name}: {active}")).collect();
    shown.sort();
    let file = cgroup.name("blkio.bfq.weight", "io.weight");
    let set = cgroup
        .read("blkio.bfq.weight", "io.weight")
        .map_or_else(|| text("blkio.nofile"), |content| content.trim().to_owned());
    let verdict = match by.is_empty() {
        true => text("blkio.weight.idle"),
        false => {
            let by: Vec<String> = by.iter().map(|(disk, by)| format!("{disk} ({by})")).collect();
            text_with("blkio.weight.by", &[("disks", &by.join(", "))])
        }
    };
    let mut card = Card::new(Blkio, "weight")
        .in_cgroup(&cgroup)
        .with("weight", file)
        .outside(format!("<{}>/{file}", cgroup.controller_name()), set)
        .outside("/sys/block/*/queue/scheduler", shown.join(", "));
    card.verdict = verdict;
    Ok(card.holds(true))
}

/// A spec that limits the bytes written a second.
fn limited(disk: &Disk, rate: Size) -> Spec {
    let mut spec = Spec::default();
    spec.blkio.get_or_insert_default().write_bps.push(Throttle { device: disk.to_string().into(), rate });
    spec
}

/// The two counters of a cgroup for writes.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    Bytes,
    Operations,
}

/// A file on a disk, and an agent whose access to that disk is limited.
pub(crate) struct Scene {
    path: PathBuf,
    disk: Disk,
    inside: Agent,
    cgroup: ProcessCgroup,
}

/// The result of a write.
pub(crate) struct WriteOutcome {
    pub(crate) load: String,
    pub(crate) end: Progress,
    pub(crate) is_done: bool,
    pub(crate) seconds: f64,
    pub(crate) mib: f64,
    pub(crate) plot: Plot,
}

impl Scene {
    /// Makes the file and starts the agent. None if there is no disk to write to.
    pub(crate) fn new(stage: &mut Stage<'_>, spec: impl Fn(&Disk) -> Spec) -> Result<Option<Scene>> {
        let Some((path, disk)) = file_on_disk(stage)? else { return Ok(None) };
        let inside = stage.start(&spec(&disk), Blkio)?;
        let cgroup = cgroup_of(&inside, Controller::Io)?;
        Ok(Some(Scene { path, disk, inside, cgroup }))
    }

    /// The same with a limit on the bytes written a second.
    pub(crate) fn limited(stage: &mut Stage<'_>) -> Result<Option<Scene>> {
        Scene::new(stage, |disk| limited(disk, RATE))
    }

    /// Has the agent write `blocks` blocks of `block` KiB. `measured` is what a picture shows: a counter, and its
    /// limit for a second. Without it, there is no picture.
    pub(crate) fn write(
        &self,
        stage: &mut Stage<'_>,
        (block, blocks): (usize, usize),
        direct: bool,
        measured: Option<(Counter, f64)>,
    ) -> Result<WriteOutcome> {
        let load = LoadCall::Fill { path: self.path.clone(), block, blocks, direct, pause: 0 };
        let source = LoadCall::Fill { path: "file".into(), block, blocks, direct, pause: 0 }.to_string();
        let kind = measured.map_or(Counter::Bytes, |(kind, _)| kind);
        let mut plot = self.picture(kind, measured.map(|(_, limit)| limit));
        if measured.is_some() {
            let name = text_with("blkio.picture.write", &[("kib", &block.to_string())]);
            plot.lane(name, '#', text(kind.meaning()));
        }
        let count = || match kind {
            Counter::Bytes => mib(Some(self.count(kind))),
            Counter::Operations => self.count(kind) as f64,
        };
        self.inside.begin(load)?;
        let (mut end, mut at) = (0.0, (0.0, count()));
        let ends = watch(stage, &mut plot, &[&self.inside], |seconds, _, plot| {
            let done = count();
            if seconds - at.0 >= 0.25 {
                plot.push(0, Sample { seconds, value: (done - at.1) / (seconds - at.0), mark: None });
                at = (seconds, done);
            }
            end = seconds;
        })?;
        let is_done = matches!(ends[0], Progress::Done(Ok(_)));
        let mib = (block * blocks) as f64 / 1024.0;
        Ok(WriteOutcome { load: source, end: ends[0], is_done, seconds: end.max(0.001), mib, plot })
    }

    /// An empty picture of what goes to the disk in a second.
    fn picture(&self, kind: Counter, limit: Option<f64>) -> Plot {
        let file = self.cgroup.name(kind.v1(), kind.v2_in_file());
        let (title, unit) = match kind {
            Counter::Bytes => ("blkio.picture.title", "MiB/s".to_owned()),
            Counter::Operations => ("blkio.picture.title.writes", text("blkio.picture.unit")),
        };
        Plot::new(text_with(title, &[("file", file)]), unit, limit)
    }

    /// How much the cgroup has written to the disk.
    fn count(&self, kind: Counter) -> u64 {
        let content = self.cgroup.read(kind.v1(), "io.stat").unwrap_or_default();
        let disk = format!("{} ", self.disk);
        let lines = content.lines().filter_map(|line| line.strip_prefix(&disk));
        lines
            .filter_map(|line| match self.cgroup.version() {
                Version::V1 => line.strip_prefix("Write ")?.trim().parse::<u64>().ok(),
                Version::V2 => line
                    .split(' ')
                    .find_map(|field| field.strip_prefix(kind.v2())?.strip_prefix('=')?.parse().ok()),
            })
            .sum()
    }

    fn count_file(&self, kind: Counter) -> String {
        match self.cgroup.version() {
            Version::V1 => format!("<blkio>/{}, Write", kind.v1()),
            Version::V2 => format!("<io>/{}", kind.v2_in_file()),
        }
    }

    /// The name of the file that has the limit, and its content: `254:0 1048576`. In v2 it is the same file for all.
    fn rule(&self) -> (&'static str, String) {
        let v1 = ["blkio.throttle.write_bps_device", "blkio.throttle.write_iops_device"];
        let contents = v1.into_iter().filter_map(|file| {
            let content = self.cgroup.read(file, "io.max")?.trim().to_owned();
            (!content.is_empty()).then(|| (self.cgroup.name(file, "io.max"), content))
        });
        contents.into_iter().next().unwrap_or_default()
    }

    fn limit_file(&self) -> String {
        format!("<{}>/{}", self.cgroup.controller_name(), self.rule().0)
    }

    /// The limit, with the name of the disk: the kernel reports only its device number.
    fn limit(&self) -> String {
        let device = std::fs::canonicalize(format!("/sys/dev/block/{}", self.disk)).unwrap_or_default();
        format!("{} ({})", self.rule().1, printed(device.file_name().unwrap_or_default()))
    }

    /// Adds the values for the lines that repeat a write of `blocks` blocks of `block` KiB.
    fn lines(&self, card: Card, block: usize, blocks: usize) -> Card {
        let (limit, rule) = self.rule();
        card.in_cgroup(&self.cgroup)
            .with("limit", limit)
            .with("rule", rule)
            .with("disk", &self.disk)
            .with("counter", self.cgroup.name(Counter::Bytes.v1(), "io.stat"))
            .with("file", self.path.with_file_name("big").display())
            .with("block", block)
            .with("blocks", blocks)
    }
}

impl Counter {
    fn v1(self) -> &'static str {
        match self {
            Counter::Bytes => "blkio.throttle.io_service_bytes",
            Counter::Operations => "blkio.throttle.io_serviced",
        }
    }

    fn v2(self) -> &'static str {
        match self {
            Counter::Bytes => "wbytes",
            Counter::Operations => "wios",
        }
    }

    fn v2_in_file(self) -> &'static str {
        match self {
            Counter::Bytes => "io.stat, wbytes",
            Counter::Operations => "io.stat, wios",
        }
    }

    /// The key of the text that says what one character of a picture means.
    fn meaning(self) -> &'static str {
        match self {
            Counter::Bytes => "blkio.picture.data",
            Counter::Operations => "blkio.picture.writes",
        }
    }
}
