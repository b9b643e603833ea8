//! The user of the command: `run_as`.
//!
//! # What it is
//!
//! A process has user IDs and group IDs. The kernel compares them with the owner of a file, and knows no user names.
//! `run_as` takes only numbers: a name would be looked up in /etc/passwd of the container, where any name can have the
//! ID 0.
//!
//! # Why one wants it
//!
//! A server needs no root, also not in a container.
//!
//! # The steps
//!
//! The groups are changed first, because CAP_SETGID is lost with the user ID. setresuid(2) sets all three user IDs, so
//! that the process cannot change back. A process that changes from root to another user loses its permitted, effective
//! and ambient capabilities by this call.
//!
//! # What you see
//!
//! `Uid:`, `Gid:` and an empty `Groups:` in `/proc/PID/status`. credentials(7), capabilities(7)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::feature::Feature;
use crate::host::{Host, Subordinate};
use crate::observe::Unread;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::user::{IdMaps, IdRange};
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::{text, text_with};
use crate::value::parse::parsed;

/// `UID:GID`. A single number is used for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// The user ID in the container.
    pub uid: u32,
    /// The group ID in the container.
    pub gid: u32,
}

impl RunAs {
    /// Whether the user is root in the container.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The steps. `groups` are the supplementary groups. `ids` are the mappings of a new user namespace, if there is one. Only
    /// the IDs in them exist inside. With `keeps_admin`, the process keeps its permitted capabilities: a later step reduces them.
    pub fn plan(
        &self,
        groups: &[u32],
        host: &Host,
        ids: Option<&IdMaps>,
        keeps_admin: bool,
        draft: &mut Draft,
    ) {
        if let Some(IdMaps { users, groups }) = ids {
            for (kind, id, ranges) in [("user", self.uid, users), ("group", self.gid, groups)] {
                if !ranges.iter().any(|range| range.has(id)) {
                    draft.problem_at(Feature::User, "run_as", unmapped(kind, id, ranges, host));
                }
            }
        }
        plan_groups(groups, host, ids, draft);
        let mut step = |call, why| draft.step(Phase::RunAs, Actor::Command, Feature::User, call, why);
        step(ProcessCall::SetGroup(self.gid), "runas.group.why");
        if keeps_admin && !self.is_root() {
            step(ProcessCall::KeepCapabilities, "runas.keep.why");
        }
        step(ProcessCall::SetUser(self.uid), "runas.user.why");
        draft.die_with_parent(Phase::RunAs, Actor::Command, Feature::User, "runas.pdeathsig.why");
    }
}

/// Sets the supplementary groups. Those of the caller are dropped, so that they give the container no access. A caller that
/// maps only its own ID cannot do this, because setgroups(2) is denied then. user_namespaces(7)
pub fn plan_groups(groups: &[u32], host: &Host, ids: Option<&IdMaps>, draft: &mut Draft) {
    let can_set = !host.groups.are_fixed && !ids.is_some_and(|ids| ids.are_own(host.uid, host.gid));
    let outside = |group: u32| match ids {
        Some(ids) => ids.groups.iter().find_map(|range| range.outside_of(group)),
        None => Some(group),
    };
    // In the order in which the kernel sorts and shows them.
    let mut set: Vec<u32> =
        groups.iter().copied().filter(|group| can_set && outside(*group).is_some()).collect();
    set.sort_by_key(|group| outside(*group));
    let missing: Vec<String> =
        groups.iter().filter(|group| !set.contains(group)).map(u32::to_string).collect();
    if !missing.is_empty() {
        draft.kept_note(text_with("runas.missinggroups.note", &[("groups", &missing.join(", "))]));
    }
    if can_set {
        let why = if set.is_empty() { "runas.groups.why" } else { "runas.setgroups.why" };
        draft.step(Phase::RunAs, Actor::Command, Feature::User, ProcessCall::SetGroups(set), why);
    } else if host.groups.has_others {
        draft.note(text("runas.keepsgroups.note"));
    }
}

/// The problem of an ID that does not exist in the user namespace.
fn unmapped(kind: &str, id: u32, ranges: &[IdRange], host: &Host) -> Error {
    let string = |range: &IdRange| match range.count {
        1 => range.inside.to_string(),
        count => format!("{}-{}", range.inside, range.inside.saturating_add(count - 1)),
    };
    let known: Vec<String> = ranges.iter().map(string).collect();
    let known = if known.is_empty() { text("runas.noids") } else { known.join(", ") };
    // `map: auto` would map the caller alone again.
    let has_none = || {
        let subordinate = Subordinate::gather(host.uid, &mut Unread::default());
        subordinate.uids.is_empty() || subordinate.gids.is_empty()
    };
    let todo = match !host.privileged && has_none() {
        true => text_with("runas.nosubuid.todo", &[("uid", &host.uid.to_string())]),
        false => text_with("runas.unmapped.todo", &[("id", &id.to_string())]),
    };
    let reason = text_with("runas.unmapped.reason", &[("known", &known)]);
    Error::failed(format!("run_as: {kind} {id}")).why(reason).todo(todo)
}

/// Reads an ID in decimal digits. `01` and `0x1` are refused, because other programs could read them as other IDs.
/// 4294967295 is (uid_t) -1, with which setresuid(2) changes nothing: root would stay root.
fn id(digits: &str) -> Result<u32, String> {
    match digits.parse::<u32>() {
        Ok(id) if id != u32::MAX && id.to_string() == digits => Ok(id),
        _ => Err(text("runas.form")),
    }
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(ids: &str) -> Result<Self, String> {
        let (uid, gid) = ids.split_once(':').unwrap_or((ids, ids));
        Ok(RunAs { uid: id(uid)?, gid: id(gid)? })
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Serialize for RunAs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunAs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_decimal_numbers() {
        let read = |yaml: &str| serde_yaml::from_str::<RunAs>(yaml).ok();
        assert_eq!(read("1000:100"), Some(RunAs { uid: 1000, gid: 100 }));
        assert_eq!(read("1000"), Some(RunAs { uid: 1000, gid: 1000 }));
        assert_eq!(read("'4294967294'"), Some(RunAs { uid: 4_294_967_294, gid: 4_294_967_294 }));
        for wrong in [
            "01",
            "'01'",
            "-1",
            "'-1'",
            "'+1'",
            "'1 '",
            "' 1'",
            "''",
            "':'",
            "'1:'",
            "':1'",
            "'1:1:1'",
            "root",
            "4294967295",
            "4294967296",
            "99999999999999999999",
            "1.0",
            "'0x0'",
            "'1:0x0'",
            "'1:01'",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
