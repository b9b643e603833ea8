//! The output of a build, as Docker's classic builder prints it: the stages in their order, also if several are built at the same time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::build::options::{BuildEvent, BuildWatch};
use crate::image::digest::Digest;
use crate::image::reference::Reference;
use crate::render;
use crate::render::paint::width;
use crate::text::{printed, text, text_with, wrap};

/// The maximum size of the end of the output of commands that `-q` prints after a failure.
const MOST_KEPT: usize = 64 << 10;

/// The maximum size of the output of a stage that waits for its turn. Its commands wait too when they have written more.
const MOST_WAITING: usize = 1 << 20;

/// Prints what happens.
pub(super) struct ClassicOutput {
    is_quiet: bool,
    state: Mutex<OutputState>,
    /// Another stage has its turn.
    turned: Condvar,
}

#[derive(Default)]
struct OutputState {
    /// The stage that is printed.
    turn: usize,
    step: usize,
    steps: usize,
    /// What later stages have told.
    waiting: BTreeMap<usize, WaitingOutput>,
    /// The later stages that have ended.
    ended: BTreeSet<usize>,
    has_told_network: bool,
    /// With `-q`: the end of the output of the commands.
    kept: VecDeque<u8>,
}

#[derive(Default)]
struct WaitingOutput {
    lines: Vec<Printed>,
    size: usize,
}

enum Printed {
    /// A step, whose number is known when it is printed.
    Step(String),
    Line(String),
    Error(String),
    Output(bool, Vec<u8>),
}

impl OutputState {
    fn print(&mut self, printed: Printed) {
        match printed {
            Printed::Step(step) => {
                self.step += 1;
                let values = [("number", &*self.step.to_string()), ("all", &self.steps.to_string())];
                render::out(&format!("{} : {step}\n", text_with("build.step", &values)));
            }
            Printed::Line(line) => render::out(&format!("{line}\n")),
            Printed::Error(line) => render::err(&line),
            Printed::Output(is_error, bytes) => render::bytes(is_error, &bytes),
        }
    }

    fn print_waiting(&mut self) {
        let lines = self.waiting.remove(&self.turn).map(|waiting| waiting.lines).unwrap_or_default();
        lines.into_iter().for_each(|line| self.print(line));
    }
}

impl ClassicOutput {
    pub(super) fn new(is_quiet: bool) -> ClassicOutput {
        ClassicOutput { is_quiet, state: Mutex::default(), turned: Condvar::new() }
    }

    /// Whether nothing is printed about the steps.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, turn: usize, line: Printed) {
        if self.is_quiet {
            return;
        }
        let mut state = self.lock();
        if state.turn == turn {
            return state.print(line);
        }
        let waiting = state.waiting.entry(turn).or_default();
        if let Printed::Output(_, bytes) = &line {
            waiting.size += bytes.len();
        }
        waiting.lines.push(line);
    }

    fn line(&self, turn: usize, line: String) {
        self.tell(turn, Printed::Line(line));
    }

    /// A note on standard error, in the order of the other lines.
    fn note(&self, turn: usize, note: &str) {
        let lines = wrap(note, width() - 9);
        self.tell(turn, Printed::Error(format!("sandbox: {}\n", lines.join("\n         "))));
    }

    /// The next stage is printed.
    fn end_turn(&self, turn: usize) {
        let mut state = self.lock();
        state.ended.insert(turn);
        loop {
            let turn = state.turn;
            if !state.ended.remove(&turn) {
                break;
            }
            state.turn += 1;
            state.print_waiting();
        }
        self.turned.notify_all();
    }

    /// Prints the end of what the commands have printed so far.
    pub(super) fn print_kept(&self) {
        let kept: Vec<u8> = self.lock().kept.drain(..).collect();
        render::err(&String::from_utf8_lossy(&kept));
    }
}

/// Prints the result.
pub(super) fn print_result(is_quiet: bool, id: &Digest, names: &[Reference], unused: &[String]) {
    if is_quiet {
        return render::out(&format!("{id}\n"));
    }
    if !unused.is_empty() {
        render::err(&(printed(text_with("build.unused", &[("names", &unused.join(" "))])) + "\n"));
    }
    render::out(&(text_with("build.done", &[("id", id.short())]) + "\n"));
    for name in names {
        render::out(&(text_with("build.tagged", &[("name", &name.familiar())]) + "\n"));
    }
}

impl BuildWatch for ClassicOutput {
    fn event(&self, turn: usize, event: BuildEvent<'_>) {
        match event {
            BuildEvent::Steps(steps) => self.lock().steps = steps,
            BuildEvent::Step(step) => self.tell(turn, Printed::Step(printed(step))),
            BuildEvent::Triggers(count) => {
                let key = if count == 1 { "build.trigger" } else { "build.triggers" };
                self.line(turn, text_with(key, &[("count", &count.to_string())]));
            }
            BuildEvent::Cached => self.line(turn, format!(" ---> {}", text("build.cached"))),
            BuildEvent::Running(id) => {
                self.line(turn, format!(" ---> {}", text_with("build.running", &[("id", id)])));
            }
            BuildEvent::Removed(id) => self.line(turn, text_with("build.removed", &[("id", id)])),
            BuildEvent::Image(id) => self.line(turn, format!(" ---> {}", id.map_or("", Digest::short))),
            BuildEvent::NoNetwork(note) => {
                if !std::mem::replace(&mut self.lock().has_told_network, true) {
                    self.note(turn, &note);
                }
            }
            BuildEvent::Note(note) => self.note(turn, &note),
            BuildEvent::StageEnded => self.end_turn(turn),
            BuildEvent::StageFailed => {
                // What a later stage has printed before it failed is the reason.
                let mut state = self.lock();
                state.turn = turn;
                state.print_waiting();
                drop(state);
                self.turned.notify_all();
            }
        }
    }

    fn output(&self, turn: usize, is_error: bool, bytes: &[u8]) {
        if !self.is_quiet {
            self.tell(turn, Printed::Output(is_error, bytes.to_vec()));
            let is_full = |state: &mut OutputState| {
                state.waiting.get(&turn).is_some_and(|waiting| waiting.size > MOST_WAITING)
            };
            let waited = self.turned.wait_while(self.lock(), is_full);
            return drop(waited);
        }
        let mut state = self.lock();
        state.kept.extend(bytes);
        let over = state.kept.len().saturating_sub(MOST_KEPT);
        state.kept.drain(..over);
    }
}
