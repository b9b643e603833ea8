//! The errors of a command that the state of a container does not allow. Their first sentence is Docker's, and what to do
//! follows.

use super::id::Id;
use super::record::ContainerStatus;
use super::store::KeptContainer;
use crate::error::{Error, ExitKind};
use crate::text::{printed, text_with};
use crate::value::shell::quote;

/// There is no container with this name or ID.
pub fn none(name: &str) -> Error {
    refused("container.none", &[("name", &printed(name))]).paste("sandbox ps -a")
}

/// The container does not run.
pub fn not_running(container: &KeptContainer) -> Error {
    let name = quote(container.shown_name());
    refused("container.notrunning", &[("id", container.record.id.as_str())])
        .paste(format!("sandbox start {name}"))
}

/// The container has ended, and will be started again.
pub fn restarting(container: &KeptContainer) -> Error {
    refused("container.restarting", &[("id", container.record.id.as_str())])
}

/// The container does not run, and so it cannot be killed.
pub fn cannot_kill(container: &KeptContainer) -> Error {
    let (name, id) = (container.shown_name(), container.record.id.as_str());
    refused("container.kill.ended", &[("name", name), ("id", id)])
        .paste(format!("sandbox start {}", quote(name)))
}

/// The container runs or restarts, and so it cannot be removed.
pub fn running(name: &str, state: ContainerStatus) -> Error {
    let quoted = quote(name);
    refused("container.rm.running", &[("name", name), ("state", state.word())])
        .paste(format!("sandbox stop {quoted}; sandbox rm {quoted}"))
}

/// The container is paused, and so it cannot be removed.
pub fn paused(container: &KeptContainer) -> Error {
    let name = quote(container.shown_name());
    let error = refused("container.rm.paused", &[("name", container.shown_name())]);
    error.paste(format!("sandbox unpause {name}; sandbox stop {name}; sandbox rm {name}"))
}

/// Another container has the name.
pub fn taken(name: &str, owner: &Id) -> Error {
    refused("container.name.taken", &[("name", name), ("id", owner.as_str())])
        .paste(format!("sandbox rm -f {}", quote(name)))
}

/// No container can have this name.
pub fn misnamed(name: &str) -> Error {
    refused("container.name.form", &[("name", &printed(name))])
}

fn refused(key: &str, values: &[(&str, &str)]) -> Error {
    Error::new(ExitKind::Refused, text_with(key, values))
}
