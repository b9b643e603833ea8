//! The processes of a running container.

use std::collections::{BTreeMap, BTreeSet};

use super::store::KeptContainer;
use crate::feature::Feature;
use crate::observe::proc::namespace_link;
use crate::observe::processes::{ProcessEntry, processes};

/// The PIDs of a container: the descendants of its supervisor, and what is in its new PID namespace, as the commands of
/// `exec`.
pub fn pids(container: &KeptContainer, command: i32) -> BTreeSet<i32> {
    let all = processes();
    let has_namespace = container.record.config.environment.namespaces.pid.is_new();
    let namespace_of = |pid: i32| namespace_link(&format!("/proc/{pid}"), Feature::Pid).ok();
    let own = namespace_of(command).filter(|_| has_namespace);
    let mut found = BTreeSet::from([command]);
    found.extend(all.keys().filter(|pid| own.is_some() && namespace_of(**pid) == own));
    let supervisor = container.state.supervisor.map(|supervisor| supervisor.pid);
    let is_relay = |pid: i32| supervisor.is_some_and(|supervisor| is_relay(&all, supervisor, pid));
    loop {
        let is_child = |pid: &&i32| {
            let parent = all[*pid].parent;
            !found.contains(*pid)
                && (found.contains(&parent) || Some(parent) == supervisor && !is_relay(**pid))
        };
        let more: Vec<i32> = all.keys().filter(is_child).copied().collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The processes of `sandbox` that the supervisor has started beside process 1 of the container: they forward its ports.
pub fn relays(all: &BTreeMap<i32, ProcessEntry>, supervisor: i32, command: Option<i32>) -> Vec<i32> {
    let is_one = |pid: &&i32| Some(**pid) != command && is_relay(all, supervisor, **pid);
    all.keys().filter(is_one).copied().collect()
}

fn is_relay(all: &BTreeMap<i32, ProcessEntry>, supervisor: i32, pid: i32) -> bool {
    all[&pid].parent == supervisor && all[&pid].name.starts_with("sandbox")
}
