//! What a process has from the one that starts it, where its config says nothing else. It is in the config of a container, so
//! that a further process has the same, also if its caller has other values.

use caps::{CapSet, Capability};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::Process;
use crate::host::caller;
use crate::observe::file;
use crate::observe::proc::{is_initial_map, limit_of, status_of};
use crate::plan::call::restrict::Resource;
use crate::security::rlimits::{Limit, Rlimits};

/// What the first process of a container has from its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Inherited {
    /// All resource limits.
    pub rlimits: Rlimits,
    /// The file mode creation mask. umask(2)
    pub umask: u32,
    /// Whether execve(2) gives no new privileges.
    pub no_new_privileges: bool,
    /// The signals that are ignored, by number.
    #[serde(default)]
    pub ignored_signals: Vec<i32>,
    /// The signals that are blocked, by number.
    #[serde(default)]
    pub blocked_signals: Vec<i32>,
    /// The nice value. None: it is not known.
    #[serde(default)]
    pub nice: Option<i32>,
}

impl Inherited {
    /// What the caller has. None: /proc does not show it.
    pub fn gather() -> Option<Inherited> {
        let limits = file::read_text("/proc/self/limits").ok()?;
        let status = file::read_text("/proc/self/status").ok()?;
        let limit = |resource: Resource| Some((resource, limit(&limits, resource)?));
        Some(Inherited {
            rlimits: Rlimits(Resource::ALL.into_iter().filter_map(limit).collect()),
            umask: u32::from_str_radix(status_of(&status, "Umask")?.trim(), 8).ok()?,
            no_new_privileges: status_of(&status, "NoNewPrivs")?.trim() == "1",
            ignored_signals: caller::ignored_signals(),
            blocked_signals: caller::blocked_signals(),
            nice: caller::nice_value(),
        })
    }

    /// The nice value that a further process sets, which `caller` starts. None: it has that value already, or the caller may not
    /// set it. setpriority(2)
    pub(super) fn nice_for(&self, caller: Option<&Inherited>) -> Option<i32> {
        let (own, now) = (self.nice?, caller?.nice?);
        let may_lower = || has(Capability::CAP_SYS_NICE);
        (own > now || own < now && may_lower()).then_some(own)
    }
}

fn limit(limits: &str, resource: Resource) -> Option<Limit> {
    let number = |word: &&str| match *word {
        "unlimited" => Some(libc::RLIM_INFINITY),
        number => number.parse().ok(),
    };
    let shown = limit_of(limits, resource.line())?;
    Some(Limit { soft: shown.first().and_then(number)?, hard: shown.get(1).and_then(number)? })
}

/// Whether the caller may raise its hard limits: it has CAP_SYS_RESOURCE in the initial user namespace.
pub(super) fn may_raise() -> bool {
    has(Capability::CAP_SYS_RESOURCE)
}

/// Whether the caller has this capability in the initial user namespace.
fn has(capability: Capability) -> bool {
    let has = caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    has && is_initial_map(&file::read_text("/proc/self/uid_map").unwrap_or_default())
}

/// The limits that a further process of a container sets: those of its config, and those in which `caller`, who starts it,
/// differs from the one who has started the container. A caller that may not raise its hard limits keeps them where they are
/// lower.
pub(super) fn limits(own: &Process, caller: &Inherited, may_raise: bool) -> Rlimits {
    let mut all = own.rlimits.clone();
    for (resource, first) in own.inherited.iter().flat_map(|inherited| &inherited.rlimits.0) {
        let Some(now) = caller.rlimits.0.get(resource) else { continue };
        let hard = if may_raise { first.hard } else { first.hard.min(now.hard) };
        let limit = Limit { soft: first.soft.min(hard), hard };
        if limit != *now {
            all.0.entry(*resource).or_insert(limit);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_process_has_the_limits_of_the_first_caller() {
        let caller = Inherited::gather().unwrap();
        assert_eq!(caller.rlimits.0.len(), Resource::ALL.len());
        let with = |soft, hard| {
            let mut changed = caller.clone();
            changed.rlimits.0.insert(Resource::Nofile, Limit { soft, hard });
            changed
        };
        let own = Process { inherited: Some(with(100, 2000)), ..Process::default() };
        let limit = |caller, may_raise| {
            let Rlimits(all) = limits(&own, &caller, may_raise);
            assert!(all.len() <= 1, "{all:?}");
            all.get(&Resource::Nofile).map(|limit| (limit.soft, limit.hard))
        };
        assert_eq!(limit(with(100, 2000), true), None);
        assert_eq!(limit(with(1024, 4096), false), Some((100, 2000)));
        assert_eq!(limit(with(50, 50), false), None);
        assert_eq!(limit(with(50, 60), false), Some((60, 60)));
        assert_eq!(limit(with(50, 60), true), Some((100, 2000)));
        // What the config says counts.
        let mut own = own.clone();
        own.rlimits.0.insert(Resource::Nofile, Limit { soft: 7, hard: 7 });
        assert_eq!(limits(&own, &with(50, 60), true).0[&Resource::Nofile].soft, 7);
    }
}
