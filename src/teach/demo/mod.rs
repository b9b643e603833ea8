//! Demonstrations: each feature's facts as cards, one fact a card. A card is a claim, what the kernel showed outside and
//! inside, and a verdict that holds only if the kernel showed what the claim says.

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
mod time;
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
use crate::text::text;
use crate::value::units::Size;

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// Its feature.
    pub feature: Feature,
    /// Its name: `sandbox pid --demo NAME`.
    pub name: &'static str,
    /// What is claimed.
    pub claim: String,
    /// What the kernel showed.
    pub evidence: Vec<Evidence>,
    /// What that means.
    pub verdict: String,
    /// How it came out.
    pub outcome: Outcome,
    /// What was measured meanwhile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<Plot>,
}

/// How a card came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The kernel showed what the claim says.
    Holds,
    /// It did not. That is a finding about this machine, and is said aloud.
    Fails,
    /// It can't be shown here, for this reason.
    Skipped(String),
}

/// Something that the kernel showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// On which side: `OUTSIDE`, `INSIDE`, `INSIDE 2`.
    pub side: &'static str,
    /// The file or the call.
    pub source: String,
    /// What it gave.
    pub value: String,
}

/// A card's name and what makes it.
type CardEntry = (&'static str, fn(&mut Stage<'_>) -> Result<Card>);

macro_rules! cards {
    (
        namespaces { $($n_about:literal, $n:ident, $n_name:ident, $n_dir:ident, $n_page:literal, $n_also:tt;)* }
        controllers { $($c_about:literal, $c:ident, $c_name:ident, $c_dir:ident, $c_page:literal, $c_also:tt;)* }
        hardening { $($hardening:tt)* }
    ) => {
        /// The cards of a feature, in order. What hardens has no subcommand, and no demonstration of its own.
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

/// The names of a feature's cards.
pub fn names(feature: Feature) -> Vec<&'static str> {
    entries(feature).iter().map(|(name, _)| *name).collect()
}

/// Runs a feature's demonstration, or the one card `only`; each card is handed on as soon as it's there.
///
/// # Errors
/// An unknown card; a step that failed.
pub fn run(
    feature: Feature,
    only: Option<&str>,
    stage: &mut Stage<'_>,
    show: &mut dyn FnMut(&Card),
) -> Result<()> {
    let entries = entries(feature);
    if let Some(only) = only
        && !entries.iter().any(|(name, _)| *name == only)
    {
        let names = names(feature).join(", ");
        return Err(Error::usage(format!("{feature} has no card {only:?}")).todo(names));
    }
    for (_, make) in entries.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        show(&make(stage)?);
    }
    Ok(())
}

/// The spec that a demonstration or a view of a feature has where no flag says another one: limits that are met in seconds.
pub fn dressed(feature: Feature, spec: &Spec) -> Spec {
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
                blkio.write_bps.push(Throttle { device: disk.to_string(), rate: blkio::RATE });
            }
        }
        Feature::Pids => {
            spec.pids.get_or_insert_default().max.get_or_insert(pids::LIMIT);
        }
        _ => {}
    }
    spec
}

/// Where measurements are drawn: each time anew, and a last time, which stays.
pub type Canvas<'a> = Box<dyn FnMut(&Plot, bool) + 'a>;

/// What a demonstration stands on: it starts processes, and has what it makes outside written down and removed.
pub struct Stage<'a> {
    /// The caller.
    pub host: &'a Host,
    /// The network that a process of [`Stage::inside`] is connected to.
    pub network: &'a NetworkFacts,
    /// The spec of the feature, with the flags that the user gave.
    pub spec: &'a Spec,
    watch: &'a mut dyn Watch,
    canvas: Canvas<'a>,
    journal: Journal,
    counter: u32,
}

impl<'a> Stage<'a> {
    /// An empty stage. What is measured is drawn on `canvas` while it is.
    pub fn new(machine: &'a Machine, spec: &'a Spec, watch: &'a mut dyn Watch, canvas: Canvas<'a>) -> Self {
        let Machine { host, network } = machine;
        Stage { host, network, spec, watch, canvas, journal: Journal::default(), counter: 0 }
    }

    /// Shows a measurement as it grows; the last time for good.
    fn draw(&mut self, plot: &Plot, is_last: bool) {
        (self.canvas)(plot, is_last);
    }

    /// Starts a process that is isolated as `spec` says and does what it's asked.
    ///
    /// # Errors
    /// The step that failed.
    pub fn start(&mut self, spec: &Spec, purpose: impl Into<Purpose>) -> Result<Agent> {
        // Gathered again: this spec may ask for more than the flags did, and each process gets a cgroup of its own. The addresses
        // are chosen at random, so here they must be those that the demonstration knows.
        let machine = Machine { network: self.network.clone(), ..compose::gather(spec) };
        let plan = compose::plan(spec, &machine, purpose, Ending::Demonstration, false);
        exec::accept(&plan)?;
        Agent::start(&plan, self.watch)
    }

    /// A process isolated in this one feature, with the user's flags.
    ///
    /// # Errors
    /// The step that failed.
    pub fn inside(&mut self, feature: Feature) -> Result<Agent> {
        let spec = self.spec.clone();
        self.start(&spec, feature)
    }

    /// A process in the caller's own namespaces, which does what it's asked: the view from outside.
    ///
    /// # Errors
    /// The step that failed.
    pub fn outside(&mut self, feature: Feature) -> Result<Agent> {
        self.start(&Spec::default(), feature)
    }

    /// A process that may make namespaces of `feature`, but is in none of its own: a user needs a user namespace for that.
    ///
    /// # Errors
    /// The step that failed.
    pub fn caller(&mut self, feature: Feature) -> Result<Agent> {
        let spec = if self.host.privileged { Spec::default() } else { Spec::of(Feature::User) };
        self.start(&spec, feature)
    }

    /// Makes something outside that a later run can remove, should this one be killed: written down first.
    ///
    /// # Errors
    /// When the journal can't be written. The call's own failure is the inner result.
    pub fn make(&mut self, call: impl Into<DemoCall>, undo: Undo) -> Result<Answer> {
        self.journal.intend(&undo)?;
        let answer = call.into().perform(&mut Slots::default());
        self.journal.came_out(&answer)?;
        Ok(answer)
    }

    /// The same, but a process inside makes it: the journal needs its name only.
    ///
    /// # Errors
    /// As [`Stage::make`]; when the process inside is gone.
    pub fn make_inside(&mut self, agent: &Agent, call: impl Into<DemoCall>, undo: Undo) -> Result<Answer> {
        self.journal.intend(&undo)?;
        let answer = agent.perform(call)?;
        self.journal.came_out(&answer)?;
        Ok(answer)
    }

    /// A System V key that no other run has: our process number, of at most 22 bits, and a counter.
    pub fn unique_key(&mut self) -> i32 {
        self.counter += 1;
        let number = (std::process::id() << 8 | self.counter & 0xff) & 0x3fff_ffff;
        // The top bits keep it apart from IPC_PRIVATE and from small keys chosen by hand.
        0x4000_0000 | number.cast_signed()
    }

    /// A name that no one else has chosen: it holds our process number.
    pub fn unique(&mut self, what: &str) -> String {
        self.counter += 1;
        format!("sandbox-{what}-{}-{}", std::process::id(), self.counter)
    }
}

impl Card {
    /// A card without evidence yet. Its claim and verdict are `FEATURE.card.NAME.claim` and `.verdict` in the catalogue.
    pub fn new(feature: Feature, name: &'static str) -> Card {
        let words = |part: &str| text(&format!("{feature}.card.{name}.{part}"));
        Card {
            feature,
            name,
            claim: words("claim"),
            evidence: vec![],
            verdict: words("verdict"),
            outcome: Outcome::Fails,
            plots: vec![],
        }
    }

    /// Adds something seen outside.
    pub fn outside(self, source: impl Display, value: impl Display) -> Card {
        self.seen("OUTSIDE", source, value)
    }

    /// Adds something seen inside.
    pub fn inside(self, source: impl Display, value: impl Display) -> Card {
        self.seen("INSIDE", source, value)
    }

    /// Adds something seen from a side with another name.
    pub fn seen(mut self, side: &'static str, source: impl Display, value: impl Display) -> Card {
        self.evidence.push(Evidence { side, source: source.to_string(), value: value.to_string() });
        self
    }

    /// Adds a call and its answer, as strace would print it.
    pub fn call(self, side: &'static str, call: impl Into<DemoCall>, answer: Answer) -> Card {
        self.seen(side, call.into(), answer_text(answer))
    }

    /// Closes the card: whether what was seen is what is claimed.
    pub fn holds(mut self, holds: bool) -> Card {
        self.outcome = if holds { Outcome::Holds } else { Outcome::Fails };
        self
    }

    /// Adds what was measured.
    pub fn measured(mut self, plot: Plot) -> Card {
        self.plots.push(plot);
        self
    }

    /// Closes the card: it can't be shown here. `reason` is a key of the catalogue.
    pub fn skip(mut self, reason: &str) -> Card {
        self.outcome = Outcome::Skipped(text(reason));
        self
    }
}

/// `0`, or `-1 EPERM (Operation not permitted)`.
pub fn answer_text(answer: Answer) -> String {
    match answer {
        Ok(result) => result.to_string(),
        Err(errno) => format!("-1 {}", errno_text(errno)),
    }
}

/// A file's or a link's words on one line, or why there are none.
pub fn words(read: std::result::Result<String, nix::errno::Errno>) -> String {
    match read {
        Ok(words) => words.split_whitespace().collect::<Vec<_>>().join(" "),
        Err(errno) => format!("({errno:?})"),
    }
}
