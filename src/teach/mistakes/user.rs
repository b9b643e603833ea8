//! Mistakes with the user namespace.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::User;
use crate::namespaces::user::{Map, User as UserFlags};
use crate::plan::call::process::ProcessCall;
use crate::plan::call::user::{IdKind, IdRange, MapOwner, UserCall};
use crate::teach::agent::Agent;
use crate::teach::call::PathCall;
use crate::teach::demo::{Stage, answer_text};

pub(super) const MISTAKES: &[MistakeEntry] = &[("no-map", no_map), ("setgroups", setgroups)];

/// Starts a process in a user namespace with this map.
fn start_mapped(stage: &mut Stage<'_>, map: Map) -> Result<Agent> {
    let user = UserFlags { map: vec![map], ..UserFlags::default() };
    stage.start(&Spec { user: Some(user), ..Spec::default() }, User)
}

/// Writing no map. Without one, no ID inside has an ID outside, so setuid(2) to any ID fails.
fn no_map(stage: &mut Stage<'_>) -> Result<Contrast> {
    let owner = PathCall::Owner { path: "/proc/self".into() };
    let become_root = ProcessCall::SetUser(0);
    let mut shown = |map| -> Result<_> {
        let agent = start_mapped(stage, map)?;
        let owner = answer_text(agent.perform(owner.clone())?);
        Ok((owner, answer_text(agent.perform(become_root.clone())?)))
    };
    let (right, wrong) = (shown(Map::Root)?, shown(Map::None)?);
    Ok(Contrast::new(User, "no-map")
        .right("INSIDE", &owner, right.0)
        .right("INSIDE", &become_root, right.1)
        .wrong("INSIDE", &owner, wrong.0)
        .wrong("INSIDE", &become_root, wrong.1))
}

/// Writing gid_map before "deny" was written to setgroups.
fn setgroups(stage: &mut Stage<'_>) -> Result<Contrast> {
    let deny = UserCall::DenySetgroups;
    let range = IdRange { inside: 0, outside: stage.host.gid, count: 1 };
    let map = UserCall::WriteIdMap { process: MapOwner::Own, kind: IdKind::Group, map: vec![range] };
    let right = start_mapped(stage, Map::None)?;
    let denied = right.perform(deny.clone())?;
    let mapped = right.perform(map.clone())?;
    let wrong = start_mapped(stage, Map::None)?.perform(map.clone())?;
    Ok(Contrast::new(User, "setgroups")
        .right("INSIDE", deny, answer_text(denied))
        .right("INSIDE", &map, answer_text(mapped))
        .wrong("INSIDE", map, answer_text(wrong)))
}
