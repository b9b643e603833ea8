//! `sandbox enter PID|NAME -- COMMAND`: runs a command in the namespaces of a running process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;

use super::output::{self, OutputArgs};
use super::target::Target;
use super::watch::Narrator;
use crate::config::compose::Ending;
use crate::config::enter::{self, Entered, EntryOptions};
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::host::resolver::Resolver;
use crate::host::untrusted::within_patience;
use crate::host::{ProgramFile, command};
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text_with};

/// The flags of `enter`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct EnterArgs {
    /// A PID on this machine, or the name of a running container (`name` in its spec)
    #[arg(value_name = "PID|NAME")]
    target: Target,
    /// Keep your own capabilities, and your cgroups. Only for a container that you trust
    #[arg(long)]
    privileged: bool,
    /// Set an environment variable of the command; without a value, it is the one of your environment (may be repeated)
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
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
    output.check_format(true)?;
    if !output.dry_run {
        output::protect_program();
    }
    output.reserve_stdout(&args.command)?;
    let command = if args.command.is_empty() { vec!["sh".into()] } else { args.command };
    // The subject is open until the end, so its PID cannot mean another process meanwhile.
    let subject = args.target.open()?;
    let entered = Entered::read(subject.pid)?;
    if entered.namespaces.is_empty() {
        let pid = subject.pid.to_string();
        let todo = text_with("enter.same.todo", &[("pid", &pid)]);
        return Err(Error::failed(text_with("enter.same", &[("pid", &pid)])).todo(todo));
    }
    let environment = environment(entered.ids.0, &args.env)?;
    let path = environment.get(OsStr::new("PATH")).map_or(OsStr::new(command::PATH), OsString::as_os_str);
    let (root, name, path) = (enter::root(subject.pid), command[0].clone(), path.to_owned());
    let path = within_patience(subject.pid, move || {
        command::resolve(&name, &Resolver::new(Some(Path::new(&root))), &path)
    })?;
    let ending = Ending::Command { path, arguments: command.clone() };
    let entry = EntryOptions {
        ending,
        environment: Some(
            environment.iter().map(|(name, value)| [name.as_os_str(), value].join(OsStr::new("="))).collect(),
        ),
        privileged: args.privileged,
        terminals: terminals(),
        view: output.show_proc,
    };
    let plan = enter::plan(&entered, ProgramFile::gather(), entry);
    if output.dry_run {
        output::print_plan(&plan, output);
        return Ok(0);
    }
    let spec = Spec { command, ..Spec::default() };
    output::run_command(&plan, output, &mut Narrator::new(output, &spec))
}

/// Those of descriptors 0 to 2 that are a terminal.
fn terminals() -> Vec<i32> {
    let streams =
        [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()];
    (0..).zip(streams).filter(|(_, is_terminal)| *is_terminal).map(|(descriptor, _)| descriptor).collect()
}

/// The environment of the command. From the caller's it has only TERM, and what `wanted` names: `NAME=VALUE`, or `NAME`.
fn environment(user: u32, wanted: &[OsString]) -> Result<BTreeMap<OsString, OsString>> {
    let terminal = std::env::var_os("TERM").unwrap_or_else(|| "xterm".into());
    let home = if user == 0 { "/root" } else { "/" };
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::from([
        ("PATH".into(), command::PATH.into()),
        ("HOME".into(), home.into()),
        ("TERM".into(), terminal),
    ]);
    for one in wanted {
        let bytes = one.as_bytes();
        let Some(end) = bytes.iter().position(|byte| *byte == b'=') else {
            all.extend(std::env::var_os(one).map(|value| (one.clone(), value)));
            continue;
        };
        if end == 0 {
            return Err(Error::usage(text_with("enter.env", &[("value", &printed(one))])));
        }
        let part = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        all.insert(part(&bytes[..end]), part(&bytes[end + 1..]));
    }
    Ok(all)
}
