//! Changes the limits of a container: in its config, and at once in its cgroups if it runs.
//!
//! The plan of the changed container has the files and values, as for a start. So a limit is written, checked and explained in
//! one way only.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::events::EventAction;
use super::explain::Explainer;
use super::life::no_cgroup;
use super::record::ContainerRecord;
use super::restart::RestartPolicy;
use super::store::{ContainerStore, KeptContainer};
use super::supervisor;
use super::usage::own_cgroup;
use crate::config::container::Resources;
use crate::error::{Error, ExitKind, Result};
use crate::host::own_run::CONFIG;
use crate::host::run_directory;
use crate::observe::file;
use crate::observe::hierarchy::Controller;
use crate::plan::Call;
use crate::plan::call::cgroup::CgroupCall;
use crate::text::text;
use crate::value::units::Size;

/// The other values of a container. None: it stays as it is.
#[derive(Debug, Default)]
pub struct LimitChange {
    /// The limits.
    pub resources: Resources,
    /// Memory and swap together, as Docker counts.
    pub memory_and_swap: Option<Size>,
    /// When it is started again.
    pub restart: Option<RestartPolicy>,
}

impl LimitChange {
    /// The controllers whose limits change.
    fn controllers(&self) -> Vec<Controller> {
        let mut all = self.resources.controllers();
        all.extend(self.memory_and_swap.map(|_| Controller::Memory));
        all
    }

    /// The config of a container with these values.
    fn apply(&self, mut record: ContainerRecord) -> Result<ContainerRecord> {
        fn put<T>(value: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *value = new;
            }
        }
        let Resources { memory, cpu, pids, .. } = &mut record.config.environment.resources;
        if let Some(new) = self.resources.memory.clone() {
            let memory = memory.get_or_insert_default();
            put(&mut memory.limit, new.limit);
            put(&mut memory.reservation, new.reservation);
        }
        if let Some(sum) = self.memory_and_swap {
            let memory = memory.get_or_insert_default();
            let swap = memory.limit.and_then(|limit| sum.0.checked_sub(limit.0));
            let swap = swap.ok_or_else(|| refused(text("container.update.swap")))?;
            memory.swap = Some(Size(swap));
        }
        if let Some(new) = self.resources.cpu.clone() {
            let cpu = cpu.get_or_insert_default();
            if new.shares.is_some() {
                (cpu.shares, cpu.weight) = (new.shares, None);
            }
            put(&mut cpu.cpus, new.cpus);
            put(&mut cpu.cpuset, new.cpuset);
        }
        if let Some(new) = self.resources.pids.clone() {
            put(&mut pids.get_or_insert_default().max, new.max);
        }
        if let Some(restart) = self.restart {
            if record.auto_remove && restart != RestartPolicy::default() {
                return Err(refused(text("container.update.rm")));
            }
            record.restart = restart;
        }
        Ok(record)
    }
}

/// Changes a container.
///
/// # Errors
/// This machine cannot enforce the limits, or the kernel refuses them. Then nothing is changed.
pub fn update(
    store: &ContainerStore,
    container: &KeptContainer,
    change: &LimitChange,
    explain: Explainer,
) -> Result<()> {
    container.is_here()?;
    let changed = store.update(container, |record| {
        let changed = KeptContainer {
            name: container.name.clone(),
            record: change.apply(record)?,
            state: container.state.clone(),
            directory: container.directory.try_clone().map_err(|error| Error::failed(error.to_string()))?,
        };
        let settings = match change.controllers()[..] {
            [] => Vec::new(),
            ref controllers => settings(&changed, controllers)?,
        };
        if container.state.status.is_active() {
            write_all(settings, explain)?;
            note_in_run(&changed);
        }
        let config = file::path_text(&container.directory.path().join("config.json"));
        explain.step(format!("write(<{config}>)"), "container.explain.update");
        Ok(changed.record)
    })?;
    let changed = KeptContainer {
        name: container.name.clone(),
        record: changed,
        state: container.state.clone(),
        directory: container.directory.try_clone().map_err(|error| Error::failed(error.to_string()))?,
    };
    store.note_of(&changed, |event| event, EventAction::Update);
    Ok(())
}

/// A file of a cgroup, and the value for it.
type FileValue = (PathBuf, String);

/// The files of the container's cgroups and their new values. None of them, if it does not run.
fn settings(changed: &KeptContainer, controllers: &[Controller]) -> Result<Vec<FileValue>> {
    let processes = changed.state.command.zip(changed.state.supervisor);
    let processes = processes.filter(|_| changed.state.status.is_active());
    // Where it has none, that is the reason, and not what its next start needs.
    if let Some((command, supervisor)) = processes
        && controllers.iter().any(|one| own_cgroup(command.pid, supervisor.pid, *one).is_none())
    {
        return Err(no_cgroup(changed));
    }
    let plan = match supervisor::plan(changed) {
        Ok(plan) => plan,
        // That its command is missing, has nothing to do with its limits.
        Err(error) if matches!(error.kind, ExitKind::NotFound | ExitKind::NotExecutable) => {
            return Ok(Vec::new());
        }
        // What it advises is for `run`.
        Err(error) => {
            let todo = error.todo.into_iter().filter(|todo| !todo.contains("--dry-run")).collect();
            return Err(Error { todo, ..error });
        }
    };
    let Some((command, supervisor)) = processes else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for step in &plan.steps {
        let Call::Cgroup(CgroupCall::Set { controller, setting, .. }) = &step.call else { continue };
        // A limit of the caller is not one of the container.
        if !controllers.contains(controller) || step.why == "limits.carry.why" {
            continue;
        }
        let cgroup = own_cgroup(command.pid, supervisor.pid, *controller);
        let cgroup = cgroup.ok_or_else(|| no_cgroup(changed))?;
        found.push((setting.path_in(cgroup.directory()), setting.value.clone()));
    }
    Ok(found)
}

/// Writes values. The kernel can refuse one before another is written, such as a limit of memory above that of memory and swap
/// together. So those that it refuses are tried again after the others. If one is refused for good, all have their former values.
fn write_all(mut pending: Vec<FileValue>, explain: Explainer) -> Result<()> {
    let mut former: Vec<FileValue> = Vec::new();
    while !pending.is_empty() {
        let count = pending.len();
        let mut refused_ones: Vec<(FileValue, io::Error)> = Vec::new();
        for (path, value) in pending {
            let before = file::read_text(&path).unwrap_or_default();
            match fs::write(&path, &value) {
                Ok(()) => {
                    let file = file::path_text(&path);
                    explain.step(format!("write(<{file}>, {value:?})"), "container.explain.limit");
                    former.push((path, before.trim().to_owned()));
                }
                Err(error) => refused_ones.push(((path, value), error)),
            }
        }
        if refused_ones.len() == count {
            former.iter().rev().for_each(|(path, value)| drop(fs::write(path, value)));
            let Some(((path, value), error)) = refused_ones.into_iter().next() else { return Ok(()) };
            let call = format!("write(<{}>, {value:?})", file::path_text(&path));
            let reason = match error.raw_os_error() {
                Some(libc::EBUSY) => "container.update.busy",
                _ => "container.update.reason",
            };
            let error = Error::failed(text("container.update.cannot")).call(call, error).why(text(reason));
            return Err(Error { kind: ExitKind::Refused, ..error });
        }
        pending = refused_ones.into_iter().map(|(setting, _)| setting).collect();
    }
    Ok(())
}

/// Writes the config with which `verify` and `exec` compare the container.
fn note_in_run(changed: &KeptContainer) {
    let Ok(Some(run)) = run_directory::find() else { return };
    let mut config = changed.record.config.clone();
    config.name = Some(changed.name.clone());
    if let Ok(Some(directory)) = run.directory(changed.record.id.as_str().as_ref()) {
        // Without it, `verify` reports the limits as different.
        let _ = directory.replace(CONFIG, config.to_json().as_bytes(), false);
    }
}

fn refused(what: String) -> Error {
    Error::new(ExitKind::Refused, what)
}

/// That a command line changes nothing.
pub fn nothing() -> Error {
    refused(text("container.update.nothing"))
}
