//! Prints the events of a run: the announcement, each step, the view. With `--step` it waits for a key.

use std::net::SocketAddr;

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::Serialize;

use super::cards::Screen;
use super::output::OutputArgs;
use super::terminal::{self, END};
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::exec::signals::Signals;
use crate::exec::{Ended, FullSpace, Watch};
use crate::feature::{Feature, Purpose};
use crate::plan::call::publish::{Protocol, PublishedPort};
use crate::plan::gate::Unreached;
use crate::plan::slots::Slots;
use crate::plan::{Actor, Plan};
use crate::render::paint::{self, Stream};
use crate::render::{self, error as error_text, explain, plan as plan_text, view as view_text};
use crate::text::{first_of, printed, text, text_with, wrap};
use crate::value::units::Size;
use crate::views::{Readings, View};

/// How many of the processes that the command has left are named.
const MAX_NAMED: usize = 10;

/// Prints the events of a run.
pub(super) struct Narrator {
    narrates: bool,
    pauses: bool,
    /// Where the steps of a demonstration are printed, if it waits for a key at the end of each screen.
    screen: Option<Screen>,
    /// The step that was printed before its key was pressed. Only its result is printed after it.
    asked: Option<usize>,
    json: bool,
    /// The steps that have been made, for JSON.
    steps: Vec<DoneStep>,
    /// The view, for JSON with the steps.
    view: Option<serde_json::Value>,
    /// The view of a process that did not have its last restrictions yet.
    early: Option<View>,
    /// The optional features that the container does not have, for JSON.
    pub(super) left: Vec<LeftOut>,
    announces: bool,
    /// Whether the view was printed, and the announcement with it.
    has_shown_view: bool,
    /// The memory limit, as the spec has it.
    limit: Option<Size>,
    /// Prints a text. With a command, standard output belongs to the command, so this prints to standard error.
    print: fn(&str),
    /// Where JSON is printed to.
    stream: Stream,
}

/// An optional feature that the container does not have.
#[derive(Debug, Serialize)]
pub(super) struct LeftOut {
    /// The feature.
    pub(super) feature: Feature,
    /// Why it is not possible.
    pub(super) why: String,
}

/// A view as JSON, with what the container does not have.
#[derive(Debug, Serialize)]
struct WholeView<'a> {
    #[serde(flatten)]
    view: &'a View,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    left: &'a [LeftOut],
}

/// A step that has been made, for `--explain --format json`.
#[derive(Debug, Serialize)]
struct DoneStep {
    /// Its place in its plan, from 1. A demonstration performs several plans.
    step: usize,
    /// What the plan is for.
    feature: Purpose,
    /// The process that made the call: `host`, `child`, ...
    actor: Actor,
    /// The call, as strace prints it.
    call: String,
    /// Its result.
    result: i64,
    /// Why it is made.
    why: String,
}

impl Narrator {
    pub(super) fn new(output: &OutputArgs, spec: &Spec) -> Narrator {
        let has_command = !spec.command.is_empty();
        Narrator {
            narrates: output.narrates(),
            pauses: output.pauses(),
            screen: None,
            asked: None,
            json: output.is_json(),
            steps: Vec::new(),
            view: None,
            early: None,
            left: Vec::new(),
            limit: spec.memory.as_ref().and_then(|memory| memory.limit),
            announces: has_command && !output.is_quiet() && !output.narrates() && !output.is_json(),
            has_shown_view: false,
            print: if has_command { render::err } else { render::out },
            stream: if has_command { render::json_stream() } else { Stream::Out },
        }
    }

    /// Prints no steps.
    pub(super) fn silent(self) -> Narrator {
        Narrator { narrates: false, ..self }
    }

    /// Waits for a key at the end of each screen.
    pub(super) fn paged(self) -> Narrator {
        Narrator { screen: Some(Screen::default()), ..self }
    }

    /// The screen, if it waits.
    pub(super) fn screen(&self) -> Option<Screen> {
        self.screen.clone()
    }

    /// Prints lines about the plan.
    fn print_lines(&self, lines: &str) {
        self.screen.iter().for_each(|screen| screen.count(lines));
        (self.print)(lines);
    }

    /// Prints a view.
    fn show(&mut self, view: &View, plan: &Plan) {
        match (self.json, self.narrates) {
            (false, _) => (self.print)(&view_text::text_of(view, plan)),
            (true, false) => {
                render::print_json(self.stream, &WholeView { view, left: &self.left });
            }
            (true, true) => self.view = serde_json::to_value(view).ok(),
        }
    }

    /// The view that was reported, if there is one.
    pub(super) fn view(&self) -> Option<serde_json::Value> {
        self.view.clone()
    }

    /// Prints a result as JSON. With `--explain`, the steps are beside it.
    pub(super) fn print_explained(&mut self, name: &str, result: &impl Serialize) {
        if !self.narrates {
            return render::print_json(self.stream, result);
        }
        let result = serde_json::to_value(result).unwrap_or_default();
        let steps = serde_json::to_value(&self.steps).unwrap_or_default();
        let mut document =
            serde_json::Map::from_iter([("explained".to_owned(), steps), (name.to_owned(), result)]);
        if !self.left.is_empty() {
            document.insert("left".to_owned(), serde_json::to_value(&self.left).unwrap_or_default());
        }
        render::print_json(self.stream, &document);
    }
}

/// The meaning of a key between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Perform this step.
    Next,
    /// Perform all steps that are left.
    Continue,
    /// Undo everything and stop.
    Quit,
}

/// A published address, with its protocol if that is not TCP.
fn written(at: SocketAddr, protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => at.to_string(),
        Protocol::Udp => format!("{at}/udp"),
    }
}

impl Watch for Narrator {
    fn narrates(&self) -> bool {
        self.narrates
    }

    fn before(&mut self, index: usize, plan: &Plan, slots: &Slots, signals: &Signals) -> Result<()> {
        if index == 0 && !self.json {
            self.print_lines(&plan_text::announcement(plan));
        }
        if let Some(screen) = self.screen.as_ref().filter(|_| self.narrates)
            && screen.make_room(&explain::step(index, plan, 0), signals)?.is_break()
        {
            return Err(Error::failed(text("common.step.stopped")));
        }
        if self.pauses {
            let terminal = terminal::open()?;
            render::err(&explain::before(index, plan, slots));
            let meaning = |key| match key {
                b'n' | b' ' | b'\n' | b'\r' => Some(Key::Next),
                b'c' => Some(Key::Continue),
                b'q' | END => Some(Key::Quit),
                _ => None,
            };
            match terminal.ask(signals, meaning)? {
                Key::Next => {}
                Key::Continue => self.pauses = false,
                Key::Quit => return Err(Error::failed(text("common.step.stopped"))),
            }
            self.asked = Some(index);
        }
        Ok(())
    }

    fn after(&mut self, index: usize, plan: &Plan, result: i64) {
        if self.asked.take() == Some(index) {
            return (self.print)(&explain::result(result));
        }
        if !self.json {
            return self.print_lines(&explain::step(index, plan, result));
        }
        let step = &plan.steps[index];
        let (step_index, call, why) = (index + 1, step.call.to_string(), text(step.why));
        let (feature, actor) = (step.purpose, step.actor);
        self.steps.push(DoneStep { step: step_index, feature, actor, call, result, why });
    }

    fn reported(&mut self, plan: &Plan, view: serde_json::Value, child: Pid) {
        let Ok(sight) = serde_json::from_value::<Readings>(view) else { return };
        let view = View::new(plan, sight, child);
        self.has_shown_view = !self.json;
        match plan.last_filter() {
            Some(_) => self.early = Some(view),
            None => self.show(&view, plan),
        }
    }

    fn confined(&mut self, plan: &Plan, command: Option<Pid>) {
        if let Some(mut view) = self.early.take() {
            view.confine(command);
            self.show(&view, plan);
        }
    }

    fn ready(&mut self, plan: &Plan, child: Pid) {
        if self.announces {
            let pid = child.to_string();
            let hint = text_with("common.announce", &[("pid", &pid)]);
            let announcement = match plan_text::announcement(plan) {
                // The view has it already, or (enter) nothing is new.
                announcement if self.has_shown_view || announcement.trim().is_empty() => String::new(),
                announcement => format!("{announcement}         "),
            };
            render::err(&format!("sandbox: {announcement}{hint}\n"));
        }
    }

    fn output_lost(&mut self, descriptor: i32, errno: Errno) {
        let error = Error::failed(text("stream.lost")).call(format!("write({descriptor}, ...)"), errno);
        render::err(&error_text::text(&error));
    }

    fn unprotected(&mut self, error: Option<&Error>) {
        let warning = Error::failed(text("run.unprotected"));
        let warning = match error {
            Some(error) => Error { todo: error.todo.clone(), ..warning.why(error.to_string()) },
            None => warning.why(text("run.unprotected.noproc")),
        };
        let why = warning.why.into_iter().chain(error.into_iter().flat_map(|error| error.why.clone()));
        render::err(&error_text::text(&Error { why: why.collect(), ..warning }));
    }

    /// A port that was chosen is always printed, because the user cannot know it otherwise.
    fn published(&mut self, ports: &[PublishedPort]) {
        for port in ports.iter().filter(|port| self.announces || port.is_chosen) {
            let values = [("at", &*written(port.at, port.protocol)), ("inside", &port.inside.to_string())];
            render::note_of_run(&text_with("net.published", &values));
        }
    }

    fn unreached(&mut self, port: Unreached) {
        let key = match (port.on_loopback, port.is_loopback_tried) {
            (Some(_), true) => "net.unreached.loopback",
            (Some(_), false) => "net.unreached.bridge",
            (None, _) => "net.unreached",
        };
        let server = port.on_loopback.map(|own| SocketAddr::new(own, port.inside).to_string());
        let values = [
            ("at", &*written(port.at, port.protocol)),
            ("inside", &port.inside.to_string()),
            ("server", &server.unwrap_or_default()),
            ("all", if port.on_loopback.is_some_and(|own| own.is_ipv6()) { "::" } else { "0.0.0.0" }),
        ];
        render::note_of_run(&text_with(key, &values));
    }

    fn timed_out(&mut self, seconds: u64, killed: bool) {
        let key = if killed { "run.timeout.killed" } else { "run.timeout" };
        render::note_of_run(&text_with(key, &[("seconds", &seconds.to_string())]));
    }

    fn out_of_memory(&mut self, kills: u64, limit: Option<u64>, ended: Ended) {
        // The limit of a cgroup above may be lower than the one that the user asked for.
        let limit = match (limit.map(Size), self.limit) {
            (Some(limit), Some(asked)) => limit.min(asked).to_string(),
            (limit, asked) => limit.or(asked).map_or_else(|| "?".to_owned(), |limit| limit.to_string()),
        };
        let key = if ended == Ended::Killed(libc::SIGKILL) { "memory.oom.own" } else { "memory.oom.other" };
        let message = text_with(key, &[("limit", &limit), ("kills", &kills.to_string())]);
        render::err(&format!("{message}\n"));
    }

    fn left_running(&mut self, processes: &[String]) {
        if self.announces {
            let values = [("processes", &*first_of(processes, MAX_NAMED))];
            render::note_of_run(&text_with("run.leftovers", &values));
        }
    }

    fn still_running(&mut self, processes: &[String]) {
        let values = [("processes", &*first_of(processes, MAX_NAMED))];
        render::note_of_run(&text_with("run.leftovers.running", &values));
    }

    fn full(&mut self, space: &FullSpace) {
        let place = printed(&space.mount_point);
        // A mount on the root itself would cover everything.
        let target = if place == "/" { "/var/tmp" } else { &place };
        let size = Size(space.size).to_string();
        let values = [("place", &*place), ("size", &size), ("target", target)];
        let why = if space.lacks_inodes { "rootfs.full.inodes" } else { "rootfs.full.why" };
        let error = Error::failed(text_with("rootfs.full.what", &values)).why(text_with(why, &values));
        let line = text_with("rootfs.full.command", &values);
        render::err(&error_text::text(&error.todo(format!("{}\n   {line}", text("rootfs.full.todo")))));
    }

    fn container_ended(&mut self) {
        render::note_of_run(&text("exec.with.ended"));
    }

    fn filtered(&mut self) {
        let error = Error::failed(text("seccomp.killed.what")).why(text("seccomp.killed.why"));
        render::err(&error_text::text(
            &error.step(&text("seccomp.killed.todo"), text("seccomp.killed.command")),
        ));
    }

    fn dropped(&mut self, signal: &str, killed: bool) {
        let key = if killed { "pid.dropped.killed" } else { "pid.dropped.explained" };
        let lines = wrap(&text_with(key, &[("signal", signal)]), paint::width() - 9);
        render::err(&format!("\n{}\n", lines.join("\n         ")));
    }
}
