//! `sandbox stop --demo`: what a stop signal does to a process 1 without a handler, with a handler, and to one behind an init.
//!
//! Each is a container of its own, made by the plan that `run` makes.

use super::super::cards::Screen;
use super::super::prepare;
use crate::config::complete::Completed;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec::Ended;
use crate::feature::{Feature, Purpose};
use crate::plan::{Frame, Streams};
use crate::render::paint::{self, Color, Stream, decide};
use crate::sys::signal;
use crate::teach::stop_signal::{self, FirstProcess, StoppedContainer, has_term};
use crate::text::{pad, text, text_with, wrap};

/// The column of the values.
const VALUES: usize = 18;

/// A container, and what is to be seen of it.
struct Experiment {
    /// The key of its title.
    title: &'static str,
    first: FirstProcess,
    command: &'static [&'static str],
    status: u8,
}

const EXPERIMENTS: [Experiment; 3] = [
    Experiment {
        title: "container.demo.none",
        first: FirstProcess::Sleep,
        command: &["sleep", "600"],
        status: 137,
    },
    Experiment {
        title: "container.demo.handler",
        first: FirstProcess::Handler,
        command: &["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"],
        status: 7,
    },
    Experiment {
        title: "container.demo.init",
        first: FirstProcess::Init,
        command: &["sleep", "600"],
        status: 143,
    },
];

/// Runs the experiments.
pub(super) fn run(color: Color) -> Result<u8> {
    decide(color, Stream::Out);
    let width = paint::width();
    let paragraph = |key: &str| wrap(&text(key), width).join("\n") + "\n";
    let mut screen = Screen::default();
    let title = paint::heading(&text("container.demo.title")).to_string();
    let mut flow = screen.print(&format!("{title}\n{}", paragraph("container.demo.intro")))?;
    let mut holds = true;
    for (index, experiment) in EXPERIMENTS.iter().enumerate() {
        if flow.is_break() {
            return Ok(0);
        }
        let seen = observe(experiment)?;
        let title = text_with(experiment.title, &[("command", &experiment.command.join(" "))]);
        let title = format!("{}/{}  {title}", index + 1, EXPERIMENTS.len());
        let mut block = "\n".to_owned();
        for line in wrap(&title, width) {
            block.push_str(&format!("{}\n", paint::heading(&line)));
        }
        for (name, value) in rows(experiment, &seen) {
            let mut name = name;
            for line in wrap(&value, width - VALUES) {
                block.push_str(&format!("     {}{line}\n", pad(&name, 13)));
                name.clear();
            }
        }
        flow = screen.print(&block)?;
        holds &= seen.ended.status() == experiment.status && seen.survived == (experiment.status == 137);
    }
    if flow.is_continue() {
        let end = paragraph(if holds { "container.demo.end" } else { "container.demo.other" });
        let _ = screen.print(&format!("\n{end}"))?;
    }
    Ok(u8::from(!holds))
}

/// What was seen, with a name for each value.
fn rows(experiment: &Experiment, seen: &StoppedContainer) -> Vec<(String, String)> {
    let meaning = match (experiment.first == FirstProcess::Init, has_term(&seen.caught)) {
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
        Ended::Exited(_) if experiment.first == FirstProcess::Init => of_signal(i32::from(status) - 128),
        Ended::Exited(_) => text("container.demo.own"),
    };
    rows.push((text("container.demo.status"), format!("{status}: {meaning}")));
    rows
}

fn observe(experiment: &Experiment) -> Result<StoppedContainer> {
    let command = experiment.command.iter().map(Into::into).collect();
    let init = experiment.first == FirstProcess::Init;
    let spec = Spec { init, command, ..Spec::of(Feature::Pid) };
    let completed = Completed::of(&spec, Purpose::Container);
    let around = Frame { streams: Streams::Null, ..Frame::default() };
    let plan = completed.plan_within(around, prepare::container_ending(&completed)?, false);
    stop_signal::stop(&plan, experiment.first)
}
