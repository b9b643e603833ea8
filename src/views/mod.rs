//! What a process sees of a feature: the table that says which reader belongs to which feature, and the view that puts
//! two sides together.

mod view;

use serde::{Deserialize, Serialize};

pub use self::view::{OnePath, OneProcess, View, Who, returned, shell};
use crate::feature::{Feature, Purpose, features};
use crate::observe::{Observation, Value, identity, proc};

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
    pub fn read_limits(&mut self, purpose: Purpose, process: i32) {
        let is_unseen =
            |seen: &Observation| seen.path.starts_with('<') && matches!(seen.value, Value::Not(_));
        if !self.observations.iter().any(is_unseen) {
            return;
        }
        let from_here = observe(purpose, &format!("/proc/{process}"));
        for (seen, here) in self.observations.iter_mut().zip(from_here).filter(|(seen, _)| is_unseen(seen)) {
            *seen = here;
        }
    }
}

/// Looks at a feature from where the caller is.
pub fn look(purpose: impl Into<Purpose>) -> Sight {
    let purpose = purpose.into();
    Sight {
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

/// The feature's files, read here. Those that tell of one process are read below `process`: `/proc/self`, or the directory of
/// another one. The others answer for the reader, whoever is meant.
pub fn observe(purpose: impl Into<Purpose>, process: &str) -> Vec<Observation> {
    match purpose.into() {
        Purpose::Feature(feature) => reader_of(feature)(process),
        Purpose::Container => Feature::ALL.iter().flat_map(|feature| reader_of(*feature)(process)).collect(),
    }
}

/// The feature of each observation of [`observe`], in its order.
fn features_of(purpose: Purpose) -> Vec<Feature> {
    let each = |feature: &Feature| vec![*feature; reader_of(*feature)("/proc/self").len()];
    match purpose {
        Purpose::Feature(feature) => each(&feature),
        Purpose::Container => Feature::ALL.iter().flat_map(each).collect(),
    }
}

macro_rules! readers {
    ($($kind:ident { $($about:literal, $feature:ident, $name:ident, $directory:ident, $page:literal, $also:tt;)* })*) => {
        /// The reader of a feature: `observe` of its page.
        fn reader_of(feature: Feature) -> fn(&str) -> Vec<Observation> {
            match feature {
                $($(Feature::$feature => crate::$directory::$name::observe,)*)*
            }
        }
    };
}
features!(readers);
