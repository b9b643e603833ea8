//! `sandbox enter PID|NAME -- COMMAND`: the namespaces of a process that is there already.

use std::path::Path;

use clap::Args;

use super::target::Target;
use super::telling::{self, Telling};
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
    telling: Telling,
    /// The command to run there, after `--`; the default is sh
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Enters.
pub(super) fn run(color: Color, args: EnterArgs) -> Result<u8> {
    let telling = &args.telling;
    decide(color, if telling.dry_run { Stream::Out } else { Stream::Err });
    if !telling.dry_run {
        telling::protect_program();
    }
    // Held until the end: the number stays this process's.
    let subject = args.target.open()?;
    let namespaces = enter::others(subject.pid);
    if namespaces.is_empty() {
        let pid = subject.pid.to_string();
        return Err(Error::failed(text_with("enter.same", &[("pid", &pid)])).todo(text("enter.same.todo")));
    }
    let command = if args.command.is_empty() { vec!["sh".to_owned()] } else { args.command };
    let root = enter::root(subject.pid);
    let path =
        command::resolve(&command[0], &Resolver::new(Some(Path::new(&root))), &command::callers_path())?;
    let ending = Ending::Command { path: path.to_string_lossy().into_owned(), arguments: command.clone() };
    let plan = enter::plan(subject.pid, &namespaces, ProgramFile::gather(), ending, telling.show_proc);
    if telling.dry_run {
        telling::print_plan(&plan, telling);
        return Ok(0);
    }
    let spec = Spec { command, ..Spec::default() };
    telling::run_command(&plan, telling, &mut Narrator::new(telling, &spec))
}
