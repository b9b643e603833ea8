//! The facts about this machine that a plan is made from.

use super::container::{Config, Environment, Resources};
use super::joins;
use crate::feature::Feature;
use crate::host::{
    self, Cgroups, Disk, Files, Groups, Host, Nameservers, StandardPipe, Subordinate, Sysfs, disk,
};
use crate::namespaces::net::Mode;
use crate::network::NetworkFacts;
use crate::network::user::UserNetwork;
use crate::observe::hierarchy::{Controller, Version};

/// The facts about this machine that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The machine and the caller.
    pub host: Host,
    /// The facts for a connection of the network.
    pub network: NetworkFacts,
}

impl Machine {
    /// Adds the facts that the plan of a container needs, to those that are in `host`. `changes_user` is whether the user
    /// of the command is another one than the caller, or may be.
    pub fn gather(config: &Config, host: Host, changes_user: bool) -> Machine {
        Machine::gather_with(config, host, changes_user, &[])
    }

    fn gather_with(config: &Config, mut host: Host, changes_user: bool, also: &[Controller]) -> Machine {
        let Environment { namespaces, root, resources, .. } = &config.environment;
        let net = namespaces.net.options().filter(|_| namespaces.net.is_new());
        if host.joins.is_empty() {
            let joins = namespaces.joins().into_iter();
            joins::gather(joins.map(|(kind, target, _)| (kind, target)), &mut host);
        }
        let maps = namespaces.user.options();
        if host.subordinate.is_none() && maps.is_some_and(|maps| maps.take_ranges(host.uid, host.gid)) {
            host.subordinate = Some(Subordinate::gather(host.uid, &mut host.unread));
        }
        if let Some(root) = root {
            let is_user = maps.is_some() || !host.privileged;
            host.files = Some(Files::gather(root.host, is_user, &mut host.unread));
        }
        if host.sysfs.is_none() && root.is_none() && namespaces.net.options().is_some_and(|net| net.mount_sys)
        {
            host.sysfs = Some(Sysfs::gather(&mut host.unread));
        }
        if changes_user {
            host.groups = Groups::gather();
            // In a joined user namespace, setgroups(2) can be denied.
            let joined = host.joined(Feature::User).and_then(|user| user.maps.as_ref());
            host.groups.are_fixed |= joined.is_some_and(|maps| maps.denies_setgroups);
            host.pipes = StandardPipe::gather();
        }
        if config.process.capabilities.is_some() {
            host.last_capability = host::last_capability();
        }
        gather_cgroups(resources, also, &mut host);
        let network = net.map(|net| NetworkFacts::gather(net.request(), host.stands_in)).unwrap_or_default();
        if root.is_some() || net.is_some_and(|net| matches!(net.mode, Mode::Bridge | Mode::User)) {
            let found = Nameservers::gather();
            let own = network.user.as_ref().and_then(UserNetwork::nameserver);
            host.nameservers = Some(own.map_or_else(|| found.clone(), |own| found.through(own)));
        }
        Machine { network, host }
    }

    /// The facts for a container whose config was read back.
    pub fn of(config: &Config) -> Machine {
        Machine::with_cgroups(config, &[])
    }

    /// As [`Machine::of`]. The container also gets a cgroup for each of these controllers, where the caller can make one.
    pub fn with_cgroups(config: &Config, also: &[Controller]) -> Machine {
        let changes_user = config.environment.namespaces.user.options().is_some()
            || config.process.capabilities.is_some()
            || config.process.user.is_some();
        Machine::gather_with(config, Host::gather(), changes_user, also)
    }
}

/// Gathers where the cgroups can be made. Each call chooses a new name for them. An obstacle for a controller in `also` is
/// none: there is no cgroup for it then.
fn gather_cgroups(resources: &Resources, also: &[Controller], host: &mut Host) {
    let required = resources.controllers();
    let mut all = required.clone();
    all.extend(also.iter().filter(|controller| !required.contains(controller)));
    if all.is_empty() {
        return;
    }
    let mut gather =
        |controllers: &[Controller]| Cgroups::gather(controllers, host.stands_in, &mut host.unread);
    let mut cgroups = gather(&all);
    if !also.is_empty() && !cgroups.obstacles.is_empty() {
        // An obstacle for one controller of a hierarchy is one for all of them.
        cgroups = gather(&required);
        let mut possible = required.clone();
        for controller in all.into_iter().skip(required.len()) {
            possible.push(controller);
            let with = gather(&possible);
            match with.obstacles == cgroups.obstacles {
                true => cgroups = with,
                false => drop(possible.pop()),
            }
        }
    }
    let mut list = |file: &str| {
        let list = host.unread.text(file).trim().to_owned();
        Some(list).filter(|list| !list.is_empty())
    };
    if let Some(cpu) = &resources.cpu {
        host.online_cpus = cpu.cpuset.as_ref().and_then(|_| list("/sys/devices/system/cpu/online"));
        host.memory_nodes = cpu.mems.as_ref().and_then(|_| list("/sys/devices/system/node/has_memory"));
    }
    if let Some(blkio) = &resources.blkio {
        host.disks =
            blkio.devices().into_iter().map(|device| (device.to_owned(), Disk::find(device))).collect();
        if blkio.weight.is_some() {
            host.weighers = disk::weighted(cgroups.version(Controller::Io) == Some(Version::V2));
        }
    }
    host.cgroups = Some(cgroups);
}
