//! A command with a terminal of its own, by the library alone: `pty [--init|--devpts] COMMAND [ARGUMENT...]`.
//!
//! A spec becomes a plan, the plan is performed, and the command is waited for. `tests/pty.rs` drives this program.

use std::process::ExitCode;

use sandbox::error::Result;
use sandbox::exec::{self, Unwatched};
use sandbox::feature::Feature;
use sandbox::host::command;
use sandbox::namespaces::mnt::Mnt;
use sandbox::namespaces::pid::Pid;
use sandbox::plan::call::mount::Mount;
use sandbox::plan::call::process::Process;
use sandbox::plan::order::Phase;
use sandbox::plan::{Actor, Call, Draft, Plan, plan_terminal};
use sandbox::spec::Spec;
use sandbox::spec::compose::{self, Ending};

/// Puts a devpts of the container's own into a plan, and a terminal that is made there.
fn add_devpts(plan: &mut Plan) {
    let mut draft = Draft::new(Feature::Mnt, Vec::new());
    let devpts = Mount::Filesystem {
        kind: "devpts".into(),
        target: "/dev/pts".into(),
        data: Some("newinstance,ptmxmode=0666,mode=0620".into()),
    };
    draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, devpts, "mnt.tmpfs.why");
    let inside = draft.mounts("devpts");
    plan_terminal(&mut draft, inside);
    // A draft makes a process too; this one is for the plan's own.
    let steps = draft.finish().steps.into_iter().filter(|step| step.actor != Actor::Host);
    let is_clean = |call: &Call| matches!(call, Call::Process(Process::CloseOnExec));
    let end = plan.steps.iter().position(|step| is_clean(&step.call)).unwrap_or(plan.steps.len());
    plan.steps.splice(end..end, steps);
}

fn run(flag: &str, arguments: Vec<String>) -> Result<u8> {
    let mut spec = Spec { tty: flag != "--devpts", ..Spec::of(Feature::Uts) };
    match flag {
        "--init" => spec.pid = Some(Pid { init: true, ..Pid::default() }),
        "--devpts" => spec.mnt = Some(Mnt::default()),
        _ => {}
    }
    let name = arguments.first().map_or("", String::as_str);
    let path = command::resolve(name, &Default::default())?.to_string_lossy().into_owned();
    let ending = Ending::Command { path, arguments };
    let mut plan = compose::plan(&spec, &compose::gather(&spec), Feature::Uts, ending, false);
    if flag == "--devpts" {
        add_devpts(&mut plan);
    }
    Ok(exec::start(&plan, &mut Unwatched)?.wait(&mut Unwatched)?.status())
}

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let has_flag = words.first().is_some_and(|word| word.starts_with("--"));
    let flag = if has_flag { words.remove(0) } else { String::new() };
    match run(&flag, words) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::from(125)
        }
    }
}
