//! Demonstrations (`sandbox FEATURE --demo`): each card shows one fact about a feature on the running kernel.
//!
//! A learner need not believe a claim; they can watch the kernel confirm it. A card has a claim, the evidence that the
//! kernel gave outside and inside, and a verdict. The verdict holds only if the evidence agrees with the claim.
//! Each card starts its own processes, asks them to make calls, and undoes afterwards whatever it made.

pub(crate) mod blkio;
mod card;
mod cgroup;
pub(crate) mod cpu;
pub(crate) mod devices;
mod ipc;
pub mod limits;
pub(crate) mod memory;
pub(crate) mod mnt;
pub(crate) mod net;
pub(crate) mod pid;
mod pids;
pub mod plot;
pub(crate) mod time;
pub(crate) mod user;
mod uts;

use std::ops::ControlFlow;

use self::card::CgroupOfLines;
pub use self::card::{Card, Evidence, NamedProcess, Outcome, answer_text, one_line};
use self::plot::Plot;
use crate::cgroups::blkio::{Blkio, Throttle};
use crate::cgroups::cpu::{Cpu, Cpus};
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::facts::Machine;
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::exec::journal::Journal;
use crate::exec::{self, Watch};
use crate::feature::{Feature, Purpose, features};
use crate::host::Host;
use crate::network::NetworkFacts;
use crate::observe::hierarchy::Version;
use crate::plan::Plan;
use crate::plan::slots::Slots;
use crate::plan::undo::Undo;
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::DemoCall;
use crate::text::{text, text_if_any, text_with, word};
use crate::value::nearest::nearest;
use crate::value::shell::quote;
use crate::value::units::Size;

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

/// The parts of a demonstration that have messages, `FEATURE.demo.PART`: the title, the introduction, the three lines to
/// remember, and why the next subject is the next one.
#[cfg(test)]
pub(crate) const PARTS: [&str; 4] = ["title", "intro", "remember", "next"];

/// The names of the cards of a feature.
pub fn names(feature: Feature) -> Vec<&'static str> {
    entries(feature).iter().map(|(name, _)| *name).collect()
}

/// Shows a card that was made with these plans. It can end the demonstration.
pub type Show<'a> = dyn FnMut(&Card, &[Plan]) -> Result<ControlFlow<()>> + 'a;

/// Runs the demonstration of a feature, or only the card `only`. Calls `show` with each card as soon as it is made, and
/// with the plans of the processes that it started. `show` can end the demonstration.
///
/// # Errors
/// The card is unknown, or a step failed, or `show` failed.
pub fn run(feature: Feature, only: Option<&str>, stage: &mut Stage<'_>, show: &mut Show<'_>) -> Result<()> {
    check(feature, only)?;
    let entries = entries(feature);
    for (index, (name, make)) in entries.iter().enumerate() {
        if only.is_some_and(|only| only != *name) {
            continue;
        }
        stage.plans.clear();
        stage.processes.clear();
        let (place, of) = (index + 1, entries.len());
        stage.card = Some(Card { place, of, ..Card::new(feature, name) });
        let mut card = Card { place, of, ..make(stage)? };
        card.name_processes(&stage.processes);
        if !matches!(card.outcome, Outcome::Skipped(_)) {
            card.repeat = repeat(&card, stage.host);
        }
        if show(&card, &stage.plans)?.is_break() {
            break;
        }
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
    let what = text_with("demo.unknown", &[("feature", feature.name()), ("card", &word(card))]);
    let what = match nearest(card, names.iter().copied()) {
        Some(near) => format!("{what}: {}", text_with("spec.near", &[("word", near)])),
        None => what,
    };
    Err(Error::usage(what).todo(text_with("demo.unknown.todo", &[("cards", &names.join(", "))])))
}

/// What runs a command as an ordinary user, in the lines that root gets.
pub const AS_ORDINARY_USER: &str = "setpriv --reuid=1000 --regid=1000 --clear-groups ";

/// The lines with which a user repeats a card in a shell, with root and without. Their message is
/// `FEATURE.card.NAME.repeat`, or for a cgroup `.repeat.v1` and `.repeat.v2` where they differ. `{make}` in it becomes
/// the lines that make a cgroup, and `{remove}` those that remove it: one below the directory of sandbox's cgroups, because a
/// limit of that directory itself would limit every container. `{as}` in it becomes an ordinary user if the caller is root, and `{SYS_unshare}` is the
/// number of unshare(2) on this architecture, for syscall(2). The card can have further values for its lines.
fn repeat(card: &Card, host: &Host) -> Vec<String> {
    let key = format!("{}.card.{}.repeat", card.feature, card.name);
    let mut lines = text_if_any(&key).unwrap_or_default();
    if let Some(CgroupOfLines { directory, version, controller }) = &card.cgroup {
        let (of_version, make) = match version {
            Version::V1 => (format!("{key}.v1"), "limits.repeat.v1"),
            Version::V2 => (format!("{key}.v2"), "limits.repeat.v2"),
        };
        let make = text_with(make, &[("group", &*quote(directory)), ("controller", controller)]);
        let lines_of_version = text_if_any(&of_version).unwrap_or(lines);
        lines = lines_of_version.replace("{make}", &make).replace("{remove}", &text("limits.repeat.remove"));
    }
    let ordinary = if host.privileged { AS_ORDINARY_USER } else { "" };
    let number = libc::SYS_unshare.to_string();
    let common = [("as", ordinary), ("SYS_unshare", &*number)];
    let values = card.values.iter().map(|(name, value)| (*name, &**value)).chain(common);
    let fill = |lines: String, (name, value): (&str, &str)| lines.replace(&format!("{{{name}}}"), value);
    values.fold(lines, fill).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The demonstration after this one, in the order of the table of features. None after the last one.
pub fn next(feature: Feature) -> Option<Feature> {
    Feature::WITH_SUBCOMMAND.iter().copied().skip_while(|of| *of != feature).nth(1)
}

/// The minutes that a reader needs for a demonstration: half a minute for each card.
pub fn minutes(feature: Feature) -> usize {
    entries(feature).len().div_ceil(2).max(2)
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

/// Draws the picture of a card. It is called again as the plot grows. The card has no evidence yet.
pub type Canvas<'a> = Box<dyn FnMut(&Card, &Plot) + 'a>;

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
    /// The card that is being made: its name and its claim. None for a mistake.
    card: Option<Card>,
    journal: Journal,
    counter: u32,
    /// The plans of the processes that the current card has started.
    plans: Vec<Plan>,
    /// These processes, with the names that the evidence gives them.
    processes: Vec<NamedProcess>,
}

impl<'a> Stage<'a> {
    /// Makes a stage without processes. Plots are drawn on `canvas` while they grow.
    pub fn new(machine: &'a Machine, spec: &'a Spec, watch: &'a mut dyn Watch, canvas: Canvas<'a>) -> Self {
        let Machine { host, network } = machine;
        let journal = Journal::default();
        let (plans, processes) = (vec![], vec![]);
        Stage { host, network, spec, watch, canvas, card: None, journal, counter: 0, plans, processes }
    }

    /// Draws a plot as it grows.
    fn draw(&mut self, plot: &Plot) {
        if let Some(card) = self.card.as_ref().filter(|_| !plot.lanes.is_empty()) {
            (self.canvas)(card, plot);
        }
    }

    /// Starts an agent that is isolated as `spec` says.
    ///
    /// # Errors
    /// The step that failed.
    pub fn start(&mut self, spec: &Spec, purpose: impl Into<Purpose>) -> Result<Agent> {
        // Facts are gathered again for each process: this spec may need more than the flags did, and each process
        // gets its own cgroup. Network addresses are chosen at random, so the ones that the demonstration already
        // knows are kept.
        let mut completed = Completed::of(spec, purpose);
        completed.machine.network = self.network.clone();
        let plan = completed.plan(Ending::Demonstration, false);
        exec::accept(&plan)?;
        let agent = Agent::start(&plan, self.watch)?;
        let side = if plan.namespaces.is_empty() && plan.intents.is_empty() { "OUTSIDE" } else { "INSIDE" };
        self.name_process(agent.pid(), text_with("demo.process", &[("side", side)]));
        self.plans.push(plan);
        Ok(agent)
    }

    /// Says which process has this PID. Where the PID is in the evidence of the card, it is explained so.
    pub fn name_process(&mut self, pid: i32, who: String) {
        self.processes.retain(|known| known.pid != pid);
        self.processes.push(NamedProcess { pid, who });
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

/// Whether a name is one that [`Stage::unique`] gives.
pub fn is_unique_name(name: &str) -> bool {
    let is_number = |part: &str| part.parse::<u32>().is_ok_and(|number| number.to_string() == part);
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_lowercase());
    match name.split('-').collect::<Vec<_>>()[..] {
        ["sandbox", what, pid, number] => is_word(what) && is_number(pid) && is_number(number),
        _ => false,
    }
}
