//! What is corrected when containers are read: the states of dead supervisors, and what killed commands have left.

use std::ffi::OsString;
use std::time::Duration;

use super::super::events::{Event, EventAction};
use super::super::record::{ContainerRecord, ContainerState, ContainerStatus};
use super::super::volumes::VolumeStore;
use super::files::{read_json, remove_directory};
use super::{ContainerStore, MAX_STATE, STATE, UNFINISHED};
use crate::error::Result;
use crate::host::own_run::OwnRun;
use crate::host::private_directory::PrivateDirectory;
use crate::host::run_lock::RunLock;
use crate::text::text;

impl ContainerStore {
    /// The state as it is now. A container whose supervisor has died does not run: this is written, if it can be.
    pub(super) fn present(
        &self,
        directory: &PrivateDirectory,
        record: &ContainerRecord,
        name: &str,
        state: ContainerState,
    ) -> Result<ContainerState> {
        let id = &record.id;
        if state.place.is_on_another_machine(&self.here) {
            return Ok(ContainerState { status: ContainerStatus::Elsewhere, ..state });
        }
        // The processes of another PID namespace cannot be seen. The lock of the run tells.
        let is_dead = |state: &ContainerState| match state.lives(&self.here) {
            Some(lives) => !lives,
            None => state.place.has_same_run(&self.here),
        };
        if !state.status.is_active() || !is_dead(&state) {
            return Ok(state);
        }
        let why =
            if state.place.boot == self.here.boot { "container.lost.killed" } else { "container.lost.boot" };
        // The supervisor may have written the end after the state was read, and ended. What is read now is its last word.
        let claimed = OwnRun::claim(id.as_str(), Duration::ZERO).ok().flatten();
        let read = read_json::<ContainerState>(directory, id, STATE, MAX_STATE);
        let state = match read {
            Ok(state) if state.status.is_active() && is_dead(&state) => match claimed {
                Some(_) => Ok(self.note_loss(directory, record, name, state.lost(text(why)))),
                // Another process is about to start it, or has seen the same.
                None if state.lives(&self.here).is_none() || state.lives_by_its_lock(&self.here) => Ok(state),
                None => Ok(state.lost(text(why))),
            },
            read => read,
        };
        claimed.into_iter().for_each(OwnRun::remove);
        state
    }

    /// Writes that a container has ended without its supervisor. The caller has its lock.
    fn note_loss(
        &self,
        directory: &PrivateDirectory,
        record: &ContainerRecord,
        name: &str,
        state: ContainerState,
    ) -> ContainerState {
        // On a filesystem that is full or read-only, the next command finds the same.
        if self.write_state(directory, &state).is_ok() {
            self.note(&Event::now(EventAction::Die, record, name).with("exitCode", state.exit_code));
        }
        if record.auto_remove {
            let _ = self.remove(&record.id);
            VolumeStore::remove_anonymous(&record.volumes);
        }
        state
    }

    /// Removes what killed commands have left: directories that are not complete, and names of nothing.
    pub(super) fn clean(&self) {
        let Some(directories) = &self.directories else { return };
        let left = || -> Vec<OsString> {
            let (names, _) = directories.containers.names().unwrap_or_default();
            names
                .into_iter()
                .filter(|name| name.to_str().is_some_and(|name| name.starts_with(UNFINISHED)))
                .collect()
        };
        if left().is_empty() {
            return;
        }
        // While another command creates or removes a container, nothing is certain.
        let Ok(lock) = RunLock::exclusive(&self.lock_name(), Duration::ZERO, || false) else { return };
        let left = left();
        for name in directories.names.names().unwrap_or_default().0 {
            let Some(name) = name.to_str() else { continue };
            if matches!(self.id_of_name(directories, name), Ok(None)) {
                let _ = directories.names.remove_file(name);
            }
        }
        lock.release();
        for name in left {
            let id = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED)?.strip_prefix("rm-"));
            // The command that is removing it has the lock of the container.
            match id.map(|id| OwnRun::claim(id, Duration::ZERO)) {
                Some(Ok(None) | Err(_)) => {}
                claimed => {
                    let _ = remove_directory(&directories.containers, &name);
                    claimed.into_iter().flatten().flatten().for_each(OwnRun::remove);
                }
            }
        }
    }
}
