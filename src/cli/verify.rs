//! `sandbox verify PID|NAME [SPEC]`: checks a running container against the config that it was started with, or against a
//! spec.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::explain::{ExplainArg, ExplainedStep};
use super::output::FormatArgs;
use super::prepare::{self, Wishes};
use super::target::Target;
use crate::config::complete::Completed;
use crate::config::compose::{self, Ending};
use crate::config::container::Config;
use crate::config::enter::{self, Entered, EntryOptions};
use crate::config::facts::Machine;
use crate::container::explain::Explainer;
use crate::container::refusal;
use crate::error::{Error, ExitKind, Result};
use crate::exec::verify::table;
use crate::exec::{self, Unwatched, sweep};
use crate::feature::Purpose;
use crate::host::ProgramFile;
use crate::plan::Joined;
use crate::plan::gate::Difference;
use crate::plan::{Draft, Plan};
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
    /// A spec to compare with; without it, the config with which `run` has started the container
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    #[command(flatten)]
    output: FormatArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

const STEPS: [ExplainedStep; 4] = [
    ("pidfd_open(PID)", "verify.explain.process"),
    ("read(<RUN/ID/config.json>)", "verify.explain.config"),
    (
        "read(/proc/PID/status, limits, mountinfo, cgroup, uid_map); readlink(/proc/PID/ns/*)",
        "verify.explain.read",
    ),
    ("setns(<namespaces of PID>)", "verify.explain.join"),
];

/// The result as JSON.
#[derive(Debug, Serialize)]
struct Verified {
    /// The PID of the process.
    pid: i32,
    /// Whether every value is as the spec requires.
    holds: bool,
    /// The number of values that were compared.
    compared: usize,
    /// The namespaces that are those of another container or process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    joined: Vec<Joined>,
    /// The values that differ.
    differences: Vec<Difference>,
}

/// Compares what the kernel shows with the spec.
pub(super) fn run(color: Color, args: &VerifyArgs) -> Result<u8> {
    decide(color, Stream::Out);
    args.explain.steps(&STEPS);
    let subject = args.target.open()?;
    let pid = subject.pid;
    let verified = verified(args.spec.as_deref(), pid);
    let vanished = subject.vanished();
    // What is read of a process that ends meanwhile is missing.
    if exec::is_ending(&subject.into_pidfd()) {
        let refused = args.target.named().map(|container| refusal::not_running(&container));
        return Err(refused.map_or(vanished, |error| Error { kind: ExitKind::Failed, ..error }));
    }
    let (plan, compared, differences) = verified?;
    let (count, shown_pid) = (compared.to_string(), pid.to_string());
    let holds = differences.is_empty();
    if args.output.is_json() {
        let differences = differences.clone();
        render::print_json(
            Stream::Out,
            &Verified { pid, holds, compared, joined: plan.joined.clone(), differences },
        );
    } else if holds {
        render::out(&(text_with("verify.holds", &[("count", &count), ("pid", &shown_pid)]) + "\n"));
        let joins = render::plan::joins(&plan).into_iter();
        joins.for_each(|line| render::out(&(text_with("verify.joined", &[("joins", &line)]) + "\n")));
    }
    match holds {
        true => Ok(0),
        false => Err(table(&text_with("verify.differs", &[("pid", &shown_pid)]), &differences)),
    }
}

/// Compares a process with a spec, or with its own config. Returns the plan, how many values were compared, and those that differ.
fn verified(spec: Option<&Path>, pid: i32) -> Result<(Plan, usize, Vec<Difference>)> {
    let plan = match spec {
        Some(spec) => plan_of_spec(spec)?,
        None => plan_of_config(&sweep::config_of(pid)?.ok_or_else(|| no_config(pid))?.0),
    };
    let others = enter::others(pid)?;
    let agent = match others.is_empty() {
        true => None,
        false => {
            let entry = EntryOptions {
                ending: Ending::Demonstration,
                environment: None,
                privileged: true,
                terminals: Vec::new(),
                view: false,
            };
            let joins = enter::plan(&Entered::read(pid)?, ProgramFile::gather(), entry);
            Some(Agent::start(&joins, &mut Unwatched)?)
        }
    };
    let (compared, differences) = verify::process(&plan, pid, agent.as_ref())?;
    Ok((plan, compared, differences))
}

/// The end of a plan whose command is not compared.
fn any_command() -> Ending {
    Ending::Command { path: PathBuf::from("/"), arguments: Vec::new() }
}

fn plan_of_spec(file: &Path) -> Result<Plan> {
    let (spec, _) = prepare::read(file)?;
    let spec = prepare::with_layers(spec, &Wishes::default(), Explainer::default())?.into_spec();
    let completed = Completed::of(&spec, Purpose::Container);
    // A spec without a command was started with another one.
    let ending = if spec.command.is_empty() { any_command() } else { prepare::container_ending(&completed)? };
    Ok(completed.plan(ending, false))
}

fn plan_of_config(config: &Config) -> Plan {
    let draft = Draft::new(Purpose::Container, Vec::new());
    compose::plan(config, &Machine::of(config), draft, any_command(), false)
}

/// The error of a process that `run` has not started.
fn no_config(pid: i32) -> Error {
    let pid = pid.to_string();
    let values = [("pid", pid.as_str())];
    Error::failed(text_with("verify.noconfig", &values)).todo(text_with("verify.noconfig.todo", &values))
}
