//! `sandbox start`, `attach`, and the end of `run -d` and `run --keep`.

use std::io::IsTerminal;

use clap::Args;

use super::{as_docker, each, find, shown, together};
use crate::cli::explain::ExplainArg;
use crate::container::attach::{self, AttachOptions, Left};
use crate::container::client::SupervisorClient;
use crate::container::explain::Explainer;
use crate::container::life;
use crate::container::record::ContainerStatus;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::supervisor::explain_start;
use crate::error::{Error, ExitKind, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};

/// The flags of `start`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct StartArgs {
    /// Show the output of the container, forward signals to it, and end with its exit status
    #[arg(long, short)]
    attach: bool,
    /// Send it standard input too, if it was created with `-i`
    #[arg(long, short)]
    interactive: bool,
    /// The keys that end this command, and not the container: `ctrl-p,ctrl-q`
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Start all containers that their restart policy starts, as after a restart of the machine
    #[arg(long, conflicts_with_all = ["attach", "interactive", "containers"])]
    all: bool,
    #[command(flatten)]
    explain: ExplainArg,
    /// The containers: names, IDs, or beginnings of IDs
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    containers: Vec<std::ffi::OsString>,
}

/// The flags of `attach`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct AttachArgs {
    /// Do not send standard input
    #[arg(long)]
    no_stdin: bool,
    /// Whether signals are forwarded to the container
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// The keys that end this command, and not the container: `ctrl-p,ctrl-q`
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    explain: ExplainArg,
    /// The container: its name, its ID, or the beginning of its ID
    #[arg(value_name = "CONTAINER")]
    container: std::ffi::OsString,
}

/// Starts containers.
pub(crate) fn start(color: Color, args: &StartArgs) -> Result<u8> {
    let explain = args.explain.explainer();
    if args.all {
        return start_all(color, explain);
    }
    if !args.attach && !args.interactive {
        decide(color, Stream::Err);
        let store = ContainerStore::open().map_err(as_docker)?;
        let mut failed = Vec::new();
        let start = |name: &_| find(&store, name).and_then(|container| life::start(&container, explain));
        together(&args.containers, &args.explain, start, |name, started| {
            if !shown(started.map(|()| Some(printed(name)))) {
                failed.push(printed(name));
            }
        });
        if !failed.is_empty() {
            let values = [("names", &*failed.join(", "))];
            render::err(&(text_with("container.start.failed", &values) + "\n"));
        }
        return Ok(u8::from(!failed.is_empty()));
    }
    decide(color, Stream::Err);
    let [name] = &args.containers[..] else {
        return Err(as_docker(Error::failed(text("container.start.several"))));
    };
    let store = ContainerStore::open().map_err(as_docker)?;
    let container = find(&store, name)?;
    if container.state.status == ContainerStatus::Paused {
        return Err(as_docker(Error::failed(text("container.start.paused"))));
    }
    let options = AttachOptions {
        stdin: args.interactive && container.record.open_stdin,
        forwards: true,
        detach_keys: attach::keys(args.detach_keys.as_deref())?,
    };
    let is_started = !container.state.status.is_active();
    Ok(show(&store, &container, is_started, &options, explain)?.unwrap_or_default())
}

/// Starts the containers that have ended and that their policy starts.
fn start_all(color: Color, explain: Explainer) -> Result<u8> {
    let store = ContainerStore::open().map_err(as_docker)?;
    let is_due = |container: &KeptContainer| {
        let KeptContainer { record, state, .. } = container;
        state.status == ContainerStatus::Exited
            && record.restart.starts_with_all(state.exit_code, state.restart_count, state.stopped)
    };
    let (all, _) = store.all().map_err(as_docker)?;
    let due = all.iter().filter(|container| is_due(container));
    let ids: Vec<std::ffi::OsString> = due.map(|container| container.record.id.as_str().into()).collect();
    each(color, &ids, |_, container| {
        life::start(&container, explain)?;
        Ok(Some(container.shown_name().to_owned()))
    })
}

/// Shows a running container.
pub(crate) fn attach(color: Color, args: &AttachArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let container = find(&store, &args.container).map_err(as_docker)?;
    container.is_here().map_err(as_docker)?;
    if container.state.status == ContainerStatus::Restarting {
        return Err(as_docker(Error::failed(text("container.attach.restarting"))));
    }
    if !container.state.status.is_active() {
        return Err(as_docker(Error::failed(text("container.attach.stopped"))));
    }
    if container.state.status == ContainerStatus::Paused {
        return Err(as_docker(Error::failed(text("container.attach.paused"))));
    }
    if container.record.config.process.terminal && !args.no_stdin && !std::io::stdin().is_terminal() {
        return Err(as_docker(Error::failed(text("container.attach.notty"))));
    }
    let options = AttachOptions {
        stdin: !args.no_stdin && container.record.open_stdin,
        forwards: args.sig_proxy,
        detach_keys: attach::keys(args.detach_keys.as_deref())?,
    };
    let shown = show(&store, &container, false, &options, args.explain.explainer())?;
    Ok(shown.unwrap_or(ExitKind::Refused.status()))
}

/// Shows a container until it ends. Returns its exit status. None: the user has typed the keys that detach.
pub(crate) fn show(
    store: &ContainerStore,
    container: &KeptContainer,
    is_started: bool,
    options: &AttachOptions,
    explain: Explainer,
) -> Result<Option<u8>> {
    container.is_here()?;
    if is_started && container.record.config.process.terminal && options.stdin {
        super::create::has_terminal()?;
    }
    let id = &container.record.id;
    let mut client = match is_started {
        true => SupervisorClient::summon(id, explain)?,
        // Without a supervisor, it has just ended.
        false => match SupervisorClient::connect(id, explain)? {
            Some(client) => client,
            None => return ended(store, container).map(Some),
        },
    };
    explain.step("send(<socket>, {\"attach\": …})", "container.explain.attach");
    if is_started {
        explain_start(container, explain);
    }
    let status = match attach::attach(&mut client, id, is_started, is_started, options)? {
        Left::Exited(status) => status,
        Left::Detached => {
            render::err(&format!("\n{}\n", text("container.detached")));
            return Ok(None);
        }
        Left::Interrupted(number) => ExitKind::Interrupted(number).status().into(),
        // It can print nothing any more. The container runs on.
        Left::Cut(dropped) => {
            let values = [("bytes", &*dropped.to_string())];
            return Err(as_docker(Error::failed(text_with("container.attach.cut", &values))));
        }
        // Its supervisor has just ended, or was killed.
        Left::Lost => return ended(store, container).map(Some),
    };
    Ok(Some(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// The exit status of a container that has just ended.
fn ended(store: &ContainerStore, container: &KeptContainer) -> Result<u8> {
    match store.again(container)? {
        Some(container) if !container.state.status.is_active() => {
            Ok(u8::try_from(container.state.exit_code).unwrap_or(u8::MAX))
        }
        _ => {
            let values = [("id", container.record.id.short())];
            Err(Error::failed(text_with("container.attach.lost", &values)))
        }
    }
}
