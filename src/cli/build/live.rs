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
use crate::text::{cut_start, pad, printed, text, text_with};

/// The time between two pictures.
const PAUSE: Duration = Duration::from_millis(100);

/// How many lines of the output of a running command are shown.
const SHOWN: usize = 4;

/// How many lines of the output of a failed command are printed.
const KEPT: usize = 100;

/// The width of the time at the end of a line.
const TIME: usize = 10;

/// What is before a line of output.
const INDENT: &str = "    ";

/// The width of a line, also in a terminal that is smaller than other output takes.
fn width() -> usize {
    paint::terminal().map_or(usize::MAX, |(_, columns)| columns).min(paint::width())
}

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
            self.lines.push_back(seen(&line[..end]));
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

    /// The last lines of the output in this width. The last one may have no end yet: then its newest part is shown.
    fn last_lines(&self, count: usize, width: usize) -> Vec<String> {
        let rest = Some(seen(&self.rest)).filter(|rest| !rest.is_empty());
        let from = (self.lines.len() + usize::from(rest.is_some())).saturating_sub(count);
        let lines = self.lines.iter().skip(from).map(|line| paint::cut(line, width));
        lines.chain(rest.map(|rest| cut_start(&rest, width))).collect()
    }
}

/// What a terminal shows of a line of output: a carriage return begins the line again, and control sequences take no space.
fn seen(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let mut characters = line.chars().peekable();
    let (mut out, mut begins_again) = (String::new(), false);
    while let Some(next) = characters.next() {
        match next {
            '\r' => begins_again = true,
            '\x08' => drop(out.pop()),
            '\x1b' => match characters.next() {
                // Parameters, and one final character. ECMA-48, 5.4
                Some('[') => {
                    while characters.next_if(|next| (' '..='?').contains(next)).is_some() {}
                    characters.next();
                }
                // A text for the terminal, to BEL or ESC \.
                Some(']') => {
                    let mut end = characters.by_ref().skip_while(|next| !['\x07', '\x1b'].contains(next));
                    if end.next() == Some('\x1b') {
                        characters.next();
                    }
                }
                // A character set, as ESC ( B.
                Some(' '..='/') => drop(characters.next()),
                _ => {}
            },
            // The text before stays until something is written over it.
            _ => {
                if std::mem::take(&mut begins_again) {
                    out.clear();
                }
                out.push(next);
            }
        }
    }
    printed(out)
}

impl LiveState {
    fn print(&mut self, lines: impl IntoIterator<Item = String>) {
        self.live.erase();
        lines.into_iter().for_each(|line| render::out(&(line + "\n")));
    }

    fn end_step(&mut self, turn: usize) {
        if let Some(step) = self.running.remove(&turn) {
            self.print([step.line(width())]);
        }
    }

    fn draw(&mut self) {
        let (width, rows) = (width(), paint::terminal().map_or(24, |(rows, _)| rows));
        let mut lines = Vec::new();
        for step in self.running.values() {
            lines.push(paint::cut(&step.line(width), width - 1));
            let last = step.last_lines(SHOWN, width.saturating_sub(INDENT.len() + 1));
            lines.extend(last.iter().map(|line| paint::faint(&format!("{INDENT}{line}")).to_string()));
        }
        // The cursor needs a row too.
        lines.drain(..lines.len().saturating_sub(rows - 1));
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
            BuildEvent::Note(note) => {
                state.live.erase();
                render::note(&note);
            }
            BuildEvent::Image(_) | BuildEvent::StageEnded => state.end_step(turn),
            BuildEvent::StageFailed => {
                if let Some(step) = state.running.remove(&turn) {
                    let line = paint::bad(&step.line(width())).to_string();
                    let rest = Some(seen(&step.rest)).filter(|rest| !rest.is_empty());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_a_terminal_shows_of_it() {
        for (written, wanted) in [
            ("10 %\r20 %\r30 %", "30 %"),
            ("done\r", "done"),
            ("long text\rab", "ab"),
            ("\x1b[1;32mgreen\x1b[0m \x1b[Kend\x1b[", "green end"),
            ("\x1b]0;title\x07a\x1b]8;;x\x1b\\b\x1b(Bc", "abc"),
            ("-\x08\\\x08|", "|"),
        ] {
            assert_eq!(seen(written.as_bytes()), wanted, "{written:?}");
        }
        let mut step = LiveStep {
            title: "RUN".to_owned(),
            since: Instant::now(),
            is_cached: false,
            lines: VecDeque::new(),
            rest: Vec::new(),
        };
        step.add(b"one\ntwo\nthree\n1 % is long\r2 % is long");
        assert_eq!(step.last_lines(2, 8), ["three", "~is long"]);
    }
}
