//! Changes the limits of a container: in its config, and at once in its cgroups if it runs.
//!
//! The plan of the changed container has the files and values, as for a start. So a limit is written, checked and explained in
//! one way only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use super::events::EventAction;
use super::explain::Explainer;
use super::life::no_cgroup;
use super::record::{ContainerRecord, ContainerStatus, RecordedProcess, lifted};
use super::refusal;
use super::restart::RestartPolicy;
use super::store::{ContainerStore, KeptContainer};
use super::supervisor;
use super::usage::own_cgroup;
use crate::cgroups::cpu::Cpu;
use crate::cgroups::memory::Memory;
use crate::config::container::{Config, Resources};
use crate::error::{Error, ExitKind, Result};
use crate::host::containers::{MAX_CONFIG, read_bounded};
use crate::host::own_run::CONFIG;
use crate::host::run_directory;
use crate::observe::file;
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::Call;
use crate::plan::Setting;
use crate::plan::call::cgroup::CgroupCall;
use crate::text::text;
use crate::value::units::Size;

/// A limit that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewLimit<T> {
    /// `-1`: the container has none. Those of the cgroups above its own still hold.
    Unlimited,
    /// `0`: it stays as it is.
    Unchanged,
    /// This one.
    At(T),
}

impl<T: FromStr> FromStr for NewLimit<T> {
    type Err = T::Err;

    fn from_str(written: &str) -> std::result::Result<NewLimit<T>, T::Err> {
        match written {
            "-1" => Ok(NewLimit::Unlimited),
            zero if zero.parse() == Ok(0.0) => Ok(NewLimit::Unchanged),
            limit => limit.parse().map(NewLimit::At),
        }
    }
}

/// The other values of a container. None: it stays as it is.
#[derive(Debug, Default)]
pub struct LimitChange {
    /// The limits.
    pub resources: Resources,
    /// Whether the limit of memory is taken away, and that of swap with it.
    pub lifts_memory: bool,
    /// The negative number by which the quota of CPU time is taken away.
    pub lifted_quota: Option<i64>,
    /// Memory and swap together, as Docker counts.
    pub memory_and_swap: Option<NewLimit<Size>>,
    /// Processes and threads.
    pub pids: Option<NewLimit<u32>>,
    /// When it is started again.
    pub restart: Option<RestartPolicy>,
}

impl LimitChange {
    /// The controllers whose limits change.
    fn controllers(&self) -> Vec<Controller> {
        let mut all = self.resources.controllers();
        all.extend((self.lifts_memory || self.memory_and_swap.is_some()).then_some(Controller::Memory));
        all.extend(self.lifted_quota.map(|_| Controller::Cpu));
        all.extend(self.pids.map(|_| Controller::Pids));
        all
    }

    /// The limits that are taken away: the controller, the file of cgroup v1 and its value, and those of v2. `had_swap` is whether
    /// there was a limit of swap. A kernel that does not count swap has no file for it.
    fn lifted(&self, had_swap: bool) -> Vec<(Controller, Setting, Setting)> {
        let mut all = Vec::new();
        if self.lifts_memory {
            let (v1, v2) = ("memory.limit_in_bytes", "memory.max");
            all.push((Controller::Memory, Setting::new(v1, -1), Setting::new(v2, "max")));
        }
        if self.memory_and_swap == Some(NewLimit::Unlimited) || self.lifts_memory && had_swap {
            let (v1, v2) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
            all.push((Controller::Memory, Setting::new(v1, -1), Setting::new(v2, "max")));
        }
        if self.lifted_quota.is_some() {
            let (v1, v2) = ("cpu.cfs_quota_us", "cpu.max");
            all.push((Controller::Cpu, Setting::new(v1, -1), Setting::new(v2, "max")));
        }
        if self.pids == Some(NewLimit::Unlimited) {
            all.push((Controller::Pids, Setting::new("pids.max", "max"), Setting::new("pids.max", "max")));
        }
        all
    }

    /// The config of a container with these values.
    fn apply(&self, mut record: ContainerRecord) -> Result<ContainerRecord> {
        fn put<T>(value: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *value = new;
            }
        }
        let Resources { memory, cpu, pids, blkio, .. } = &mut record.config.environment.resources;
        if let Some(new) = self.resources.memory.clone() {
            let memory = memory.get_or_insert_default();
            put(&mut memory.limit, new.limit);
            put(&mut memory.reservation, new.reservation);
        }
        if self.lifts_memory {
            memory.iter_mut().for_each(|memory| (memory.limit, memory.swap) = (None, None));
            *memory = memory.take().filter(|memory| *memory != Memory::default());
        }
        match self.memory_and_swap {
            Some(NewLimit::At(sum)) => {
                let memory = memory.get_or_insert_default();
                let swap = memory.limit.and_then(|limit| sum.0.checked_sub(limit.0));
                let swap = swap.ok_or_else(|| refused(text("container.update.swap")))?;
                memory.swap = Some(Size(swap));
            }
            Some(NewLimit::Unlimited) => memory.iter_mut().for_each(|memory| memory.swap = None),
            Some(NewLimit::Unchanged) | None => {}
        }
        if let Some(new) = self.resources.cpu.clone() {
            let cpu = cpu.get_or_insert_default();
            if new.shares.is_some() {
                (cpu.shares, cpu.weight) = (new.shares, None);
            }
            let conflict = match (&new, &*cpu) {
                (Cpu { cpus: Some(_), .. }, Cpu { period: Some(_), .. }) => {
                    Some("container.update.cpus.period")
                }
                (Cpu { cpus: Some(_), .. }, Cpu { quota: Some(_), .. }) => {
                    Some("container.update.cpus.quota")
                }
                (Cpu { quota: Some(_), .. }, Cpu { cpus: Some(_), .. }) => {
                    Some("container.update.quota.cpus")
                }
                (Cpu { period: Some(_), .. }, Cpu { cpus: Some(_), .. }) => {
                    Some("container.update.period.cpus")
                }
                _ => None,
            };
            if let Some(conflict) = conflict {
                return Err(refused(text(conflict)));
            }
            put(&mut cpu.cpus, new.cpus);
            put(&mut cpu.quota, new.quota);
            put(&mut cpu.period, new.period);
            put(&mut cpu.cpuset, new.cpuset);
            put(&mut cpu.mems, new.mems);
        }
        if let (Some(_), Some(cpu)) = (self.lifted_quota, cpu) {
            (cpu.quota, cpu.cpus) = (None, None);
        }
        if let Some(new) = self.resources.blkio.clone() {
            put(&mut blkio.get_or_insert_default().weight, new.weight);
        }
        match self.pids {
            Some(NewLimit::At(max)) => pids.get_or_insert_default().max = Some(max),
            Some(NewLimit::Unlimited) => *pids = None,
            Some(NewLimit::Unchanged) | None => {}
        }
        self.note_lifted(&mut record.lifted);
        if let Some(restart) = self.restart {
            if record.auto_remove && restart != RestartPolicy::default() {
                return Err(refused(text("container.update.rm")));
            }
            record.restart = restart;
        }
        Ok(record)
    }
}

impl LimitChange {
    /// Notes the numbers that have taken a limit away. A new limit is in place of the number.
    fn note_lifted(&self, known: &mut BTreeMap<String, i64>) {
        let quota = self.resources.cpu.as_ref().and_then(|cpu| cpu.quota);
        let swap = self.memory_and_swap.map(|new| (new == NewLimit::Unlimited).then_some(-1));
        let pids = self.pids.map(|new| (new == NewLimit::Unlimited).then_some(0));
        for (name, changed) in [
            (lifted::CPU_QUOTA, quota.map(|_| None).or(self.lifted_quota.map(Some))),
            (lifted::MEMORY_SWAP, swap),
            (lifted::PIDS, pids),
        ] {
            match changed {
                Some(Some(number)) => drop(known.insert(name.to_owned(), number)),
                Some(None) => drop(known.remove(name)),
                None => {}
            }
        }
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
    let memory = container.record.config.environment.resources.memory.as_ref();
    let had_swap = memory.is_some_and(|memory| memory.swap.is_some());
    let mut former = Vec::new();
    let mut written_for = None;
    let updated = store.update(container, |record| {
        let present = present(store, container)?;
        let changed = KeptContainer { record: change.apply(record)?, ..present };
        let settings = match change.controllers()[..] {
            [] => Vec::new(),
            ref controllers => settings(&changed, change, controllers, had_swap)?,
        };
        former = match write_all(settings, explain) {
            // It has ended meanwhile, and its cgroups with it. Its next start sets the limits.
            Err(_) if living(&changed).is_none() => Vec::new(),
            written => written?,
        };
        written_for = changed.state.command;
        let config = file::path_text(&container.directory.path().join("config.json"));
        explain.step(format!("write(<{config}>)"), "container.explain.update");
        Ok(changed.record)
    });
    // Its config could not be written.
    updated.inspect_err(|_| restore(&former))?;
    // It may have been started meanwhile, with the former limits.
    let mut changed = present(store, container)?;
    if changed.state.command != written_for && !change.controllers().is_empty() {
        let written = settings(&changed, change, &change.controllers(), had_swap)
            .and_then(|settings| write_all(settings, explain));
        if living(&changed).is_some() {
            written?;
        }
        changed = present(store, container)?;
    }
    if living(&changed).is_some() {
        note_in_run(&changed);
    }
    store.note_of(&changed, |event| event, EventAction::Update);
    Ok(())
}

/// The container as it is now.
fn present(store: &ContainerStore, container: &KeptContainer) -> Result<KeptContainer> {
    store.again(container)?.ok_or_else(|| refusal::none(container.record.id.as_str()))
}

/// The command of a container and its supervisor. None: no command lives, so the container has no cgroup.
fn living(container: &KeptContainer) -> Option<(RecordedProcess, RecordedProcess)> {
    let is_running = matches!(container.state.status, ContainerStatus::Running | ContainerStatus::Paused);
    let command = container.state.command.filter(|command| is_running && command.lives());
    command.zip(container.state.supervisor)
}

/// A file of a cgroup, and the value for it.
type FileValue = (PathBuf, String);

/// The files of the container's cgroups and their new values. None of them, if it does not run.
fn settings(
    changed: &KeptContainer,
    change: &LimitChange,
    controllers: &[Controller],
    had_swap: bool,
) -> Result<Vec<FileValue>> {
    let processes = living(changed);
    // Where it has none, that is the reason, and not what its next start needs.
    if let Some((command, supervisor)) = processes
        && controllers.iter().any(|one| own_cgroup(command.pid, supervisor.pid, *one).is_none())
    {
        // A command that has just ended has none either. Then its next start sets the limits.
        return if living(changed).is_some() { Err(no_cgroup(changed)) } else { Ok(Vec::new()) };
    }
    let plan = match supervisor::plan_without_links(changed) {
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
    let cgroup =
        |controller| own_cgroup(command.pid, supervisor.pid, controller).ok_or_else(|| no_cgroup(changed));
    let (mut found, mut carried) = (Vec::new(), Vec::new());
    for step in &plan.steps {
        let Call::Cgroup(call) = &step.call else { continue };
        let (controller, setting, is_offer) = match call {
            CgroupCall::Set { controller, setting, .. } => (controller, setting, false),
            CgroupCall::Offer { controller, setting, .. } => (controller, setting, true),
            _ => continue,
        };
        // A limit of the caller is not one of the container.
        let place = if step.why == "limits.carry.why" { &mut carried } else { &mut found };
        if controllers.contains(controller) {
            let path = setting.path_in(cgroup(*controller)?.directory());
            if !is_offer || path.exists() {
                place.push((path, setting.value.clone()));
            }
        }
    }
    for (controller, v1, v2) in change.lifted(had_swap) {
        let cgroup = cgroup(controller)?;
        let setting = if cgroup.version() == Version::V1 { v1 } else { v2 };
        let path = setting.path_in(cgroup.directory());
        // The limit of the caller remains.
        let value = carried.iter().find(|(other, _)| *other == path).map(|(_, value)| value.clone());
        found.push((path, value.unwrap_or(setting.value)));
    }
    Ok(found)
}

/// Writes values. The kernel can refuse one before another is written, such as a limit of memory above that of memory and swap
/// together. So those that it refuses are tried again after the others. If one is refused for good, all have their former values.
/// Returns the former values.
fn write_all(mut pending: Vec<FileValue>, explain: Explainer) -> Result<Vec<FileValue>> {
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
            restore(&former);
            let Some(((path, value), error)) = refused_ones.into_iter().next() else { return Ok(Vec::new()) };
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
    Ok(former)
}

/// Writes former values, the last one first.
fn restore(former: &[FileValue]) {
    former.iter().rev().for_each(|(path, value)| drop(fs::write(path, value)));
}

/// Writes the config with which `verify` and `exec` compare the container.
fn note_in_run(changed: &KeptContainer) {
    let Ok(Some(run)) = run_directory::find() else { return };
    if let Ok(Some(directory)) = run.directory(changed.record.id.as_str().as_ref())
        // Without a run, the file would be in the way of the next one.
        && let Ok(Some(running)) = directory.file(CONFIG)
        && let Ok(content) = read_bounded(running, MAX_CONFIG)
        && let Ok(mut config) = serde_json::from_slice::<Config>(&content)
    {
        config.name = Some(changed.name.clone());
        config.environment.resources = changed.record.config.environment.resources.clone();
        // Without it, `verify` reports the limits as different.
        let _ = directory.replace_beside_others(CONFIG, config.to_json().as_bytes(), false);
    }
}

fn refused(what: String) -> Error {
    Error::new(ExitKind::Refused, what)
}

/// That a command line changes nothing.
pub fn nothing() -> Error {
    refused(text("container.update.nothing"))
}
