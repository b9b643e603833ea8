//! The commands of kept containers. They have Docker's names, flags, output and exit statuses.

pub(super) mod create;
pub(super) mod inspect;
pub(super) mod life;
pub(super) mod logs;
pub(super) mod ps;
pub(super) mod start;
pub(super) mod top;

use std::ffi::OsString;

use clap::Args;

use crate::container::explain::Explainer;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::supervisor;
use crate::error::{Error, ExitKind, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};

/// The flag that all of these commands have.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ExplainArg {
    /// Print each step: the file that is written, the process that is started, the signal that is sent, and why
    #[arg(long)]
    explain: bool,
}

impl ExplainArg {
    fn explainer(&self) -> Explainer {
        explainer(self.explain)
    }
}

/// Prints each step, if it is asked for.
pub(super) fn explainer(is_on: bool) -> Explainer {
    let listener: fn(&str, &str) = |call, why| render::err(&render::explain::told(call, &text(why)));
    Explainer::new(is_on.then_some(listener))
}

/// Tells how a container was found and read.
fn tell_reading(explain: Explainer, container: &KeptContainer) {
    if !container.name.is_empty() {
        explain.step(format!("readlinkat(<names>, \"{}\")", container.name), "container.explain.readname");
    }
    let file = |name: &str| printed(container.directory.path().join(name));
    explain.step(
        format!("read(<{}>); read(<{}>)", file("config.json"), file("state.json")),
        "container.explain.read",
    );
    if let Some(process) = container.state.supervisor.filter(|_| container.state.status.is_active()) {
        explain.step(format!("read(</proc/{}/stat>)", process.pid), "container.explain.alive");
    }
}

/// Containers that a command line names.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Names {
    /// The containers: names, IDs, or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<OsString>,
}

/// The arguments of `__supervise`, which a command starts for a container.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct SuperviseArgs {
    /// The ID of the container
    id: String,
}

/// Becomes the supervisor of a container.
pub(super) fn supervise(args: &SuperviseArgs) -> Result<u8> {
    super::output::protect_program();
    let report = supervisor::leave_caller()?;
    supervisor::supervise(&args.id, report);
    Ok(0)
}

/// The container that is named.
fn find(store: &ContainerStore, name: &OsString) -> Result<KeptContainer> {
    match name.to_str() {
        Some(name) => store.find(name),
        None => Err(Error::new(ExitKind::Refused, text_with("container.none", &[("name", &printed(name))]))),
    }
}

/// The same error, with the exit status 1 of Docker's commands.
fn as_docker(error: Error) -> Error {
    match error.kind {
        ExitKind::Usage | ExitKind::Interrupted(_) => error,
        _ => Error { kind: ExitKind::Refused, ..error },
    }
}

/// Does something with each container that is named. Each error is printed, and the others are done all the same. What
/// `act` returns is printed, one on each line.
fn each(
    color: Color,
    names: &[OsString],
    mut act: impl FnMut(&ContainerStore, KeptContainer) -> Result<Option<String>>,
) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let mut has_failed = false;
    for name in names {
        match find(&store, name).and_then(|container| act(&store, container)) {
            Ok(line) => line.into_iter().for_each(|line| render::out(&(line + "\n"))),
            Err(error) => {
                has_failed = true;
                render::err(&render::error::text(&error));
            }
        }
    }
    Ok(u8::from(has_failed))
}
