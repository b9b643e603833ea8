//! Demonstrations (`sandbox FEATURE --demo`): each card shows one fact about a feature on the running kernel.
//!
//! A learner need not believe a claim; they can watch the kernel confirm it. A card has a claim, the evidence that the
//! kernel gave outside and inside, and a verdict. The verdict holds only if the evidence agrees with the claim.
//! Each card starts its own processes, asks them to make calls, and undoes afterwards whatever it made.

pub(crate) mod blkio;
mod cgroup;
pub(crate) mod cpu;
pub(crate) mod devices;
mod ipc;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod mnt;
pub(crate) mod net;
pub(crate) mod pid;
mod pids;
pub mod plot;
pub(crate) mod time;
mod user;
mod uts;

use std::fmt::Display;

use serde::Serialize;

use self::plot::Plot;
use crate::cgroups::blkio::{Blkio, Throttle};
use crate::cgroups::cpu::{Cpu, Cpus};
use crate::config::compose::{self, Ending, Machine};
use crate::config::spec::Spec;
use crate::error::{Error, Result, errno_text};
use crate::exec::journal::Journal;
use crate::exec::{self, Watch};
use crate::feature::{Feature, Purpose, features};
use crate::host::Host;
use crate::network::NetworkFacts;
use crate::plan::slots::Slots;
use crate::plan::undo::Undo;
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::DemoCall;
use crate::text::{text, text_with};
use crate::value::nearest::nearest;
use crate::value::units::Size;

/// One fact about a feature, and its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The feature.
    pub feature: Feature,
    /// The name, as in `sandbox pid --demo NAME`.
    pub name: &'static str,
    /// The claim.
    pub claim: String,
    /// What the kernel reported.
    pub evidence: Vec<Evidence>,
    /// What the evidence means.
    pub verdict: String,
    /// Whether the evidence agrees with the claim.
    pub outcome: Outcome,
    /// What was measured during the demonstration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<Plot>,
}

/// The result of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The evidence agrees with the claim.
    Holds,
    /// The evidence contradicts the claim. This is a finding about this machine, and it is reported.
    Fails,
    /// The fact cannot be shown on this machine, for this reason.
    Skipped(String),
}

/// One value that the kernel reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The process that saw it: `OUTSIDE`, `INSIDE`, `INSIDE 2`.
    pub side: &'static str,
    /// The file that was read, or the call that was made.
    pub source: String,
    /// The content of the file, or the result of the call.
    pub value: String,
}

/// The name of a card, and the function that makes it.
type CardEntry = (&'static str, fn(&mut Stage<'_>) -> Result<Card>);

macro_rules! cards {
    (
        namespaces { $($n_about:literal, $n:ident, $n_name:ident, $n_dir:ident, $n_page:literal, $n_also:tt;)* }
        controllers { $($c_about:literal, $c:ident, $c_name:ident, $c_dir:ident, $c_page:literal, $c_also:tt;)* }
        hardening { $($hardening:tt)* }
    ) => {
        /// The cards of a feature, in order. Hardening features have no subcommand, and so no demonstration.
        fn entries(feature: Feature) -> &'static [CardEntry] {
            match feature {
                $(Feature::$n => $n_name::CARDS,)*
                $(Feature::$c => $c_name::CARDS,)*
                _ => &[],
            }
        }
    };
}
features!(cards);

/// Whether a card of the feature measures something, so that there is a picture of it.
pub fn has_plots(feature: Feature) -> bool {
    matches!(feature, Feature::Memory | Feature::Cpu | Feature::Blkio | Feature::Pids)
}

/// The names of the cards of a feature.
pub fn names(feature: Feature) -> Vec<&'static str> {
    entries(feature).iter().map(|(name, _)| *name).collect()
}

/// Runs the demonstration of a feature, or only the card `only`. Calls `show` with each card as soon as it is made.
///
/// # Errors
/// The card is unknown, or a step failed.
pub fn run(
    feature: Feature,
    only: Option<&str>,
    stage: &mut Stage<'_>,
    show: &mut dyn FnMut(&Card),
) -> Result<()> {
    check(feature, only)?;
    let entries = entries(feature);
    for (_, make) in entries.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        show(&make(stage)?);
    }
    Ok(())
}

/// Checks the name of a card.
///
/// # Errors
/// The feature has no such card.
pub fn check(feature: Feature, card: Option<&str>) -> Result<()> {
    let names = names(feature);
    let Some(card) = card.filter(|card| !names.contains(card)) else { return Ok(()) };
    let what = text_with("demo.unknown", &[("feature", feature.name()), ("card", card)]);
    let what = match nearest(card, names.iter().copied()) {
        Some(near) => format!("{what}: {}", text_with("spec.near", &[("word", near)])),
        None => what,
    };
    Err(Error::usage(what).todo(text_with("demo.unknown.todo", &[("cards", &names.join(", "))])))
}

/// Adds default limits to `spec` where the user gave none. They are so small that a demonstration reaches them in
/// seconds.
pub fn with_default_limits(feature: Feature, spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    match feature {
        Feature::Memory => {
            let memory = spec.memory.get_or_insert_default();
            memory.limit.get_or_insert(memory::LIMIT);
            memory.swap.get_or_insert(Size(0));
        }
        Feature::Cpu => {
            let cpu = spec.cpu.get_or_insert_default();
            if *cpu == Cpu::default() {
                cpu.cpus = Some(Cpus::percent(20));
            }
        }
        Feature::Blkio => {
            let blkio = spec.blkio.get_or_insert_default();
            if let (true, Some((_, disk))) = (*blkio == Blkio::default(), limits::directory_on_disk()) {
                blkio.write_bps.push(Throttle { device: disk.to_string().into(), rate: blkio::RATE });
            }
        }
        Feature::Pids => {
            spec.pids.get_or_insert_default().max.get_or_insert(pids::LIMIT);
        }
        _ => {}
    }
    spec
}

/// Draws a plot. It is called again as the plot grows; `true` marks the last call, whose drawing stays on the screen.
pub type Canvas<'a> = Box<dyn FnMut(&Plot, bool) + 'a>;

/// What a demonstration works with. It starts processes. It records in a journal what is made on the host, and
/// removes it.
pub struct Stage<'a> {
    /// Facts about the machine and the caller.
    pub host: &'a Host,
    /// The network to which a process of [`Stage::inside`] is connected.
    pub network: &'a NetworkFacts,
    /// The spec of the feature, with the flags that the user gave.
    pub spec: &'a Spec,
    watch: &'a mut dyn Watch,
    canvas: Canvas<'a>,
    journal: Journal,
    counter: u32,
}

impl<'a> Stage<'a> {
    /// Makes a stage without processes. Plots are drawn on `canvas` while they grow.
    pub fn new(machine: &'a Machine, spec: &'a Spec, watch: &'a mut dyn Watch, canvas: Canvas<'a>) -> Self {
        let Machine { host, network } = machine;
        Stage { host, network, spec, watch, canvas, journal: Journal::default(), counter: 0 }
    }

    /// Draws a plot as it grows. The last drawing stays.
    fn draw(&mut self, plot: &Plot, is_last: bool) {
        (self.canvas)(plot, is_last);
    }

    /// Starts an agent that is isolated as `spec` says.
    ///
    /// # Errors
    /// The step that failed.
    pub fn start(&mut self, spec: &Spec, purpose: impl Into<Purpose>) -> Result<Agent> {
        // Facts are gathered again for each process: this spec may need more than the flags did, and each process
        // gets its own cgroup. Network addresses are chosen at random, so the ones that the demonstration already
        // knows are kept.
        let machine = Machine { network: self.network.clone(), ..compose::gather(spec) };
        let plan = compose::plan(spec, &machine, purpose, Ending::Demonstration, false);
        exec::accept(&plan)?;
        Agent::start(&plan, self.watch)
    }

    /// Starts an agent that is isolated in this one feature, with the user's flags.
    ///
    /// # Errors
    /// The step that failed.
    pub fn inside(&mut self, feature: Feature) -> Result<Agent> {
        let spec = self.spec.clone();
        self.start(&spec, feature)
    }

    /// Starts an agent in the caller's own namespaces: the view from outside.
    ///
    /// # Errors
    /// The step that failed.
    pub fn outside(&mut self, feature: Feature) -> Result<Agent> {
        self.start(&Spec::default(), feature)
    }

    /// Starts an agent that may create namespaces of `feature` but is in no new one yet. For an ordinary user it is
    /// in a new user namespace, because that gives the required capabilities.
    ///
    /// # Errors
    /// The step that failed.
    pub fn caller(&mut self, feature: Feature) -> Result<Agent> {
        let spec = if self.host.privileged { Spec::default() } else { Spec::of(Feature::User) };
        self.start(&spec, feature)
    }

    /// Makes an object on the host. The journal records it first, so a later run can remove it if this one is killed.
    ///
    /// # Errors
    /// The journal cannot be written. The call's own failure is the inner result.
    pub fn make(&mut self, call: impl Into<DemoCall>, undo: Undo) -> Result<Answer> {
        self.journal.intend(&undo)?;
        let answer = call.into().perform(&mut Slots::default());
        self.journal.record(&answer)?;
        Ok(answer)
    }

    /// As [`Stage::make`], but the agent makes the call. The journal needs only the name of the object.
    ///
    /// # Errors
    /// As [`Stage::make`]; or the agent has ended.
    pub fn make_inside(&mut self, agent: &Agent, call: impl Into<DemoCall>, undo: Undo) -> Result<Answer> {
        self.journal.intend(&undo)?;
        let answer = agent.perform(call)?;
        self.journal.record(&answer)?;
        Ok(answer)
    }

    /// Returns a System V key that no other run uses. It consists of our PID, which has at most 22 bits, and a counter.
    pub fn unique_key(&mut self) -> i32 {
        self.counter += 1;
        let low_bits = (std::process::id() << 8 | self.counter & 0xff) & 0x3fff_ffff;
        // The high bit avoids IPC_PRIVATE (0) and the small keys that people choose by hand.
        0x4000_0000 | low_bits.cast_signed()
    }

    /// Returns a name that no other run uses. It contains our PID and a counter.
    pub fn unique(&mut self, what: &str) -> String {
        self.counter += 1;
        format!("sandbox-{what}-{}-{}", std::process::id(), self.counter)
    }
}

impl Card {
    /// Makes a card without evidence. Its texts have the message keys `FEATURE.card.NAME.claim` and `.verdict`.
    pub fn new(feature: Feature, name: &'static str) -> Card {
        let message = |part: &str| text(&format!("{feature}.card.{name}.{part}"));
        Card {
            feature,
            name,
            claim: message("claim"),
            evidence: vec![],
            verdict: message("verdict"),
            outcome: Outcome::Fails,
            plots: vec![],
        }
    }

    /// Adds evidence that was seen outside.
    pub fn outside(self, source: impl Display, value: impl Display) -> Card {
        self.seen("OUTSIDE", source, value)
    }

    /// Adds evidence that was seen inside.
    pub fn inside(self, source: impl Display, value: impl Display) -> Card {
        self.seen("INSIDE", source, value)
    }

    /// Adds evidence that was seen by the process named `side`.
    pub fn seen(mut self, side: &'static str, source: impl Display, value: impl Display) -> Card {
        self.evidence.push(Evidence { side, source: source.to_string(), value: value.to_string() });
        self
    }

    /// Adds a call and its result, as strace prints them.
    pub fn call(self, side: &'static str, call: impl Into<DemoCall>, answer: Answer) -> Card {
        self.seen(side, call.into(), answer_text(answer))
    }

    /// Sets the result of the card: whether the evidence agrees with the claim.
    pub fn holds(mut self, holds: bool) -> Card {
        self.outcome = if holds { Outcome::Holds } else { Outcome::Fails };
        self
    }

    /// Adds a plot of what was measured.
    pub fn measured(mut self, plot: Plot) -> Card {
        self.plots.push(plot);
        self
    }

    /// Sets the result to "skipped". `reason` is a message key.
    pub fn skip(mut self, reason: &str) -> Card {
        self.outcome = Outcome::Skipped(text(reason));
        self
    }
}

/// The result of a call: `0`, or `-1 EPERM (Operation not permitted)`.
pub fn answer_text(answer: Answer) -> String {
    match answer {
        Ok(result) => result.to_string(),
        Err(errno) => format!("-1 {}", errno_text(errno)),
    }
}

/// The text of a file or a link on one line, or the errno if it cannot be read.
pub fn one_line(read: std::result::Result<String, nix::errno::Errno>) -> String {
    match read {
        Ok(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Err(errno) => format!("({errno:?})"),
    }
}
