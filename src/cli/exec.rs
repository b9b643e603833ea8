//! `sandbox exec NAME COMMAND`: runs a further process in a running container.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::exec_limits::MetLimits;
use super::kept::{as_docker, as_dockers_line};
use super::output::{self, OutputArgs};
use super::target::Target;
use super::watch::Narrator;
use crate::config::exec::{self as config_exec, ExecRequest, variables};
use crate::config::spec::Spec;
use crate::container::attach;
use crate::container::events::{Event, EventAction};
use crate::container::freezer;
use crate::container::id::Id;
use crate::container::refusal;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, ExitKind, Result};
use crate::exec::{self, Background, Detachable, FrontEnd, sweep};
use crate::host::containers;
use crate::plan::{Plan, Streams};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};

/// The flags of `exec`.
#[derive(Debug, Args)]
#[group(skip)]
#[command(override_usage = "sandbox exec [OPTIONS] NAME COMMAND [ARGUMENT]...")]
pub(super) struct ExecArgs {
    /// Give the command your standard input. Without it, the command reads /dev/null
    #[arg(long, short)]
    interactive: bool,
    /// Give the command a new terminal
    #[arg(long, short)]
    tty: bool,
    /// Run the command in the background, with /dev/null as its standard streams. It ends with the container
    #[arg(long, short)]
    detach: bool,
    /// Set an environment variable of the command; without a value, it is the one of your environment (may be repeated)
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Read environment variables from a file: NAME=VALUE or NAME on each line; a file with NUL bytes is read as
    /// /proc/PID/environ (may be repeated)
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The user of the command. A name is looked up in /etc/passwd and /etc/group of the container; a number is an ID
    #[arg(long, short, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<OsString>,
    /// The working directory of the command, a path in the container
    #[arg(long, short, value_name = "DIRECTORY")]
    workdir: Option<PathBuf>,
    /// Give the command all capabilities that you have. Only for a container that you trust
    #[arg(long)]
    privileged: bool,
    /// The keys that detach you from the command's terminal, with -it; without it, ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// The ID of the command in the events, for the daemon
    #[arg(long, hide = true, value_name = "ID")]
    exec_id: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    /// A running container: its name (`name` in its spec), or the PID of its command. Then the command, as it is: every
    /// word after NAME belongs to it
    #[arg(value_names = ["NAME", "COMMAND"], num_args = 2.., required = true, trailing_var_arg = true)]
    target: Vec<OsString>,
}

/// Runs the command.
pub(super) fn run(color: Color, args: ExecArgs) -> Result<u8> {
    // For a client of the daemon, 125 is an error of the client itself. That of a command that cannot begin is Docker's.
    let is_of_daemon = args.exec_id.is_some();
    perform(color, args).map_err(|error| match error.kind {
        ExitKind::Failed | ExitKind::Refused if is_of_daemon => {
            Error { kind: ExitKind::NotExecutable, ..error }
        }
        _ if !is_of_daemon => as_dockers_line(error),
        _ => error,
    })
}

fn perform(color: Color, mut args: ExecArgs) -> Result<u8> {
    // The container runs already, and was announced when it started.
    args.output.be_quiet();
    let output = &args.output;
    decide(color, if output.dry_run { Stream::Out } else { Stream::Err });
    output.check_format(true)?;
    let keys = attach::keys(args.detach_keys.as_deref())?;
    if output.print_spec {
        return Err(Error::usage(text("exec.with.spec")));
    }
    let command = args.target.split_off(1);
    let name = args.target.pop().unwrap_or_default();
    let target: Target = match name.to_str() {
        Some(name) => name.parse().map_err(Error::usage)?,
        None => return Err(Error::usage(text("run.target.form"))),
    };
    if !output.dry_run {
        output::protect_program();
    }
    // The subject is open until the end. Its namespaces are opened by what the kernel shows for it, and are checked then.
    let subject = target.open().map_err(|error| unusable(&target, error))?;
    let pid = subject.pid;
    let gone = || gone(&target);
    let plan = plan(&args, &target, pid, &command);
    let container = subject.into_pidfd();
    let has_ended = exec::is_ending(&container);
    // What is read from a process that ends meanwhile is missing, or is that of no process.
    let plan = plan.map_err(|error| match error.kind != ExitKind::Usage && has_ended {
        true => gone(),
        false => error,
    })?;
    if has_ended {
        return Err(gone());
    }
    if output.dry_run {
        output::print_plan(&plan, output);
        return Ok(0);
    }
    // A process that joins a frozen cgroup is frozen too: this command would wait for it.
    if freezer::is_paused(pid) {
        let what = text_with("container.exec.paused", &[("name", &printed(&name))]);
        return Err(Error::new(ExitKind::Refused, what));
    }
    if args.tty && args.interactive && !args.detach {
        super::kept::create::has_terminal()?;
    }
    let events = ExecEvents::of(&target, pid, args.exec_id.clone());
    // The daemon finds the keys of its clients itself.
    let detachable = match args.tty && args.interactive && !args.detach && args.exec_id.is_none() {
        false => None,
        true => match exec::continue_detachable(keys)? {
            Detachable::Copy(copy) => Some(copy),
            Detachable::Front(FrontEnd::Ended(status)) => return Ok(status),
            Detachable::Front(FrontEnd::Detached) => {
                events.note(EventAction::ExecDetach, |event| event);
                render::err(&format!("\n{}\n", text("container.detached")));
                return Ok(ExitKind::Refused.status());
            }
        },
    };
    let copy = match args.detach {
        false => None,
        true => match exec::continue_in_background()? {
            Background::Caller(status) => return Ok(status),
            Background::Copy(copy) => Some(copy),
        },
    };
    events.note(EventAction::ExecCreate, |event| event.with_command(&command));
    events.note(EventAction::ExecStart, |event| event.with_command(&command));
    let spec = Spec { command, ..Spec::default() };
    let is_background = copy.is_some();
    let limits = MetLimits::of(pid, events.kept.as_ref().map(|(_, container)| container.shown_name()));
    let watched = container.try_clone().ok();
    let ran = output::run_after(&plan, output, &mut Narrator::new(output, &spec), |started| {
        started.end_with(container);
        if !args.interactive || is_background {
            started.give_no_input();
        }
        copy.into_iter().for_each(exec::Copy::started);
        detachable.into_iter().for_each(|copy| started.detach_with(copy));
    });
    let status = ran.as_ref().map_or_else(|error| error.kind.status(), |status| *status);
    events.note(EventAction::ExecDie, |event| event.with("exitCode", status));
    limits.report(status);
    // A step that fails because the container has ended has an errno that says something else.
    ran.map_err(|error| {
        match error.kind == ExitKind::Failed && watched.is_some_and(|pidfd| exec::is_ending(&pidfd)) {
            true => gone(),
            false => limits.explain(error),
        }
    })
}

/// The container has ended meanwhile.
fn gone(target: &Target) -> Error {
    match (target, target.named()) {
        (_, Some(container)) => refusal::not_running(&container),
        (Target::Name(name), None) => refusal::none(name),
        (Target::Pid(_), None) => Error::new(ExitKind::Refused, text("exec.with.gone")),
    }
}

/// The error of a container in which nothing can be run: its exit status is Docker's, and so are the words for one that
/// does not exist.
fn unusable(target: &Target, error: Error) -> Error {
    let Target::Name(name) = target else { return error };
    let is_kept = || ContainerStore::open().and_then(|store| store.id_of(name)).map(|id| id.is_some());
    let runs = || containers::named(name).map(|all| !all.is_empty());
    as_docker(match (is_kept(), runs()) {
        (Ok(false), Ok(false)) => refusal::none(name),
        _ => error,
    })
}

/// Where the events of a command are told: those of a container that stays.
struct ExecEvents {
    kept: Option<(ContainerStore, KeptContainer)>,
    /// The ID of the command.
    id: String,
}

impl ExecEvents {
    fn of(target: &Target, pid: i32, id: Option<String>) -> ExecEvents {
        let kept = target.kept(pid);
        let new = || kept.as_ref().and_then(|_| Id::new().ok()).map(|id| id.as_str().to_owned());
        let id = id.or_else(new).unwrap_or_default();
        ExecEvents { kept, id }
    }

    fn note(&self, action: EventAction, change: impl FnOnce(Event) -> Event) {
        if let Some((store, container)) = &self.kept {
            store.note_of(container, |event| change(event.with("execID", &self.id)), action);
        }
    }
}

/// The plan of the command in the container with this process.
fn plan(args: &ExecArgs, target: &Target, pid: i32, command: &[OsString]) -> Result<Plan> {
    let Some((config, container)) = sweep::config_of(pid)? else {
        // The name was that of a running container a moment ago.
        if let Target::Name(_) = target {
            return Err(gone(target));
        }
        let pid = pid.to_string();
        return Err(Error::failed(text_with("exec.with.other", &[("pid", &pid)]))
            .todo(text_with("exec.with.other.todo", &[("pid", &pid)])));
    };
    let request = ExecRequest {
        pid,
        container,
        arguments: command.to_vec(),
        variables: variables(&args.env_file, &args.env)?,
        user: args.user.clone().filter(|user| !user.is_empty()),
        directory: args.workdir.clone().filter(|directory| !directory.as_os_str().is_empty()),
        privileged: args.privileged,
        streams: match (args.tty, args.detach, args.interactive) {
            (true, _, _) => Streams::Terminal,
            (false, true, _) => Streams::Null,
            (false, false, true) => Streams::Pipes,
            (false, false, false) => Streams::Output,
        },
        view: args.output.show_proc,
    };
    config_exec::plan(config, request)
}
