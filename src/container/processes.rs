//! The processes of a running container.

use std::collections::{BTreeMap, BTreeSet};

use super::network::network_mode;
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
    let is_outside = |pid: i32| is_relay(pid) || is_user_network(container, command, pid);
    loop {
        let is_child = |pid: &&i32| {
            let parent = all[*pid].parent;
            !found.contains(*pid)
                && (found.contains(&parent) || Some(parent) == supervisor && !is_outside(**pid))
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

/// The program that the supervisor has started to connect the container of an ordinary user, as slirp4netns(1).
pub fn user_network(
    all: &BTreeMap<i32, ProcessEntry>,
    container: &KeptContainer,
    supervisor: i32,
    command: i32,
) -> Option<i32> {
    let is_it = |pid: &i32| {
        all[pid].parent == supervisor
            && !is_relay(all, supervisor, *pid)
            && is_user_network(container, command, *pid)
    };
    all.keys().copied().find(is_it)
}

/// Whether a child of the supervisor is that program: all other children are in the container's network. Of an undumpable
/// process, the kernel shows no namespaces.
fn is_user_network(container: &KeptContainer, command: i32, pid: i32) -> bool {
    let net_of = |pid: i32| namespace_link(&format!("/proc/{pid}"), Feature::Net).ok();
    network_mode(container) == "user" && pid != command && net_of(pid) != net_of(command)
}
