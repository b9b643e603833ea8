//! The two files of a kept container: `config.json`, what it is, and `state.json`, what it does now.
//!
//! `config.json` is written by `create`, and by `update`. `state.json` is written by the process that has the lock of the
//! container: its supervisor, or a command that ends the state of a dead one. Each has a version. A `sandbox` that does not
//! know it leaves the container alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::id::Id;
use super::links::ContainerLink;
use super::restart::RestartPolicy;
use crate::config::container::Config;
use crate::host::containers::own_pid_namespace;
use crate::host::run_directory;
use crate::observe::file;
use crate::observe::processes::{read_started, started};
use crate::plan::call::publish::PublishedPort;
use crate::value::timestamp::Timestamp;

/// The version of both files.
pub const VERSION: u32 = 1;

/// What a kept container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    /// The version of the format.
    pub version: u32,
    /// Its ID.
    pub id: Id,
    /// The HOME of the paths in this file. None: a version before this one has made it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::value::bytes::option")]
    pub home: Option<PathBuf>,
    /// When it was created.
    pub created: Timestamp,
    /// What its root filesystem was made from, for people: `host`, or a path.
    pub image: String,
    /// The ID of that image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// What its maker and its image say about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The ports that its maker and its image expose: `80/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// The limits that were taken away by a number, by Docker's names: Docker shows this number, and not that there is no limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lifted: BTreeMap<String, i64>,
    /// Its volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMount>,
    /// The mount points that `--mount` has asked for. Docker lists them apart from those of `-v` and `--tmpfs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "crate::value::bytes::list")]
    pub mount_flags: Vec<PathBuf>,
    /// The container. Its name is not here: it can change.
    pub config: Config,
    /// How many words of its command are the entrypoint. The others are what Docker calls the command.
    #[serde(default)]
    pub entrypoint: usize,
    /// The names of the variables that its image and its maker have set, in their order. All others are added to each container. None: a
    /// version before this one has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<String>>,
    /// The containers that it knows by a name of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<ContainerLink>,
    /// Its user, as the command line or its image named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether its standard input stays open for clients. Otherwise it reads /dev/null.
    pub open_stdin: bool,
    /// The signal that asks it to stop: its number.
    pub stop_signal: i32,
    /// Whether its maker or its image has chosen that signal.
    #[serde(default)]
    pub has_stop_signal: bool,
    /// How many seconds after that signal it gets SIGKILL.
    pub stop_timeout: u64,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Whether standard input stays open when the client that has sent it leaves: that of `run -d -i`.
    #[serde(default)]
    pub stdin_stays: bool,
    /// What a client of the daemon has sent: its `HostConfig` and `Config`, as it finds them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<serde_json::Value>,
    /// Whether it is started again when it ends.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Its log.
    pub log: LogOptions,
    /// The options of the log as its maker has written them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub log_written: BTreeMap<String, String>,
}

/// Docker's names of the limits that a number takes away.
pub mod lifted {
    /// CPU time, by a negative number.
    pub const CPU_QUOTA: &str = "CpuQuota";
    /// Swap, by -1.
    pub const MEMORY_SWAP: &str = "MemorySwap";
    /// Processes, by 0 or a negative number. Docker shows 0.
    pub const PIDS: &str = "PidsLimit";
}

/// How many seconds a container may take to stop: Docker's.
pub const STOP_TIMEOUT: u64 = 10;

/// A volume of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The name of the volume.
    pub name: String,
    /// The mount point in the container.
    #[serde(with = "crate::value::bytes")]
    pub target: PathBuf,
    /// Whether it is read-only.
    pub readonly: bool,
    /// Whether it was made for this container, without a name. `rm -v` removes it then.
    pub is_anonymous: bool,
}

/// The bounds of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogOptions {
    /// The maximum size of a file, in bytes. None: there is no limit.
    pub max_size: Option<u64>,
    /// How many files there are at most. Zero means one.
    pub max_files: u32,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// It was never started.
    Created,
    /// Its command runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It has ended, and will be started again.
    Restarting,
    /// Its command has ended.
    Exited,
    /// Another machine has written its state, and shares HOME with this one. This is never written.
    Elsewhere,
}

impl ContainerStatus {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            ContainerStatus::Created => "created",
            ContainerStatus::Running => "running",
            ContainerStatus::Paused => "paused",
            ContainerStatus::Restarting => "restarting",
            ContainerStatus::Exited => "exited",
            ContainerStatus::Elsewhere => "elsewhere",
        }
    }

    /// Whether it has a process, or will have one again.
    pub fn is_active(self) -> bool {
        matches!(self, ContainerStatus::Running | ContainerStatus::Paused | ContainerStatus::Restarting)
    }
}

/// A process, for ever: no later process has the same PID and the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedProcess {
    /// Its PID.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine started.
    pub started: u64,
}

impl RecordedProcess {
    /// The process that has this PID now.
    pub fn of(pid: i32) -> Option<RecordedProcess> {
        Some(RecordedProcess { pid, started: started(pid)? })
    }

    /// Whether it still exists. A process whose file cannot be read does: it must not be taken for one that has ended.
    pub fn lives(self) -> bool {
        read_started(self.pid).map_or(true, |started| started == Some(self.started))
    }
}

/// Where a PID is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessPlace {
    /// The machine: /etc/machine-id. It differs where two machines share HOME.
    pub machine: String,
    /// The boot of the machine: /proc/sys/kernel/random/boot_id.
    pub boot: String,
    /// The PID namespace.
    pub pid_namespace: Option<String>,
    /// RUN.
    pub run: String,
    /// The device of the filesystem with RUN. A container has the same path on another one.
    #[serde(default)]
    pub run_device: Option<u64>,
}

impl ProcessPlace {
    /// That of this process.
    pub fn here() -> ProcessPlace {
        let read = |path: &str| file::read_text(path).unwrap_or_default().trim().to_owned();
        ProcessPlace {
            machine: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            pid_namespace: own_pid_namespace(),
            run: file::path_text(&run_directory::path()),
            run_device: run_directory::path()
                .parent()
                .and_then(|parent| rustix::fs::stat(parent).ok())
                .map(|found| found.st_dev),
        }
    }
}

impl ProcessPlace {
    /// Whether it is on another machine than `here`. An ID that could not be read, when the state was written or now, is no
    /// sign of that: no two machines have the same boot ID.
    pub fn is_on_another_machine(&self, here: &ProcessPlace) -> bool {
        let is_unknown = self.machine.is_empty() || here.machine.is_empty() && self.boot == here.boot;
        self.machine != here.machine && !is_unknown
    }

    /// Whether its RUN is that of `here`. Then a lock there tells whether its owner lives.
    pub fn has_same_run(&self, here: &ProcessPlace) -> bool {
        self.run == here.run && self.run_device.is_some() && self.run_device == here.run_device
    }
}

/// What a kept container does now, and what it did last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// The version of the format.
    pub version: u32,
    /// What it does.
    pub status: ContainerStatus,
    /// Where the PIDs below are valid.
    pub place: ProcessPlace,
    /// The process of `sandbox` that makes it and waits for its end.
    pub supervisor: Option<RecordedProcess>,
    /// Its process 1.
    pub command: Option<RecordedProcess>,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub finished_at: Option<Timestamp>,
    /// The exit status of its command; 128+N for a signal.
    pub exit_code: i32,
    /// Whether the OOM killer has killed a process of it.
    pub oom_killed: bool,
    /// How often its restart policy has started it again since `start`.
    #[serde(default)]
    pub restart_count: u32,
    /// Whether a user has ended it.
    #[serde(default)]
    pub stopped: bool,
    /// Why it could not be started, or how its end was lost.
    pub error: String,
    /// How many bytes of output could not be written to its log, in all its runs.
    #[serde(default)]
    pub log_dropped: u64,
    /// The ports that are published while it runs.
    pub ports: Vec<PublishedPort>,
}

/// A file of a container, as it is read from a HOME that may have been moved since it was written.
pub(super) trait StoredFile: serde::de::DeserializeOwned {
    /// The same with the paths of this HOME.
    fn in_home(self, home: &Path) -> Self;
}

impl StoredFile for ContainerState {
    fn in_home(self, _home: &Path) -> ContainerState {
        self
    }
}

impl StoredFile for ContainerRecord {
    fn in_home(mut self, home: &Path) -> ContainerRecord {
        // HOME/containers/ID/upper
        let of_upper = || self.own_upper()?.ancestors().nth(3).map(Path::to_owned);
        let Some(former) = self.home.clone().or_else(of_upper).filter(|former| former != home) else {
            return self;
        };
        let moved = |path: &mut PathBuf| {
            if let Ok(rest) = path.strip_prefix(&former) {
                *path = home.join(rest);
            }
        };
        let environment = &mut self.config.environment;
        environment.mounts.iter_mut().for_each(|mount| moved(&mut mount.source));
        if let Some(root) = &mut environment.root {
            root.lowers.iter_mut().chain(&mut root.upper).for_each(moved);
        }
        self.home = Some(home.to_owned());
        self
    }
}

impl ContainerState {
    /// That of a new container.
    pub fn created() -> ContainerState {
        ContainerState {
            version: VERSION,
            status: ContainerStatus::Created,
            place: ProcessPlace::here(),
            supervisor: None,
            command: None,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            oom_killed: false,
            restart_count: 0,
            stopped: false,
            error: String::new(),
            log_dropped: 0,
            ports: Vec::new(),
        }
    }

    /// As JSON, in one line.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Whether a process of it exists, as seen from `here`. None: its processes cannot be seen from another PID namespace.
    pub fn lives(&self, here: &ProcessPlace) -> Option<bool> {
        // A boot ID that could not be read says nothing. The process is then known by its start alone.
        let is_known = !self.place.boot.is_empty() && !here.boot.is_empty();
        if self.place.is_on_another_machine(here) || is_known && self.place.boot != here.boot {
            return Some(false);
        }
        if self.place.pid_namespace != here.pid_namespace {
            return None;
        }
        Some(self.has_process())
    }

    /// Whether a process with its PIDs has the recorded start. Only in the same boot and PID namespace is that its own one.
    fn has_process(&self) -> bool {
        [self.supervisor, self.command].into_iter().flatten().any(RecordedProcess::lives)
    }

    /// Whether it runs although its boot ID is another one than that of `here`, as in a container or a virtual machine that shows
    /// its processes another boot ID than before. The caller knows that a process holds the lock of this container.
    pub fn lives_by_its_lock(&self, here: &ProcessPlace) -> bool {
        self.place.pid_namespace == here.pid_namespace && self.has_process()
    }

    /// The state of a container whose supervisor is dead: nobody has seen the end of its command.
    pub fn lost(self, error: String) -> ContainerState {
        ContainerState {
            status: ContainerStatus::Exited,
            supervisor: None,
            command: None,
            finished_at: Some(Timestamp::now()),
            exit_code: LOST,
            error,
            ports: Vec::new(),
            ..self
        }
    }
}

/// The exit status of a container whose end nobody has seen: that of Docker after a crash.
const LOST: i32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_boot_or_machine_is_not_taken_for_running() {
        let own = RecordedProcess::of(std::process::id().cast_signed());
        let state = ContainerState { supervisor: own, ..ContainerState::created() };
        let here = ProcessPlace::here();
        assert_eq!(state.lives(&here), Some(true));
        let other = |change: fn(&mut ProcessPlace)| {
            let mut place = here.clone();
            change(&mut place);
            state.lives(&place)
        };
        assert_eq!(other(|place| place.boot.push('x')), Some(false));
        assert_eq!(other(|place| place.machine.push('x')), Some(false));
        assert_eq!(other(|place| place.pid_namespace = None), None);
        let later = own.map(|own| RecordedProcess { started: own.started + 1, ..own });
        assert_eq!(ContainerState { supervisor: later, ..state }.lives(&here), Some(false));
    }

    #[test]
    fn a_state_is_read_back() {
        let state = ContainerState { finished_at: Some(Timestamp::now()), ..ContainerState::created() };
        assert_eq!(serde_json::from_slice::<ContainerState>(&state.to_json()).unwrap(), state);
        let lost = state.lost("x".into());
        assert_eq!((lost.status.word(), lost.exit_code), ("exited", 255));
    }
}
