//! Measures the cost of the check before exec, for scripts/bench: starts a container with the check, or without it.
//!
//!     check with|without SPEC
//!
//! `sandbox` itself has no option to leave the check out. So this program does what `sandbox run` does, with the same
//! library, and removes the two steps from the plan. scripts/bench measures the difference.

use std::path::Path;
use std::process::ExitCode;

use sandbox::config::complete::Completed;
use sandbox::config::compose::Ending;
use sandbox::config::spec::yaml;
use sandbox::exec::{self, Unwatched};
use sandbox::feature::Purpose;
use sandbox::plan::Call;
use sandbox::plan::call::gate::GateCall;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode @ ("with" | "without"), file] = &*arguments.iter().map(String::as_str).collect::<Vec<_>>()
    else {
        eprintln!("usage: check with|without SPEC");
        return ExitCode::from(2);
    };
    let text = std::fs::read_to_string(Path::new(file)).expect("the spec");
    let spec = yaml::read(&text, file).expect("a spec");
    let ending = Ending::Command { path: spec.command[0].clone().into(), arguments: spec.command.clone() };
    let mut plan = Completed::of(&spec, Purpose::Container).plan(ending, false);
    if *mode == "without" {
        plan.steps.retain(|step| !matches!(step.call, Call::Gate(GateCall::Verify)));
    }
    let ended = exec::start(&plan, &mut Unwatched).and_then(|mut container| container.wait(&mut Unwatched));
    ExitCode::from(ended.expect("a container").status())
}
