//! Maps of several IDs. Only root may write them, so an ordinary user has them written by newuidmap(1) and newgidmap(1).

use super::{Map, plan_identity};
use crate::error::Error;
use crate::feature::Feature;
use crate::host::Host;
use crate::plan::call::gate::GateCall;
use crate::plan::call::user::{IdKind, IdMaps, IdRange, MapOwner, UserCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::{text, text_of_options, text_with};

/// The maximum number of ranges in a map: UID_GID_MAP_MAX_EXTENTS of the kernel. user_namespaces(7)
const MAX_RANGES: usize = 340;

pub(super) fn plan_ranges(host: &Host, draft: &mut Draft, uids: &[IdRange], gids: &[IdRange]) {
    check(draft, uids);
    if gids != uids {
        check(draft, gids);
    }
    if host.privileged {
        for (kind, ranges) in [(IdKind::User, uids), (IdKind::Group, gids)] {
            let call = UserCall::WriteIdMap { process: MapOwner::Child, kind, map: ranges.to_vec() };
            draft.step(Phase::Maps, Actor::Host, Feature::User, call, "user.ranges.why");
        }
    } else {
        plan_helpers(host, draft, uids, gids);
    }
    draft.step(Phase::Maps, Actor::Host, Feature::User, GateCall::Release, "user.mapped.why");
    draft.step(Phase::Maps, Actor::Child, Feature::User, GateCall::Await, "user.awaitmap.why");
    plan_identity(host, &IdMaps { users: uids.to_vec(), groups: gids.to_vec() }, draft);
}

/// An ordinary user maps ranges by newuidmap and newgidmap. These set-user-ID programs compare the ranges with
/// /etc/subuid and /etc/subgid, and then write the mappings.
fn plan_helpers(host: &Host, draft: &mut Draft, uids: &[IdRange], gids: &[IdRange]) {
    let subordinate = host.subordinate.clone().unwrap_or_default();
    let files = [
        (IdKind::User, "/etc/subuid", "newuidmap", subordinate.newuidmap, uids, host.uid, subordinate.uids),
        (IdKind::Group, "/etc/subgid", "newgidmap", subordinate.newgidmap, gids, host.gid, subordinate.gids),
    ];
    for (kind, file, name, program, ranges, own, allowed) in files {
        let Some(program) = program else {
            problem(draft, name, text_with("user.nohelper.why", &[("program", name)]), "user.nohelper.todo");
            continue;
        };
        for range in ranges {
            let is_own = (range.outside, range.count) == (own, 1);
            if !is_own && !allowed.iter().any(|&allowed| contains(allowed, range.outside, range.count)) {
                let all: Vec<String> =
                    allowed.iter().map(|(first, count)| format!("{first}:{count}")).collect();
                let all = if all.is_empty() { text("user.lends.nothing") } else { all.join(", ") };
                let why = text_with("user.exceeds.why", &[("file", file), ("lends", &all)]);
                let what = draft.option_with(Feature::User, "map", Map::Range(*range));
                problem(draft, &what, why, "user.exceeds.todo");
            }
        }
        let call = UserCall::RunMapHelper { program, kind, map: ranges.to_vec() };
        draft.step(Phase::Maps, Actor::Host, Feature::User, call, "user.helper.why");
    }
}

/// Checks ranges that the kernel would refuse with EINVAL, which does not name the reason.
pub(super) fn check(draft: &mut Draft, ranges: &[IdRange]) {
    if ranges.len() > MAX_RANGES {
        let what = draft.option(Feature::User, "map");
        let values = [("count", &*ranges.len().to_string()), ("most", &MAX_RANGES.to_string())];
        problem(draft, &what, text_with("user.toomany.reason", &values), "user.map.todo");
        return;
    }
    for (index, range) in ranges.iter().enumerate() {
        if range.count == 0 {
            let what = draft.option_with(Feature::User, "map", Map::Range(*range));
            problem(draft, &what, text("user.empty.reason"), "user.map.todo");
        }
        // 4294967295 is (uid_t) -1, which means "no ID". The kernel does not map it.
        if range.inside.checked_add(range.count).is_none() || range.outside.checked_add(range.count).is_none()
        {
            let what = draft.option_with(Feature::User, "map", Map::Range(*range));
            problem(draft, &what, text("user.toobig.reason"), "user.map.todo");
        }
        if let Some(other) = ranges[..index].iter().find(|other| overlap(*range, **other)) {
            let (one, two) = (Map::Range(*other), Map::Range(*range));
            let what = format!("{}: {one} and {two}", draft.option(Feature::User, "map"));
            problem(draft, &what, text("user.overlap.reason"), "user.map.todo");
        }
    }
}

/// Whether two ranges of a mapping have an ID in common, inside or outside.
pub(super) fn overlap(one: IdRange, other: IdRange) -> bool {
    let intersect = |a: u32, b: u32| {
        u64::from(a) < u64::from(b) + u64::from(other.count)
            && u64::from(b) < u64::from(a) + u64::from(one.count)
    };
    intersect(one.inside, other.inside) || intersect(one.outside, other.outside)
}

/// Whether a range contains all `length` IDs from `start` on.
pub(super) fn contains((first, count): (u32, u32), start: u32, length: u32) -> bool {
    start >= first && u64::from(start) + u64::from(length) <= u64::from(first) + u64::from(count)
}

pub(super) fn problem(draft: &mut Draft, what: &str, why: String, todo: &str) {
    let todo = text_of_options(draft.are_flags(Feature::User), todo);
    draft.problem_of(Feature::User, "map", Error::failed(what).why(why).todo(todo));
}
