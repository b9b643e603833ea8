//! The user namespace: user IDs, group IDs and capabilities.
//!
//! # What it is
//!
//! A user namespace maps user IDs and group IDs. The kernel works with the IDs outside, and shows the IDs inside to the
//! processes of the namespace. An ID without a mapping is shown as 65534.
//!
//! The process that makes the namespace has all capabilities in it. They also apply to the other namespaces that it
//! owns, but to nothing outside of it.
//!
//! # Why one wants it
//!
//! - An ordinary user can make containers: the capabilities inside allow the calls that make the other namespaces.
//! - Root in a container can be an unprivileged user on the host.
//!
//! # The calls
//!
//! - clone3(2) or unshare(2) with CLONE_NEWUSER makes the namespace. It needs no privilege, unless the machine forbids
//!   it.
//! - The mappings are written to `/proc/PID/uid_map` and `gid_map`, once. A process may map its own ID itself, if
//!   setgroups(2) is denied before. Ranges need a privileged writer: root, or newuidmap(1) within the ranges of
//!   /etc/subuid.
//!
//! # What changes in /proc
//!
//! - `/proc/PID/uid_map`, `gid_map` and `setgroups` show the mappings.
//! - `Uid:` in `/proc/PID/status` is 0 inside and 1000 outside.
//! - `CapEff:` is full inside, and yet the host answers EPERM.
//!
//! user_namespaces(7)

mod ranges;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use self::ranges::{check, contains, plan_ranges, problem};
use crate::error::Error;
use crate::feature::Feature;
use crate::host::identity::IdentityChange;
use crate::host::{Host, Subordinate};
use crate::observe::{Observation, proc};
use crate::plan::call::process::ProcessCall;
use crate::plan::call::user::{IdKind, IdMaps, IdRange, MapOwner, UserCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::{text, text_with};
use crate::value::join::JoinTarget;

/// Options of the user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/user
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
    /// Map: auto (from /etc/subuid; 0 is you unless you are root), root (0 is you alone), none, or INSIDE:OUTSIDE:COUNT (may be repeated)
    #[arg(long, value_name = "MAP")]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    #[schemars(with = "one_or_many::OneOrMany", example = &"auto")]
    pub map: Vec<Map>,
    /// Map your user ID to UID inside; not together with map
    #[arg(long, value_name = "UID", conflicts_with = "map")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub map_user: Option<u32>,
    /// Map your group ID to GID inside; not together with map
    #[arg(long, value_name = "GID", conflicts_with = "map")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub map_group: Option<u32>,
    /// Map your user ID and group ID to 0 inside; this is the default
    #[arg(long, short = 'r', conflicts_with_all = ["map", "map_user", "map_group"])]
    #[serde(skip)]
    pub map_root_user: bool,
}

/// One `--map`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Map {
    /// 0 is the caller; the other IDs come from /etc/subuid and /etc/subgid.
    Auto,
    /// 0 is the caller.
    Root,
    /// No mapping: every ID is shown as 65534.
    None,
    /// `INSIDE:OUTSIDE:COUNT`, for user IDs and group IDs.
    #[serde(untagged)]
    Range(IdRange),
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Map::Auto => f.write_str("auto"),
            Map::Root => f.write_str("root"),
            Map::None => f.write_str("none"),
            Map::Range(IdRange { inside, outside, count }) => write!(f, "{inside}:{outside}:{count}"),
        }
    }
}

impl FromStr for Map {
    type Err = String;

    fn from_str(map: &str) -> Result<Self, String> {
        match map {
            "auto" => return Ok(Map::Auto),
            "root" => return Ok(Map::Root),
            "none" => return Ok(Map::None),
            _ => {}
        }
        let numbers: Result<Vec<u32>, _> = map.split(':').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[inside, outside, count]) if count > 0 => Ok(Map::Range(IdRange { inside, outside, count })),
            _ => Err(text("user.map.form")),
        }
    }
}

impl JsonSchema for Map {
    fn schema_name() -> Cow<'static, str> {
        "Map".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let range = generator.subschema_for::<IdRange>();
        json_schema!({ "anyOf": [
            { "enum": ["auto", "root", "none"] },
            { "type": "string", "pattern": "^[0-9]+:[0-9]+:[0-9]+$" },
            range,
        ] })
    }
}

/// In a spec, `map: auto` and `map: [{…}, {…}]`.
mod one_or_many {
    use std::fmt;

    use schemars::JsonSchema;
    use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
    use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
    use serde::{Serialize, Serializer};

    use super::Map;
    use crate::text::text;

    /// One string, or a list.
    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[expect(
        dead_code,
        reason = "only for the schema: serde's errors of an untagged enum do not report which part is wrong"
    )]
    pub(super) enum OneOrMany {
        One(Map),
        Many(Vec<Map>),
    }

    pub(super) fn serialize<S: Serializer>(maps: &[Map], serializer: S) -> Result<S::Ok, S::Error> {
        match maps {
            [one @ (Map::Auto | Map::Root | Map::None)] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Map>, D::Error> {
        struct Maps;

        impl<'de> Visitor<'de> for Maps {
            type Value = Vec<Map>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text("user.map.wanted"))
            }

            fn visit_str<E: Error>(self, map: &str) -> Result<Vec<Map>, E> {
                OneVisitor.visit_str(map).map(|one| vec![one])
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Vec<Map>, A::Error> {
                OneVisitor.visit_map(entries).map(|one| vec![one])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<Map>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items))
            }
        }

        deserializer.deserialize_any(Maps)
    }

    impl<'de> Deserialize<'de> for Map {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(OneVisitor)
        }
    }

    struct OneVisitor;

    impl<'de> Visitor<'de> for OneVisitor {
        type Value = Map;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&text("user.map.wanted"))
        }

        fn visit_str<E: Error>(self, map: &str) -> Result<Map, E> {
            map.parse().map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Map, A::Error> {
            Deserialize::deserialize(MapAccessDeserializer::new(entries)).map(Map::Range)
        }
    }
}

/// The range (first ID, count) that root maps if /etc/subuid has none for root. Debian, Fedora and systemd assign no
/// IDs there.
const RESERVED: (u32, u32) = (1_500_000_000, 65_536);

impl User {
    /// The mappings, in full. Keywords are resolved by facts of this machine.
    pub fn complete(&self, host: &Host, draft: &mut Draft) -> IdMaps {
        let is_mixed = self.map.len() > 1 && self.map.iter().any(|map| !matches!(map, Map::Range(_)));
        if is_mixed {
            let what = draft.option(Feature::User, "map");
            problem(draft, &what, text("user.map.mixed"), "user.map.todo");
            return IdMaps::default();
        }
        self.ids(host)
    }

    /// Refuses options that would change a namespace that is not this container's alone.
    pub fn check_join(&self, draft: &mut Draft) {
        let Some(join) = &self.join else { return };
        let mut refuse =
            |key, value: String| draft.refuse_joined(Feature::User, key, value, join, "user.joined.reason");
        if let Some(map) = self.map.first() {
            refuse("map", map.to_string());
        }
        self.map_user.iter().for_each(|id| refuse("map_user", id.to_string()));
        self.map_group.iter().for_each(|id| refuse("map_group", id.to_string()));
    }

    /// Whether more than the caller's own ID is mapped.
    pub fn takes_ranges(&self) -> bool {
        self.map.iter().any(|map| !matches!(map, Map::None | Map::Root))
    }

    fn ids(&self, host: &Host) -> IdMaps {
        let own = |inside: Option<u32>, outside| IdRange { inside: inside.unwrap_or(0), outside, count: 1 };
        let (user, group) = (own(self.map_user, host.uid), own(self.map_group, host.gid));
        match (self.map.as_slice(), &host.subordinate) {
            ([Map::None], _) => IdMaps::default(),
            ([Map::Auto], Some(subordinate)) if host.privileged => {
                // Root outside is not mapped. A process that escapes from the container is then not root.
                let range = |ranges: &[(u32, u32)]| {
                    let (outside, count) = *ranges.first().unwrap_or(&RESERVED);
                    vec![IdRange { inside: 0, outside, count }]
                };
                IdMaps { users: range(&subordinate.uids), groups: range(&subordinate.gids) }
            }
            ([Map::Auto], Some(Subordinate { uids, gids, newuidmap: Some(_), .. }))
                if !uids.is_empty() && !gids.is_empty() =>
            {
                let with_rest = |own: IdRange, ranges: &[(u32, u32)]| {
                    let rest = |&(outside, count)| IdRange { inside: 1, outside, count };
                    std::iter::once(own).chain(ranges.first().map(rest)).collect()
                };
                IdMaps { users: with_rest(user, uids), groups: with_rest(group, gids) }
            }
            ([] | [Map::Root | Map::Auto], _) => IdMaps { users: vec![user], groups: vec![group] },
            (maps, _) => {
                let range = |map: &Map| if let Map::Range(range) = map { Some(*range) } else { None };
                let ranges: Vec<IdRange> = maps.iter().filter_map(range).collect();
                IdMaps { users: ranges.clone(), groups: ranges }
            }
        }
    }
}

/// The steps: the namespace, then its mappings. The caller's rights decide which process writes them.
pub fn plan(ids: &IdMaps, context: &Context<'_>, draft: &mut Draft) {
    let host = context.host;
    if context.joins(Feature::User) {
        return plan_joined(host, draft);
    }
    draft.isolate(Feature::User);
    match (ids.users.as_slice(), ids.groups.as_slice()) {
        ([], []) => {}
        ([user], [group]) if ids.are_own(host.uid, host.gid) => plan_own_id(*user, *group, draft),
        (users, groups) => plan_ranges(host, draft, users, groups),
    }
}

/// Whether no process of the namespace has the rights of this user of the host. A capability applies to a file only if
/// the owner of the file is mapped. So no process can then write a file of this user by capabilities. user_namespaces(7)
pub fn excludes(ids: &IdMaps, id: u32, host: &Host) -> bool {
    let users = &ids.users;
    // A caller whose ID is not mapped keeps it, unless the caller becomes root inside.
    let is_kept = id == host.uid && !users.iter().any(|range| range.inside == 0);
    !is_kept && !users.iter().any(|range| contains((range.outside, range.count), id, 1))
}

/// One ID, mapped by the process itself, which needs no privilege. The kernel requires that the process first
/// writes "deny" to setgroups. Otherwise it could leave a group that denies it access to a file. user_namespaces(7)
fn plan_own_id(uid: IdRange, gid: IdRange, draft: &mut Draft) {
    check(draft, &[uid]);
    check(draft, &[gid]);
    let own = |kind, range| UserCall::WriteIdMap { process: MapOwner::Own, kind, map: vec![range] };
    let mut step = |call, why| draft.step(Phase::Maps, Actor::Child, Feature::User, call, why);
    step(UserCall::DenySetgroups, "user.setgroups.why");
    step(own(IdKind::User, uid), "user.uidmap.why");
    step(own(IdKind::Group, gid), "user.gidmap.why");
}

/// A caller whose ID is not mapped becomes root inside, if there is one.
fn plan_identity(host: &Host, ids: &IdMaps, draft: &mut Draft) {
    let caller_is_mapped = ids.users.iter().any(|range| contains((range.outside, range.count), host.uid, 1));
    if !caller_is_mapped && ids.users.iter().any(|range| range.inside == 0) {
        let mut step =
            |call| draft.step(Phase::Identity, Actor::Child, Feature::User, call, "user.identity.why");
        if !host.groups.are_fixed {
            step(ProcessCall::SetGroups(Vec::new()));
        }
        step(ProcessCall::SetGroup(0));
        step(ProcessCall::SetUser(0));
    }
}

/// Who the helper becomes in a user namespace that it joins, which has its maps already.
fn plan_joined(host: &Host, draft: &mut Draft) {
    // Otherwise its own error is reported.
    let Some(joined) = host.joined(Feature::User) else { return };
    let unread = || Error::failed(text_with("join.what", &[("kind", "user"), ("of", &joined.whose())]));
    let identity = match &joined.maps {
        Some(maps) => maps.identity(None),
        None => Err(unread().why(text("join.nomaps.reason")).todo("lsns -t user")),
    };
    match identity {
        Ok(change) => {
            for (call, why) in identity_calls(change, "join.identity.why") {
                draft.step(Phase::Identity, Actor::Child, Feature::User, call, why);
            }
        }
        Err(error) => draft.problem_of(Feature::User, "join", error),
    }
}

/// The calls of this change, each with its reason. `why` is the reason for the user and the group.
pub fn identity_calls(
    change: IdentityChange,
    why: &'static str,
) -> impl Iterator<Item = (ProcessCall, &'static str)> {
    let groups = change.drops_groups.then_some((ProcessCall::SetGroups(Vec::new()), "runas.groups.why"));
    let ids = change.ids.map(|(user, group)| {
        [
            (ProcessCall::SetGroup(group), why),
            (ProcessCall::SetUser(user), why),
            // If fs.suid_dumpable is 1, a change of IDs makes the process dumpable, and so traceable, again.
            (ProcessCall::Undumpable, "enter.undumpable.why"),
        ]
    });
    groups.into_iter().chain(ids.into_iter().flatten())
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::file(&format!("{process}/uid_map")),
        proc::file(&format!("{process}/gid_map")),
        proc::file(&format!("{process}/setgroups")),
        proc::status(&format!("{process}/status"), "CapEff"),
        proc::owner("/"),
    ]
}

#[cfg(test)]
mod tests {
    use super::ranges::overlap;
    use super::*;

    #[test]
    fn a_map_is_a_keyword_or_three_numbers() {
        assert_eq!("auto".parse(), Ok(Map::Auto));
        assert_eq!("0:1000:1".parse(), Ok(Map::Range(IdRange { inside: 0, outside: 1000, count: 1 })));
        for wrong in ["", "0:1000", "0:1000:0", "a:b:c", "0:1000:1:2", "0:4294967296:1", "-1:0:1"] {
            assert!(wrong.parse::<Map>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_overlap_inside_or_outside() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert!(overlap(range(0, 1000, 10), range(5, 5000, 1)));
        assert!(overlap(range(0, 1000, 10), range(50, 1009, 1)));
        assert!(!overlap(range(0, 1000, 10), range(10, 1010, 10)));
    }
}
