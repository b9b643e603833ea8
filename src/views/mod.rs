//! What a process sees of a feature: the table that says which reader belongs to which feature, and the view that puts
//! two sides together.

mod view;

use serde::{Deserialize, Serialize};

pub use self::view::{OnePath, OneProcess, View, Who, returned, shell};
use crate::feature::Feature;
use crate::observe::{Observation, Value, identity, proc};
use crate::{cgroups, namespaces, security};

/// What one process sees of a feature, read by that process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// The reader's number, as it sees it itself.
    pub pid: i32,
    /// Its user id, as it sees it itself.
    pub uid: u32,
    /// The links below /proc/self/ns.
    pub links: Vec<(Feature, Value)>,
    /// Its own line of numbers and ids.
    pub status: Vec<Observation>,
    /// The feature's files.
    pub observations: Vec<Observation>,
}

impl Sight {
    /// A container with a root of its own has no cgroups in sight. The files of its groups are read from here then, below
    /// its number.
    pub fn read_limits(&mut self, feature: Feature, process: i32) {
        let is_unseen =
            |seen: &Observation| seen.path.starts_with('<') && matches!(seen.value, Value::Not(_));
        if !self.observations.iter().any(is_unseen) {
            return;
        }
        let from_here = observe(feature, &format!("/proc/{process}"));
        for (seen, here) in self.observations.iter_mut().zip(from_here).filter(|(seen, _)| is_unseen(seen)) {
            *seen = here;
        }
    }
}

/// Looks at a feature from where the caller is.
pub fn look(feature: Feature) -> Sight {
    Sight {
        pid: nix::unistd::getpid().as_raw(),
        uid: nix::unistd::getuid().as_raw(),
        links: Feature::NAMESPACES
            .into_iter()
            .map(|kind| (kind, proc::namespace("/proc/self", kind)))
            .collect(),
        status: identity("/proc/self"),
        observations: observe(feature, "/proc/self"),
    }
}

/// The feature's files, read here. Those that tell of one process are read below `process`: `/proc/self`, or the folder of
/// another one. The others answer for the reader, whoever is meant.
pub fn observe(feature: Feature, process: &str) -> Vec<Observation> {
    match feature {
        Feature::Pid => namespaces::pid::observe(),
        Feature::Mnt => namespaces::mnt::observe(process),
        Feature::Net => namespaces::net::observe(process),
        Feature::Uts => namespaces::uts::observe(),
        Feature::Ipc => namespaces::ipc::observe(),
        Feature::User => namespaces::user::observe(process),
        Feature::Cgroup => namespaces::cgroup::observe(process),
        Feature::Time => namespaces::time::observe(process),
        Feature::Memory => cgroups::memory::observe(process),
        Feature::Cpu => cgroups::cpu::observe(process),
        Feature::Blkio => cgroups::blkio::observe(process),
        Feature::Devices => cgroups::devices::observe(process),
        Feature::Pids => cgroups::pids::observe(process),
        Feature::Run => {
            let all = Feature::ALL.into_iter().chain(Feature::HARDENING);
            all.flat_map(|feature| observe(feature, process)).collect()
        }
        Feature::Capabilities => security::capabilities::observe(process),
        Feature::Seccomp => security::seccomp::observe(process),
        Feature::Rlimits => security::rlimits::observe(process),
    }
}
