//! `sandbox stop`, `restart`, `kill`, `pause`, `unpause`, `wait`, `rm`, `rename`, `port`, `container prune`.

use std::ffi::OsString;

use clap::Args;

use super::create::read_signal;
use super::{
    Names, as_docker, each, each_named, filter_of, find, read_time, shown, stop_demo, tell_reading, together,
};
use crate::cli::explain::ExplainArg;
use crate::cli::output::confirms;
use crate::container::events::{Event, EventAction};
use crate::container::filter;
use crate::container::id::Id;
use crate::container::life::{self, StopRequest};
use crate::container::listing::inside;
use crate::container::object_events::EventKind;
use crate::container::record::ContainerStatus;
use crate::container::refusal;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::volumes::VolumeStore;
use crate::error::{Error, Result};
use crate::plan::call::publish::PublishedPort;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::units::human;

/// The flags of `stop`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    flags: StopFlags,
    /// Show what a stop signal does to a process 1 without a handler, with a handler, and behind an init
    #[arg(long, conflicts_with_all = ["timeout", "signal", "explain", "containers"])]
    demo: bool,
    /// The containers: names, IDs, or beginnings of IDs
    #[arg(value_name = "CONTAINER", required_unless_present = "demo")]
    containers: Vec<OsString>,
}

/// The flags of `restart`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    flags: StopFlags,
    #[command(flatten)]
    names: Names,
}

/// How containers are stopped.
#[derive(Debug, Args)]
#[group(skip)]
struct StopFlags {
    /// How many seconds to wait before the container is killed; a negative number waits for ever
    #[arg(long, short, alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// The signal, instead of the container's own
    #[arg(long, short, value_name = "SIGNAL", value_parser = read_signal)]
    signal: Option<i32>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The flags of `kill`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct KillArgs {
    /// The signal, by name or number
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL", value_parser = read_signal)]
    signal: i32,
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    names: Names,
}

/// The flags of `wait`, `pause` and `unpause`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct NamedArgs {
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    names: Names,
}

/// The flags of `rm`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RmArgs {
    /// Remove also a container that runs: it is killed
    #[arg(long, short)]
    force: bool,
    /// Remove its volumes without a name too
    #[arg(long, short)]
    volumes: bool,
    /// A flag of docker rm that is refused by name
    #[arg(long, short, hide = true)]
    link: bool,
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    names: Names,
}

/// The flags of `rename`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct RenameArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: OsString,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    new: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The flags of `port`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PortArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: OsString,
    #[command(flatten)]
    explain: ExplainArg,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// The flags of `container prune`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PruneArgs {
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Remove only containers with this property: label=NAME[=VALUE], label!=NAME[=VALUE], or until=TIME, which are those that
    /// were created before (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Stops containers.
pub(crate) fn stop(color: Color, args: &StopArgs) -> Result<u8> {
    if args.demo {
        return stop_demo::run(color);
    }
    let StopFlags { timeout, signal, explain } = &args.flags;
    let request = StopRequest { signal: *signal, timeout: *timeout, keeps: false };
    each_named(color, &args.containers, explain, |store, container| {
        life::stop(store, container, request, explain.explainer())?;
        Ok(())
    })
}

/// Stops containers, and starts them again.
pub(crate) fn restart(color: Color, args: &RestartArgs) -> Result<u8> {
    let StopFlags { timeout, signal, explain: told } = &args.flags;
    let explain = told.explainer();
    let request = StopRequest { signal: *signal, timeout: *timeout, keeps: true };
    each_named(color, &args.names.containers, told, |store, container| {
        life::stop(store, container, request, explain)?;
        match store.again(container)? {
            Some(stopped) => {
                life::start(&stopped, explain)?;
                store.note_of(&stopped, |event| event, EventAction::Restart);
            }
            // It was to be removed at its end.
            None => return Err(gone(&container.record.id)),
        }
        Ok(())
    })
}

/// Sends a signal to containers.
pub(crate) fn kill(color: Color, args: &KillArgs) -> Result<u8> {
    each_named(color, &args.names.containers, &args.explain, |_, container| {
        life::kill(container, args.signal, args.explain.explainer())?;
        Ok(())
    })
}

/// Freezes the processes of containers, or thaws them.
pub(crate) fn pause(color: Color, pauses: bool, args: &NamedArgs) -> Result<u8> {
    each_named(color, &args.names.containers, &args.explain, |_, container| {
        life::pause(container, pauses, args.explain.explainer())?;
        Ok(())
    })
}

/// Waits for the ends of containers, and prints their exit statuses.
pub(crate) fn wait(color: Color, args: &NamedArgs) -> Result<u8> {
    each(color, &args.names.containers, |store, container| {
        life::wait(store, &container, args.explain.explainer()).map(|status| Some(status.to_string()))
    })
}

/// Removes containers.
pub(crate) fn rm(color: Color, args: &RmArgs) -> Result<u8> {
    decide(color, Stream::Err);
    if args.link {
        let refused = Error::usage(text_with("docker.refused", &[("flag", "--link")]));
        return Err(refused.why(text("docker.no.link")));
    }
    let explain = args.explain.explainer();
    let store = ContainerStore::open().map_err(as_docker)?;
    let mut has_failed = false;
    let remove = |name: &OsString| match find(&store, name) {
        Ok(container) => life::remove(&store, &container, args.force, explain).inspect(|()| {
            if args.volumes {
                VolumeStore::remove_anonymous(&container.record.volumes);
            }
        }),
        // Its files cannot be read.
        Err(error) => match name.to_str().map(|name| store.id_of(name)).transpose() {
            Ok(Some(Some(id))) if args.force => life::remove_unread(&store, &id, explain),
            _ => Err(error),
        },
    };
    together(&args.names.containers, &args.explain, remove, |name, removed| {
        // With --force, what does not exist is as if it were removed.
        has_failed |=
            !(shown(removed.map(|()| Some(printed(name)))) || args.force && is_unknown(&store, name));
    });
    Ok(u8::from(has_failed))
}

/// Whether no container has this name or ID.
fn is_unknown(store: &ContainerStore, name: &OsString) -> bool {
    name.to_str().is_none_or(|name| matches!(store.id_of(name), Ok(None)))
}

/// Gives a container another name.
pub(crate) fn rename(color: Color, args: &RenameArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    if args.new.is_empty() || args.container.is_empty() {
        return Err(as_docker(Error::failed(text("container.rename.empty"))));
    }
    let container = find(&store, &args.container).map_err(as_docker)?;
    let call = format!("renameat2(\"names/{}\", \"names/{}\", RENAME_NOREPLACE)", container.name, args.new);
    args.explain.explainer().step(call, "container.explain.rename");
    store.rename(&container, &args.new).map_err(as_docker)?;
    Ok(0)
}

/// Prints the published ports of a container.
pub(crate) fn port(color: Color, args: &PortArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let container = find(&store, &args.container).map_err(as_docker)?;
    let explain = args.explain.explainer();
    tell_reading(explain, &container);
    explain.step("\"ports\" of state.json", "container.explain.ports");
    let wanted = args.port.as_ref().map(|port| match port.contains('/') {
        true => port.clone(),
        false => format!("{port}/tcp"),
    });
    let mut ports: Vec<&PublishedPort> = container.state.ports.iter().collect();
    ports.sort_by_key(|port| (port.inside, port.protocol.word(), port.at));
    let lines: Vec<String> = match &wanted {
        Some(wanted) => {
            ports.iter().filter(|port| inside(port) == *wanted).map(|port| port.at.to_string()).collect()
        }
        None => ports.iter().map(|port| format!("{} -> {}", inside(port), port.at)).collect(),
    };
    if let (Some(wanted), true) = (&wanted, lines.is_empty()) {
        let values = [("port", &**wanted), ("name", container.shown_name())];
        return Err(as_docker(Error::failed(text_with("container.port.none", &values))));
    }
    render::out(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    Ok(0)
}

/// Removes all containers that do not run.
pub(crate) fn prune(color: Color, args: &PruneArgs) -> Result<u8> {
    let PruneArgs { force, filter: filters, explain } = args;
    decide(color, Stream::Err);
    let filters = filters.iter().map(|filter| filter_of(filter, &["label", "label!", "until"]));
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let until = |(name, value): &(&str, &str)| (*name == "until").then(|| read_time(value));
    let until = filters.iter().filter_map(until).collect::<std::result::Result<Vec<_>, _>>();
    let until = until.map_err(|why| as_docker(Error::failed(why)))?;
    if !force && !confirms("container.prune.ask") {
        return Ok(0);
    }
    let store = ContainerStore::open().map_err(as_docker)?;
    let (all, _) = store.all().map_err(as_docker)?;
    let is_unused = |container: &KeptContainer| {
        matches!(container.state.status, ContainerStatus::Created | ContainerStatus::Exited)
    };
    let (mut removed, mut freed, mut has_failed) = (Vec::new(), 0, false);
    let is_wanted = |container: &KeptContainer| {
        let has = |value: &str| filter::has(container, "label", value).unwrap_or(false);
        until.iter().all(|until| container.record.created < *until)
            && filters.iter().all(|(name, value)| match *name {
                "label" => has(value),
                "label!" => !has(value),
                _ => true,
            })
    };
    for container in all.into_iter().filter(is_unused).filter(is_wanted) {
        let size = container.written_size().ok().flatten().unwrap_or_default();
        match life::remove(&store, &container, false, explain.explainer()) {
            Ok(()) => {
                removed.push(format!("{}\n", container.record.id));
                freed += size;
            }
            Err(error) => match store.again(&container) {
                // Another command has removed or started it meanwhile.
                Ok(None) => {}
                Ok(Some(present)) if present.state.status.is_active() => {}
                _ => {
                    has_failed = true;
                    render::err(&render::error::text(&error));
                }
            },
        }
    }
    Event::note_prune(EventKind::Container, freed);
    if !removed.is_empty() {
        render::out(&format!("{}\n{}\n", text("container.prune.deleted"), removed.concat()));
    }
    render::out(&(text_with("container.prune.space", &[("size", &human(freed))]) + "\n"));
    Ok(u8::from(has_failed))
}

fn gone(id: &Id) -> Error {
    refusal::none(id.as_str())
}
