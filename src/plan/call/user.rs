//! The ID maps of a user namespace. They are written by the process itself, by a privileged process outside, or by
//! newuidmap(1) and newgidmap(1). user_namespaces(7)

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::c_string;
use super::file::write_once;
use crate::error::errno;
use crate::host::identity::JoinedMaps;
use crate::plan::slots::Slots;
use crate::text::printed;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserCall {
    /// write(2) of `deny` to the process's own /proc/self/setgroups.
    DenySetgroups,
    /// write(2) of a whole map: the kernel accepts one write(2) to the file, and no second one.
    WriteIdMap {
        /// Whose namespace gets the map.
        process: MapOwner,
        /// Of user IDs or of group IDs.
        kind: IdKind,
        /// The lines of the map.
        map: Vec<IdRange>,
    },
    /// newuidmap(1) or newgidmap(1) for `<child>`. It is one step, whatever system calls the program makes.
    RunMapHelper {
        /// The program's file.
        #[serde(with = "crate::value::bytes")]
        program: PathBuf,
        /// Of user IDs or of group IDs.
        kind: IdKind,
        /// The lines of the map.
        map: Vec<IdRange>,
    },
}

/// The process whose user namespace gets a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapOwner {
    /// The process that writes it.
    Own,
    /// `<child>`, from outside.
    Child,
}

/// User IDs or group IDs. Each kind has its own map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// User IDs.
    User,
    /// Group IDs.
    Group,
}

impl IdKind {
    /// The map's file in /proc/PID.
    pub fn file(self) -> &'static str {
        match self {
            IdKind::User => "uid_map",
            IdKind::Group => "gid_map",
        }
    }
}

/// Maps `count` IDs: `inside` to `outside`, `inside` + 1 to `outside` + 1, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Range")]
#[serde(deny_unknown_fields)]
pub struct IdRange {
    /// First ID inside.
    pub inside: u32,
    /// First ID outside.
    pub outside: u32,
    /// Number of IDs.
    pub count: u32,
}

/// The IDs that a user namespace maps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdMaps {
    /// User IDs.
    pub users: Vec<IdRange>,
    /// Group IDs.
    pub groups: Vec<IdRange>,
}

impl IdMaps {
    /// Whether the caller's own IDs are the only ones outside. A process may then write the maps itself, after it has
    /// denied setgroups(2).
    pub fn are_own(&self, uid: u32, gid: u32) -> bool {
        let is_own = |ranges: &[IdRange], id| matches!(ranges, [one] if (one.outside, one.count) == (id, 1));
        is_own(&self.users, uid) && is_own(&self.groups, gid)
    }

    /// Whether more than the caller's own IDs is mapped.
    pub fn take_ranges(&self, uid: u32, gid: u32) -> bool {
        !self.users.is_empty() && !self.are_own(uid, gid)
    }
}

impl From<&JoinedMaps> for IdMaps {
    fn from(joined: &JoinedMaps) -> IdMaps {
        let range = |&[inside, outside, count]: &[u32; 3]| IdRange { inside, outside, count };
        let all = |ranges: &[[u32; 3]]| ranges.iter().map(range).collect();
        IdMaps { users: all(&joined.users), groups: all(&joined.groups) }
    }
}

impl IdRange {
    /// Whether the range maps this ID inside.
    pub fn has(self, id: u32) -> bool {
        id >= self.inside && id - self.inside < self.count
    }

    /// The ID outside to which an ID inside is mapped.
    pub fn outside_of(self, id: u32) -> Option<u32> {
        if self.has(id) { self.outside.checked_add(id - self.inside) } else { None }
    }
}

/// As in the kernel's files: `0 1000 1`.
impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// The content of a map's file.
fn lines(map: &[IdRange]) -> String {
    map.iter().map(|range| format!("{range}\n")).collect()
}

impl fmt::Display for UserCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserCall::DenySetgroups => f.write_str("write(</proc/self/setgroups>, \"deny\", 4)"),
            UserCall::WriteIdMap { process, kind, map } => {
                let process = match process {
                    MapOwner::Own => "self",
                    MapOwner::Child => "<child>",
                };
                let (file, content) = (kind.file(), lines(map));
                write!(f, "write(</proc/{process}/{file}>, {}, {})", c_string(&content), content.len())
            }
            UserCall::RunMapHelper { program, map, .. } => {
                write!(f, "{} <child>", printed(program))?;
                map.iter().try_for_each(|range| write!(f, " {range}"))
            }
        }
    }
}

impl UserCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            UserCall::DenySetgroups => write_once("/proc/self/setgroups", "deny"),
            UserCall::WriteIdMap { process, kind, map } => {
                let path = match process {
                    MapOwner::Own => format!("/proc/self/{}", kind.file()),
                    MapOwner::Child => format!("/proc/{}/{}", slots.made()?, kind.file()),
                };
                write_once(&path, &lines(map))
            }
            UserCall::RunMapHelper { program, map, .. } => {
                let mut command = Command::new(program);
                command.arg(slots.made()?.to_string());
                for range in map {
                    command.args([range.inside, range.outside, range.count].map(|id| id.to_string()));
                }
                run(&mut command)
            }
        }
    }
}

/// The program prints its own message to standard error, above ours.
fn run(command: &mut Command) -> Result<i64, Errno> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status.map_err(errno)?.code() {
        Some(0) => Ok(0),
        _ => Err(Errno::EPERM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_printed_as_it_is_written() {
        let map = vec![
            IdRange { inside: 0, outside: 1000, count: 1 },
            IdRange { inside: 1, outside: 100_000, count: 65_536 },
        ];
        let write = UserCall::WriteIdMap { process: MapOwner::Child, kind: IdKind::Group, map: map.clone() };
        let text = r#"write(</proc/<child>/gid_map>, "0 1000 1\n1 100000 65536\n", 24)"#;
        assert_eq!(write.to_string(), text);
        let program = "/usr/bin/newuidmap".into();
        let helper = UserCall::RunMapHelper { program, kind: IdKind::User, map };
        assert_eq!(helper.to_string(), "/usr/bin/newuidmap <child> 0 1000 1 1 100000 65536");
    }

    #[test]
    fn a_range_has_its_first_and_its_last_id() {
        let range = IdRange { inside: 10, outside: 1000, count: 2 };
        assert_eq!([9, 10, 11, 12].map(|id| range.outside_of(id)), [None, Some(1000), Some(1001), None]);
    }
}
