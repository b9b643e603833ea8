//! The output of a build on a terminal: a line for each step that is done, and below them the running steps, with their times and the
//! last lines of their output.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::build::options::{BuildEvent, BuildWatch};
use crate::render;
use crate::render::live::Live;
use crate::render::paint::{self, Stream};
use crate::text::{pad, printed, text, text_with};

/// The time between two pictures.
const PAUSE: Duration = Duration::from_millis(100);

/// How many lines of the output of a running command are shown.
const SHOWN: usize = 4;

/// How many lines of the output of a failed command are printed.
const KEPT: usize = 100;

/// The width of the time at the end of a line.
const TIME: usize = 10;

/// Draws what happens.
pub(super) struct LiveOutput {
    state: Mutex<LiveState>,
}

struct LiveState {
    live: Live,
    steps: usize,
    begun: usize,
    /// The steps that are made now, by the places of their stages.
    running: BTreeMap<usize, LiveStep>,
    has_told_network: bool,
}

struct LiveStep {
    title: String,
    since: Instant,
    is_cached: bool,
    lines: VecDeque<String>,
    /// The last line, which has no end yet.
    rest: Vec<u8>,
}

impl LiveStep {
    fn add(&mut self, bytes: &[u8]) {
        self.rest.extend(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.lines.push_back(printed(String::from_utf8_lossy(&line[..end]).trim_end_matches('\r')));
        }
        // A program that prints no newline must not take all memory.
        let over = self.rest.len().saturating_sub(4096);
        self.rest.drain(..over);
        let over = self.lines.len().saturating_sub(KEPT);
        self.lines.drain(..over);
    }

    fn line(&self, width: usize) -> String {
        let time = match self.is_cached {
            true => text("build.live.cached"),
            false => format!("{:.1} s", self.since.elapsed().as_secs_f64()),
        };
        let room = width.saturating_sub(TIME + 1);
        format!("{}{time:>TIME$}", pad(&paint::cut(&self.title, room), room))
    }

    fn last_lines(&self, count: usize) -> impl Iterator<Item = &String> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count))
    }
}

impl LiveState {
    fn print(&mut self, lines: impl IntoIterator<Item = String>) {
        self.live.erase();
        lines.into_iter().for_each(|line| render::out(&(line + "\n")));
    }

    fn end_step(&mut self, turn: usize) {
        if let Some(step) = self.running.remove(&turn) {
            self.print([step.line(paint::width())]);
        }
    }

    fn draw(&mut self) {
        let (width, height) = (paint::width(), paint::height());
        let mut lines = Vec::new();
        for step in self.running.values() {
            lines.push(paint::cut(&step.line(width), width - 1));
            let last = step.last_lines(SHOWN).map(|line| paint::cut(&format!("    {line}"), width - 1));
            lines.extend(last.map(|line| paint::faint(&line).to_string()));
        }
        lines.drain(..lines.len().saturating_sub(height - 1));
        self.live.draw(&lines);
    }
}

impl LiveOutput {
    pub(super) fn new() -> LiveOutput {
        let live = Live::new(true, Stream::Out);
        let running = BTreeMap::new();
        LiveOutput {
            state: Mutex::new(LiveState { live, steps: 0, begun: 0, running, has_told_network: false }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LiveState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, and meanwhile draws.
    pub(super) fn while_shown<T>(&self, work: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let painter = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    self.lock().draw();
                    std::thread::park_timeout(PAUSE);
                }
                self.lock().live.erase();
            });
            let result = work();
            is_over.store(true, Ordering::Relaxed);
            painter.thread().unpark();
            result
        })
    }

    /// Does something that prints itself.
    pub(super) fn while_hidden<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        state.live.erase();
        work()
    }
}

impl BuildWatch for LiveOutput {
    fn event(&self, turn: usize, event: BuildEvent<'_>) {
        let mut state = self.lock();
        match event {
            BuildEvent::Steps(steps) => state.steps = steps,
            BuildEvent::Step(step) => {
                state.end_step(turn);
                state.begun += 1;
                let values = [("number", &*state.begun.to_string()), ("all", &state.steps.to_string())];
                let title = format!("{} : {}", text_with("build.step", &values), printed(step));
                let (lines, rest) = (VecDeque::new(), Vec::new());
                let step = LiveStep { title, since: Instant::now(), is_cached: false, lines, rest };
                state.running.insert(turn, step);
            }
            BuildEvent::Cached => {
                state.running.entry(turn).and_modify(|step| step.is_cached = true);
            }
            BuildEvent::NoNetwork(note) => {
                if !std::mem::replace(&mut state.has_told_network, true) {
                    state.live.erase();
                    render::note(&note);
                }
            }
            BuildEvent::Image(_) | BuildEvent::StageEnded => state.end_step(turn),
            BuildEvent::StageFailed => {
                if let Some(step) = state.running.remove(&turn) {
                    let line = paint::bad(&step.line(paint::width())).to_string();
                    let rest = String::from_utf8_lossy(&step.rest).into_owned();
                    let rest = Some(printed(rest)).filter(|rest| !rest.is_empty());
                    state.print([line].into_iter().chain(step.lines).chain(rest));
                }
                // The others were ended with it.
                state.running.clear();
            }
            BuildEvent::Triggers(_) | BuildEvent::Running(_) | BuildEvent::Removed(_) => {}
        }
    }

    fn output(&self, turn: usize, _is_error: bool, bytes: &[u8]) {
        if let Some(step) = self.lock().running.get_mut(&turn) {
            step.add(bytes);
        }
    }
}
