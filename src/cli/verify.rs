//! `sandbox verify PID|NAME SPEC`: checks a running container against its spec.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::output::FormatArgs;
use super::prepare;
use super::target::Target;
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::enter::{self, Entered, EntryOptions};
use crate::error::Result;
use crate::exec::Unwatched;
use crate::exec::verify::table;
use crate::feature::Purpose;
use crate::plan::gate::Difference;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::teach::agent::Agent;
use crate::teach::verify;
use crate::text::text_with;

/// The flags of `verify`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct VerifyArgs {
    /// The name of the container (`name` in its spec), or the PID of its command on this machine
    #[arg(value_name = "PID|NAME")]
    target: Target,
    /// The spec that the container was started from
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    #[command(flatten)]
    output: FormatArgs,
}

/// The result as JSON.
#[derive(Debug, Serialize)]
struct Verified {
    /// The PID of the process.
    pid: i32,
    /// Whether every value is as the spec requires.
    holds: bool,
    /// The number of values that were compared.
    compared: usize,
    /// The values that differ.
    differences: Vec<Difference>,
}

/// Compares what the kernel shows with the spec.
pub(super) fn run(color: Color, args: &VerifyArgs) -> Result<u8> {
    decide(color, Stream::Out);
    let subject = args.target.open()?;
    let (spec, _) = prepare::read(&args.spec)?;
    let completed = Completed::of(&spec, Purpose::Container);
    // A spec without a command was started with another one. Then the command is not compared.
    let ending = match spec.command.is_empty() {
        true => Ending::Command { path: PathBuf::from("/"), arguments: Vec::new() },
        false => prepare::container_ending(&completed)?,
    };
    let plan = completed.plan(ending, false);
    let others = enter::others(subject.pid);
    let agent = match others.is_empty() {
        true => None,
        false => {
            let entry = EntryOptions {
                ending: Ending::Demonstration,
                environment: None,
                privileged: true,
                has_terminal: false,
                view: false,
            };
            let joins = enter::plan(&Entered::read(subject.pid)?, completed.machine.host.program, entry);
            Some(Agent::start(&joins, &mut Unwatched)?)
        }
    };
    let (compared, differences) = verify::process(&plan, subject.pid, agent.as_ref())?;
    let (count, pid) = (compared.to_string(), subject.pid.to_string());
    let holds = differences.is_empty();
    if args.output.is_json() {
        let differences = differences.clone();
        render::print_json(Stream::Out, &Verified { pid: subject.pid, holds, compared, differences });
    } else if holds {
        render::out(&(text_with("verify.holds", &[("count", &count), ("pid", &pid)]) + "\n"));
    }
    match holds {
        true => Ok(0),
        false => Err(table(&text_with("verify.differs", &[("pid", &pid)]), &differences)),
    }
}
