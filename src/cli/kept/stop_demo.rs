//! `sandbox stop --demo`: what a stop signal does to a process 1 without a handler, with a handler, and to one behind an init.
//!
//! Each is a container of its own, made by the plan that `run` makes. Its process 1 gets SIGTERM as from `sandbox stop`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollTimeout};

use super::super::prepare;
use crate::config::complete::Completed;
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::exec::{self, Attendant, Ended, Unwatched};
use crate::feature::{Feature, Purpose};
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::observe::processes::processes;
use crate::plan::{Frame, Streams};
use crate::render;
use crate::render::paint::{self, Color, Stream, decide};
use crate::sys::signal;
use crate::text::{text, text_with, wrap};

/// The time from SIGTERM to SIGKILL here. `stop` waits ten seconds.
const GRACE: Duration = Duration::from_secs(1);

/// How long a container may take until its command can get the signal.
const READY: Duration = Duration::from_secs(10);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The column of the values.
const VALUES: usize = 18;

/// A container, and what is to be seen of it.
struct Experiment {
    /// The key of its title.
    title: &'static str,
    has_init: bool,
    command: &'static [&'static str],
    status: u8,
}

const EXPERIMENTS: [Experiment; 3] = [
    Experiment { title: "container.demo.none", has_init: false, command: &["sleep", "600"], status: 137 },
    Experiment {
        title: "container.demo.handler",
        has_init: false,
        command: &["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"],
        status: 7,
    },
    Experiment { title: "container.demo.init", has_init: true, command: &["sleep", "600"], status: 143 },
];

/// Runs the experiments.
pub(super) fn run(color: Color) -> Result<u8> {
    decide(color, Stream::Out);
    let width = paint::width();
    let paragraph = |key: &str| render::out(&(wrap(&text(key), width).join("\n") + "\n"));
    render::out(&format!("{}\n", paint::heading(&text("container.demo.title"))));
    paragraph("container.demo.intro");
    let mut holds = true;
    for (index, experiment) in EXPERIMENTS.iter().enumerate() {
        let seen = observe(experiment)?;
        let title = text_with(experiment.title, &[("command", &experiment.command.join(" "))]);
        let title = format!("{}/{}  {title}", index + 1, EXPERIMENTS.len());
        render::out("\n");
        for line in wrap(&title, width) {
            render::out(&format!("{}\n", paint::heading(&line)));
        }
        for (name, value) in rows(experiment, &seen) {
            let mut name = name;
            for line in wrap(&value, width - VALUES) {
                render::out(&format!("     {name:<13}{line}\n"));
                name.clear();
            }
        }
        holds &= seen.ended.status() == experiment.status && seen.survived == (experiment.status == 137);
    }
    render::out("\n");
    paragraph(if holds { "container.demo.end" } else { "container.demo.other" });
    Ok(u8::from(!holds))
}

/// What was seen, with a name for each value.
fn rows(experiment: &Experiment, seen: &Seen) -> Vec<(String, String)> {
    let meaning = match (experiment.has_init, handles_term(&seen.caught)) {
        (true, _) => "container.demo.mask.init",
        (false, true) => "container.demo.mask.yes",
        (false, false) => "container.demo.mask.no",
    };
    let answer = if seen.survived { "container.demo.discarded" } else { "container.demo.ended" };
    let mut rows = vec![
        ("SigCgt".to_owned(), format!("{}: {}", seen.caught, text(meaning))),
        ("SIGTERM".to_owned(), text(answer)),
    ];
    if seen.survived {
        rows.push(("SIGKILL".to_owned(), text("container.demo.killed")));
    }
    let status = seen.ended.status();
    let of_signal = |number: i32| format!("128 + {number} ({})", signal::name(number));
    let meaning = match seen.ended {
        Ended::Killed(number) => of_signal(number),
        Ended::Exited(_) if experiment.has_init => of_signal(i32::from(status) - 128),
        Ended::Exited(_) => text("container.demo.own"),
    };
    rows.push((text("container.demo.status"), format!("{status}: {meaning}")));
    rows
}

/// Whether SIGTERM is in a mask of /proc/PID/status.
fn handles_term(mask: &str) -> bool {
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
}

/// What was seen of a container.
struct Seen {
    /// The mask of the signals for which process 1 has a handler.
    caught: String,
    /// Whether it ran on after SIGTERM.
    survived: bool,
    ended: Ended,
}

fn observe(experiment: &Experiment) -> Result<Seen> {
    let command = experiment.command.iter().map(Into::into).collect();
    let spec = Spec { init: experiment.has_init, command, ..Spec::of(Feature::Pid) };
    let completed = Completed::of(&spec, Purpose::Container);
    let around = Frame { streams: Streams::Null, ..Frame::default() };
    let plan = completed.plan_within(around, prepare::container_ending(&completed)?, false);
    let mut container = exec::start(&plan, &mut Unwatched)?;
    let pidfd = container.pidfd().and_then(|pidfd| pidfd.try_clone_to_owned().ok());
    let mut stopping = Stopping {
        pid: container.pid().as_raw(),
        experiment,
        pidfd: pidfd.ok_or_else(|| Error::failed(text("container.demo.cannot")))?,
        ready_by: Instant::now() + READY,
        kill_at: None,
        caught: String::new(),
        survived: false,
    };
    let ended = container.wait_attended(&mut Unwatched, &mut stopping)?;
    Ok(Seen { caught: stopping.caught, survived: stopping.survived, ended })
}

/// Stops a container as its supervisor does: SIGTERM, and after a time SIGKILL.
struct Stopping<'a> {
    pid: i32,
    experiment: &'a Experiment,
    pidfd: OwnedFd,
    ready_by: Instant,
    /// When SIGKILL follows. None: SIGTERM was not sent yet.
    kill_at: Option<Instant>,
    caught: String,
    survived: bool,
}

impl Stopping<'_> {
    /// The mask of its handlers, once its command runs and has set its own.
    fn handlers(&self) -> Option<String> {
        let status = file::read_text(format!("/proc/{}/status", self.pid)).ok()?;
        let mask = status_of(&status, "SigCgt")?.to_owned();
        let is_sleep = |name: &str| name == "sleep";
        let is_ready = match (self.experiment.has_init, self.experiment.command) {
            (true, _) => processes().values().any(|one| one.parent == self.pid && is_sleep(&one.name)),
            (false, ["sh", ..]) => handles_term(&mask),
            (false, _) => status_of(&status, "Name").is_some_and(is_sleep),
        };
        (is_ready || Instant::now() > self.ready_by).then_some(mask)
    }
}

impl Attendant for Stopping<'_> {
    fn act(&mut self, has_ended: bool) -> bool {
        if has_ended {
            return true;
        }
        match self.kill_at {
            None => {
                if let Some(mask) = self.handlers() {
                    self.caught = mask;
                    let _ = signal::send(self.pidfd.as_fd(), libc::SIGTERM);
                    self.kill_at = Some(Instant::now() + GRACE);
                }
            }
            Some(kill_at) if Instant::now() >= kill_at && !self.survived => {
                self.survived = true;
                let _ = signal::send(self.pidfd.as_fd(), libc::SIGKILL);
            }
            Some(_) => {}
        }
        false
    }

    fn poll_set(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }

    fn timeout(&self) -> PollTimeout {
        let left = match self.kill_at {
            None => PAUSE,
            Some(_) if self.survived => return PollTimeout::NONE,
            Some(kill_at) => kill_at.saturating_duration_since(Instant::now()) + Duration::from_millis(1),
        };
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }
}
