//! Who the command is: `run_as`.
//!
//! Two numbers, never names: a name would have to be looked up in a file of the container's, which may say that anyone is 0.
//! Groups go first, because the right to change them (CAP_SETGID) goes with the user id; setresuid(2) changes all three
//! ids, so that there is no way back. Whoever stops being root loses the permitted, effective and ambient capabilities by
//! the same call. credentials(7), capabilities(7)
//!
//! What you'll see: `Uid:`, `Gid:` and an empty `Groups:` in `/proc/PID/status`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::feature::Feature;
use crate::host::Host;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::user::{IdMaps, IdRange};
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::{text, text_with};
use crate::value::parse::parsed;

/// `UID:GID`; a single number is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// The user id, as it is inside.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

impl RunAs {
    /// Whether that's root, as far as the container goes.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The steps. `ids` are those of a new user namespace, where there is one: it has no others.
    pub fn plan(&self, host: &Host, ids: Option<&IdMaps>, draft: &mut Draft) {
        if let Some(IdMaps { users, groups }) = ids {
            for (kind, id, ranges) in [("user", self.uid, users), ("group", self.gid, groups)] {
                if !ranges.iter().any(|range| range.has(id)) {
                    draft.problem(Feature::User, unmapped(kind, id, ranges));
                }
            }
        }
        plan_groups(host, ids, draft);
        let mut step = |call, why| draft.step(Phase::RunAs, Actor::Command, Feature::User, call, why);
        step(ProcessCall::SetGroup(self.gid), "runas.group.why");
        step(ProcessCall::SetUser(self.uid), "runas.user.why");
        step(ProcessCall::DieWithParent, "runas.pdeathsig.why");
    }
}

/// The caller's supplementary groups are dropped, so that the container has no access by them. A caller that maps only its own
/// ID cannot: setgroups(2) is then denied. user_namespaces(7)
pub fn plan_groups(host: &Host, ids: Option<&IdMaps>, draft: &mut Draft) {
    if !host.groups.are_fixed && !ids.is_some_and(|ids| ids.are_own(host.uid, host.gid)) {
        let call = ProcessCall::DropGroups;
        draft.step(Phase::RunAs, Actor::Command, Feature::User, call, "runas.groups.why");
    } else if host.groups.has_others {
        draft.note(text("runas.keepsgroups.note"));
    }
}

fn unmapped(kind: &str, id: u32, ranges: &[IdRange]) -> Error {
    let words = |range: &IdRange| match range.count {
        1 => range.inside.to_string(),
        count => format!("{}-{}", range.inside, range.inside.saturating_add(count - 1)),
    };
    let known: Vec<String> = ranges.iter().map(words).collect();
    let known = if known.is_empty() { text("runas.noids") } else { known.join(", ") };
    Error::failed(format!("run_as: {kind} {id}"))
        .why(text_with("runas.unmapped.reason", &[("known", &known)]))
        .todo(text_with("runas.unmapped.todo", &[("id", &id.to_string())]))
}

/// An id in decimal digits, as it is printed: `01` or `0x1` could mean another one to someone else. 4294967295 is (uid_t) -1,
/// which setresuid(2) takes for "leave it": root would stay root.
fn id(digits: &str) -> Result<u32, String> {
    match digits.parse::<u32>() {
        Ok(id) if id != u32::MAX && id.to_string() == digits => Ok(id),
        _ => Err(text("runas.form")),
    }
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let (uid, gid) = words.split_once(':').unwrap_or((words, words));
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
    fn ids_are_plain_numbers() {
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
