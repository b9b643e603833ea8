//! What a process sees of a feature. This file finds the reader of each feature and runs it. [`View`] compares what a
//! process outside reads with what a process inside reads.

mod caller;
mod view;

use serde::{Deserialize, Serialize};

pub use self::caller::{Caller, is_shell};
pub use self::view::{OnePath, OneProcess, Participant, View, returned};
use crate::feature::{Feature, Purpose, features};
use crate::observe::{Observation, Value, identity, proc};

/// What one process sees of a feature, read by that process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// The PID of the reader, in its own PID namespace.
    pub pid: i32,
    /// Its user ID, in the user namespace of that process.
    pub uid: u32,
    /// The links in /proc/self/ns.
    pub links: Vec<(Feature, Value)>,
    /// Its PIDs, user IDs and group IDs, from /proc/self/status.
    pub status: Vec<Observation>,
    /// The feature's files.
    pub observations: Vec<Observation>,
}

impl Readings {
    /// Reads the cgroup files that the process could not read itself. In a container with its own root, the cgroup
    /// hierarchies are not mounted. The caller then reads the files of the cgroups that /proc/PID/cgroup lists.
    pub fn read_limits(&mut self, purpose: Purpose, pid: i32) {
        let is_unreadable =
            |seen: &Observation| seen.path.starts_with('<') && matches!(seen.value, Value::Not(_));
        if !self.observations.iter().any(is_unreadable) {
            return;
        }
        let outside = observe(purpose, &format!("/proc/{pid}"));
        for (seen, outside) in self.observations.iter_mut().zip(outside) {
            if is_unreadable(seen) {
                *seen = outside;
            }
        }
    }
}

/// Reads everything about a feature, in the namespaces of the caller.
pub fn look(purpose: impl Into<Purpose>) -> Readings {
    let purpose = purpose.into();
    Readings {
        pid: nix::unistd::getpid().as_raw(),
        uid: nix::unistd::getuid().as_raw(),
        links: Feature::NAMESPACES
            .iter()
            .copied()
            .map(|kind| (kind, proc::namespace("/proc/self", kind)))
            .collect(),
        status: identity("/proc/self"),
        observations: observe(purpose, "/proc/self"),
    }
}

/// Reads the feature's files. `process` is a directory of /proc: `/proc/self`, or that of another process. Files in it
/// describe that process. All other files (/proc/sys, /proc/net) always describe the caller.
pub fn observe(purpose: impl Into<Purpose>, process: &str) -> Vec<Observation> {
    match purpose.into() {
        Purpose::Feature(feature) => reader_of(feature)(process),
        Purpose::Container => Feature::ALL.iter().flat_map(|feature| reader_of(*feature)(process)).collect(),
    }
}

/// The feature of each observation that [`observe`] returns, in the same order.
fn features_of(purpose: Purpose) -> Vec<Feature> {
    let each = |feature: &Feature| vec![*feature; reader_of(*feature)("/proc/self").len()];
    match purpose {
        Purpose::Feature(feature) => each(&feature),
        Purpose::Container => Feature::ALL.iter().flat_map(each).collect(),
    }
}

macro_rules! readers {
    (
        $($kind:ident {
            $($about:literal, $feature:ident, $name:ident, $directory:ident, $page:literal, $also:tt;)*
        })*
    ) => {
        /// The reader of a feature: the function `observe` in the file of the feature.
        fn reader_of(feature: Feature) -> fn(&str) -> Vec<Observation> {
            match feature {
                $($(Feature::$feature => crate::$directory::$name::observe,)*)*
            }
        }
    };
}
features!(readers);
