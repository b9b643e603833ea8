//! Who a process becomes in a user namespace that it joins.
//!
//! setns(2) changes no IDs. A process of root stays root outside, as an ID that the namespace need not map, and keeps its
//! supplementary groups. But who made the namespace controls every process in it. So a process that joins one always
//! becomes a user and a group that it maps, and leaves its groups. user_namespaces(7)

use nix::unistd::{getegid, geteuid};
use procfs::process::Status;

use crate::error::{Error, Result};
use crate::observe::file;
use crate::observe::proc::ranges_of;
use crate::text::{text, text_with};
use crate::value::typed::TypedCommand;

/// The maps of a user namespace that is joined, and the IDs of one of its processes. Each range has the first ID inside,
/// the first outside, and the count. "Outside" is the caller's user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMaps {
    /// User IDs.
    pub users: Vec<[u32; 3]>,
    /// Group IDs.
    pub groups: Vec<[u32; 3]>,
    /// Whether setgroups(2) is denied.
    pub denies_setgroups: bool,
    /// A process that is in it.
    pid: i32,
    /// The effective user and group of that process, outside.
    members: (u32, u32),
    /// All groups of that process, outside.
    member_groups: Vec<u32>,
}

/// What a process changes after it has joined namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityChange {
    /// The user and the group that it becomes, as IDs inside. None: the process inside has the caller's own.
    pub ids: Option<(u32, u32)>,
    /// Whether it drops its supplementary groups. Otherwise the process inside has all of them too.
    pub drops_groups: bool,
}

/// The IDs of a process that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CallerIdentity {
    ids: (u32, u32),
    groups: Vec<u32>,
}

impl CallerIdentity {
    fn gather() -> CallerIdentity {
        let groups = rustix::process::getgroups().unwrap_or_default();
        CallerIdentity {
            ids: (geteuid().as_raw(), getegid().as_raw()),
            groups: groups.iter().map(|group| group.as_raw()).collect(),
        }
    }
}

impl JoinedMaps {
    /// The maps of the user namespace of a process.
    ///
    /// # Errors
    /// One of the files cannot be read.
    pub fn of(pid: i32) -> Result<JoinedMaps> {
        let path = |name: &str| format!("/proc/{pid}/{name}");
        let unread = |name: &'static str| {
            move |error| {
                Error::failed(text("enter.unread")).call(format!("read(</proc/{pid}/{name}>)"), error)
            }
        };
        let content = |name| file::read_text(path(name)).map_err(unread(name));
        let status: Status = file::parse(path("status")).map_err(unread("status"))?;
        Ok(JoinedMaps {
            users: ranges_of(&content("uid_map")?),
            groups: ranges_of(&content("gid_map")?),
            denies_setgroups: content("setgroups")?.trim() == "deny",
            pid,
            members: (status.euid, status.egid),
            member_groups: status.groups,
        })
    }

    /// What the caller changes when it joins. `wanted` are a user and a group inside; without them, or where one of them is
    /// not mapped, it becomes root, or the first ID that is mapped.
    ///
    /// # Errors
    /// It would keep an ID that is not mapped, or a group that the process inside does not have.
    pub fn identity(&self, wanted: Option<(u32, u32)>) -> Result<IdentityChange> {
        self.identity_of(&CallerIdentity::gather(), wanted)
    }

    fn identity_of(&self, caller: &CallerIdentity, wanted: Option<(u32, u32)>) -> Result<IdentityChange> {
        let is_mapped = |&(user, group): &(u32, u32)| has(&self.users, user) && has(&self.groups, group);
        let ids = wanted.filter(is_mapped).or_else(|| Some((first(&self.users)?, first(&self.groups)?)));
        let pid = self.pid.to_string();
        let what = || Error::failed(text_with("join.identity.what", &[("pid", &pid)]));
        if ids.is_none() && self.members != caller.ids {
            let why = text_with("join.unmapped.reason", &[("uid", &caller.ids.0.to_string())]);
            return Err(what().why(why).todo(format!("cat /proc/{pid}/uid_map /proc/{pid}/gid_map")));
        }
        let drops_groups = ids.is_some() && !self.denies_setgroups;
        let is_new = |group: &&u32| !self.member_groups.contains(group) && **group != self.members.1;
        let kept: Vec<String> = caller.groups.iter().filter(is_new).map(u32::to_string).collect();
        if !drops_groups && !kept.is_empty() {
            let why = text_with("join.groups.reason", &[("groups", &kept.join(", "))]);
            let line = format!("setpriv --clear-groups -- {}", TypedCommand::of_this_process().line());
            let error = what().why(why);
            return Err(if caller.ids.0 == 0 { error.step(&text("join.groups.todo"), line) } else { error });
        }
        Ok(IdentityChange { ids, drops_groups })
    }
}

/// Whether the ranges map this ID inside.
fn has(ranges: &[[u32; 3]], id: u32) -> bool {
    ranges.iter().any(|[inside, _, count]| id.checked_sub(*inside).is_some_and(|offset| offset < *count))
}

/// The ID that a process has in a user namespace, if nothing else was asked for: root, or the first ID inside.
pub fn first(ranges: &[[u32; 3]]) -> Option<u32> {
    if has(ranges, 0) { Some(0) } else { ranges.first().map(|[inside, ..]| *inside) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user namespace of a container of root, with this map for users and groups.
    fn maps(map: &[[u32; 3]], denies_setgroups: bool) -> JoinedMaps {
        let (members, member_groups) = ((100_000, 100_000), vec![100_000, 7]);
        let (users, groups) = (map.to_vec(), map.to_vec());
        JoinedMaps { users, groups, denies_setgroups, pid: 1, members, member_groups }
    }

    #[test]
    fn a_process_always_becomes_a_user_who_is_mapped_and_leaves_its_groups() {
        let root = CallerIdentity { ids: (0, 0), groups: vec![0, 4] };
        let all = [[0, 100_000, 1000]];
        let identity = |maps: JoinedMaps, caller: &CallerIdentity, wanted| maps.identity_of(caller, wanted);
        let becomes = |ids, drops_groups| Ok(IdentityChange { ids, drops_groups });
        assert_eq!(identity(maps(&all, false), &root, None), becomes(Some((0, 0)), true));
        assert_eq!(identity(maps(&all, false), &root, Some((12, 34))), becomes(Some((12, 34)), true));
        assert_eq!(identity(maps(&all, false), &root, Some((12, 1000))), becomes(Some((0, 0)), true));
        // Without root inside, it is the first one.
        let others = [[5, 100_000, 2], [1, 200_000, 9]];
        assert_eq!(identity(maps(&others, false), &root, None), becomes(Some((5, 5)), true));
        // No ID is mapped.
        let error = identity(maps(&[], false), &root, None).unwrap_err();
        assert!(error.reasons().contains("maps no"), "{error:?}");
        let one = JoinedMaps { groups: Vec::new(), ..maps(&all, false) };
        assert!(identity(one, &root, None).is_err());
        let same = CallerIdentity { ids: (100_000, 100_000), groups: vec![7] };
        assert_eq!(identity(maps(&[], false), &same, None), becomes(None, false));
        // A group would stay that the process inside does not have.
        let error = identity(maps(&all, true), &root, None).unwrap_err();
        assert!(error.reasons().contains("groups (0, 4)"), "{error:?}");
        let without = CallerIdentity { ids: (0, 0), groups: vec![7, 100_000] };
        assert_eq!(identity(maps(&all, true), &without, None), becomes(Some((0, 0)), false));
    }
}
