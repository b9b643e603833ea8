//! `sandbox enter PID|NAME -- COMMAND`: runs a command in the namespaces of a running process.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use super::output::{self, OutputArgs};
use super::target::Target;
use super::watch::Narrator;
use crate::config::compose::Ending;
use crate::config::enter;
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::host::resolver::Resolver;
use crate::host::{ProgramFile, command};
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};

/// The flags of `enter`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct EnterArgs {
    /// A PID on this machine, or the name of a running container (`name` in its spec)
    #[arg(value_name = "PID|NAME")]
    target: Target,
    #[command(flatten)]
    output: OutputArgs,
    /// The command to run there, after `--`; the default is sh
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command.
pub(super) fn run(color: Color, args: EnterArgs) -> Result<u8> {
    let output = &args.output;
    decide(color, if output.dry_run { Stream::Out } else { Stream::Err });
    if !output.dry_run {
        output::protect_program();
    }
    // The subject is open until the end, so its PID cannot mean another process meanwhile.
    let subject = args.target.open()?;
    let namespaces = enter::others(subject.pid);
    if namespaces.is_empty() {
        let pid = subject.pid.to_string();
        return Err(Error::failed(text_with("enter.same", &[("pid", &pid)])).todo(text("enter.same.todo")));
    }
    let command = if args.command.is_empty() { vec!["sh".into()] } else { args.command };
    let root = enter::root(subject.pid);
    let path =
        command::resolve(&command[0], &Resolver::new(Some(Path::new(&root))), &command::callers_path())?;
    let ending = Ending::Command { path, arguments: command.clone() };
    let plan = enter::plan(subject.pid, &namespaces, ProgramFile::gather(), ending, output.show_proc);
    if output.dry_run {
        output::print_plan(&plan, output);
        return Ok(0);
    }
    let spec = Spec { command, ..Spec::default() };
    output::run_command(&plan, output, &mut Narrator::new(output, &spec))
}
