//! Demonstrations of the user namespace: a process has other user and group IDs inside than outside.
//!
//! A process can be root inside and an ordinary user outside. Its capabilities count only for objects that belong to
//! its user namespace. The maps in /proc/PID/uid_map and gid_map translate between the IDs. user_namespaces(7)

use nix::errno::Errno;

use super::{Card, CardEntry, Stage, one_line};
use crate::config::spec::Spec;
use crate::error::{Result, errno};
use crate::feature::Feature::{User, Uts};
use crate::namespaces::user::{Map, User as UserFlags};
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::user::IdRange;
use crate::plan::call::uts::UtsCall;
use crate::plan::undo::Undo;
use crate::security::capabilities::names_in;
use crate::teach::agent::Agent;
use crate::teach::call::PathCall;

pub(super) const CARDS: &[CardEntry] = &[
    ("uid", uid),
    ("gid", gid),
    ("unmapped", unmapped),
    ("foreign", foreign),
    ("caps", caps),
    ("owner", owner),
    ("file", file),
    ("setgroups", setgroups),
];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// This file holds the number of the last capability that the kernel knows.
const LAST_CAPABILITY: &str = "/proc/sys/kernel/cap_last_cap";

/// The IDs that root maps here. Debian, Fedora and systemd assign them to nobody.
const UNUSED_IDS: IdRange = IdRange { inside: 0, outside: 1_500_000_000, count: 65_536 };

/// Starts a process in a user namespace as the user's flags say. Without flags, root is mapped to other IDs, because
/// a map from 0 to 0 would show nothing.
fn mapped(stage: &mut Stage<'_>) -> Result<Agent> {
    let mut spec = stage.spec.clone();
    if stage.host.uid == 0 && spec.user.as_ref().is_none_or(|user| *user == UserFlags::default()) {
        spec.user = Some(if may_map_unused_ids(stage) {
            UserFlags { map: vec![Map::Range(UNUSED_IDS)], ..UserFlags::default() }
        } else {
            UserFlags { map_user: Some(1000), map_group: Some(1000), ..UserFlags::default() }
        });
    }
    stage.start(&spec, User)
}

/// Starts a process that is root inside, whatever the flags say. For an ordinary user it maps only the user's own ID,
/// because only then can the user remove the files that are made inside.
fn as_root(stage: &mut Stage<'_>) -> Result<Agent> {
    let map = if may_map_unused_ids(stage) { Map::Range(UNUSED_IDS) } else { Map::Root };
    start_mapped(stage, map)
}

/// Whether [`UNUSED_IDS`] can be mapped. Root can do so, unless its own user namespace lacks these IDs. That is
/// usual in a rootless container.
fn may_map_unused_ids(stage: &Stage<'_>) -> bool {
    let has = |path: &str| {
        let map = one_line(file::read_text(path).map_err(errno));
        [UNUSED_IDS.outside, UNUSED_IDS.outside + UNUSED_IDS.count - 1]
            .iter()
            .all(|id| outside_id(&map, i64::from(*id)).is_some())
    };
    stage.host.privileged && has("/proc/self/uid_map") && has("/proc/self/gid_map")
}

/// Starts a process with this map (`--map`).
fn start_mapped(stage: &mut Stage<'_>, map: Map) -> Result<Agent> {
    let user = UserFlags { map: vec![map], ..UserFlags::default() };
    stage.start(&Spec { user: Some(user), ..Spec::default() }, User)
}

/// The first field of a line of /proc/PID/status. For `Uid:` this is the real user ID.
fn status(agent: &Agent, path: &str, name: &str) -> Result<String> {
    let file = agent.read(path)?.unwrap_or_default();
    Ok(status_of(&file, name).and_then(|line| line.split_whitespace().next()).unwrap_or("(none)").to_owned())
}

/// A process has two user IDs, and uid_map translates between them.
fn uid(stage: &mut Stage<'_>) -> Result<Card> {
    ids(stage, "uid", "Uid")
}

/// The same for group IDs.
fn gid(stage: &mut Stage<'_>) -> Result<Card> {
    ids(stage, "gid", "Gid")
}

fn ids(stage: &mut Stage<'_>, name: &'static str, line: &str) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let own_status = "/proc/self/status";
    let inside_status = format!("/proc/{}/status", inside.pid());
    let maps = (format!("/proc/self/{name}_map"), format!("/proc/{}/{name}_map", inside.pid()));
    let seen = (one_line(inside.read(&maps.0)?), one_line(outside.read(&maps.1)?));
    let ids = (status(&inside, own_status, line)?, status(&outside, &inside_status, line)?);
    let card = Card::new(User, name);
    let outer = ids.0.parse().ok().and_then(|id| outside_id(&seen.1, id));
    if outer.is_none() || ids.0 == ids.1 {
        // Only the user's own flags can cause this.
        return Ok(card.skip("user.samenumber"));
    }
    Ok(card
        .inside(&maps.0, &seen.0)
        .outside(&maps.1, &seen.1)
        .inside(format!("{own_status}, {line}:"), &ids.0)
        .outside(format!("{inside_status}, {line}:"), &ids.1)
        .holds(seen.0 == seen.1 && outer.map(|id| id.to_string()).as_ref() == Some(&ids.1)))
}

/// The lines of a map that was joined to one line. Each has the first ID inside, the first ID outside, and the count.
fn map_lines(map: &str) -> Vec<[i64; 3]> {
    let fields: Vec<i64> = map.split(' ').filter_map(|field| field.parse().ok()).collect();
    fields.chunks_exact(3).map(|line| [line[0], line[1], line[2]]).collect()
}

/// Translates an ID inside to the ID outside.
fn outside_id(map: &str, id: i64) -> Option<i64> {
    let line = map_lines(map).into_iter().find(|[inside, _, count]| (*inside..inside + count).contains(&id));
    line.map(|[inside, outside, _]| outside + id - inside)
}

/// Without a map the kernel shows the overflow ID (usually 65534, nobody).
fn unmapped(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, start_mapped(stage, Map::None)?);
    let inside_status = format!("/proc/{}/status", inside.pid());
    let ids = (status(&inside, "/proc/self/status", "Uid")?, status(&outside, &inside_status, "Uid")?);
    let overflow = one_line(inside.read("/proc/sys/kernel/overflowuid")?);
    Ok(Card::new(User, "unmapped")
        .inside("/proc/self/status, Uid:", &ids.0)
        .inside("/proc/sys/kernel/overflowuid", &overflow)
        .outside(format!("{inside_status}, Uid:"), &ids.1)
        .holds(ids.0 == overflow && ids.1 == stage.host.uid.to_string()))
}

/// The owner of a file may have no ID in the map. Inside, stat(2) then returns the overflow ID.
fn foreign(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, as_root(stage)?);
    let stat = PathCall::Owner { path: "/".into() };
    let owners = (outside.perform(stat.clone())?, inside.perform(stat.clone())?);
    let card = Card::new(User, "foreign");
    let map = one_line(inside.read("/proc/self/uid_map")?);
    let overflow = one_line(inside.read("/proc/sys/kernel/overflowuid")?);
    let is_in =
        |id: i64| map_lines(&map).iter().any(|[_, first, count]| (*first..first + count).contains(&id));
    if owners.0 == owners.1 || owners.0.is_ok_and(is_in) {
        return Ok(card.skip("user.ownroot"));
    }
    Ok(card
        .inside("/proc/self/uid_map", map)
        .call("OUTSIDE", stat.clone(), owners.0)
        .call("INSIDE", stat, owners.1)
        .holds(owners.0 != owners.1 && owners.1.is_ok_and(|owner| owner.to_string() == overflow)))
}

/// A process has all capabilities in its new user namespace, but none over objects of another one. sethostname(2) is
/// tried with the current hostname, so nothing changes even if it succeeds.
fn caps(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let full = status(&inside, "/proc/self/status", "CapEff")?;
    let last = one_line(inside.read(LAST_CAPABILITY)?);
    let name = one_line(outside.read(HOSTNAME)?);
    let set = UtsCall::SetHostname(name.into());
    let answer = inside.perform(set.clone())?;
    let is_full = match (u64::from_str_radix(&full, 16), last.parse::<u32>()) {
        (Ok(effective), Ok(last)) => u64::MAX.checked_shr(63_u32.saturating_sub(last)) == Some(effective),
        _ => false,
    };
    Ok(Card::new(User, "caps")
        .inside("/proc/self/status, CapEff:", format!("{full} ({})", capabilities(&full, &last)))
        .inside(LAST_CAPABILITY, last)
        .call("INSIDE", set, answer)
        .holds(is_full && answer == Err(Errno::EPERM)))
}

fn capabilities(mask: &str, last: &str) -> String {
    names_in(u64::from_str_radix(mask, 16).unwrap_or(0), last.parse().unwrap_or(0))
}

/// The effective capabilities of a process as /proc shows them, and their names.
pub(crate) fn effective(agent: &Agent) -> Result<String> {
    let (mask, last) =
        (status(agent, "/proc/self/status", "CapEff")?, one_line(agent.read(LAST_CAPABILITY)?));
    Ok(format!("{mask} ({})", capabilities(&mask, &last)))
}

/// A uts namespace that is made inside belongs to the new user namespace, so the capabilities are valid for it.
fn owner(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let before = one_line(outside.read(HOSTNAME)?);
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Uts]) };
    let set = UtsCall::SetHostname("aquarium".into());
    let unshared = inside.perform(unshare.clone())?;
    if unshared.is_err() {
        return Ok(Card::new(User, "owner").call("INSIDE", unshare, unshared).holds(false));
    }
    let answer = inside.perform(set.clone())?;
    let after = one_line(outside.read(HOSTNAME)?);
    let holds = answer.is_ok() && after == before;
    Ok(Card::new(User, "owner")
        .call("INSIDE", unshare, unshared)
        .call("INSIDE", set, answer)
        .outside(HOSTNAME, after)
        .holds(holds))
}

/// The filesystem stores the ID outside as the owner of a file.
fn file(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(User, "file");
    let (outside, inside) = (stage.outside(User)?, as_root(stage)?);
    let path = format!("/tmp/{}", stage.unique("file"));
    let create = PathCall::Create { path: path.clone().into(), content: "mine\n".into() };
    if stage.make_inside(&inside, create, Undo::RemoveFile { path: path.clone().into() })?.is_err() {
        return Ok(card.skip("user.notmp"));
    }
    let ids = status(&outside, &format!("/proc/{}/status", inside.pid()), "Uid")?;
    let stat = PathCall::Owner { path: path.into() };
    let owners = (outside.perform(stat.clone())?, inside.perform(stat.clone())?);
    let own = status(&inside, "/proc/self/status", "Uid")?;
    if own == ids {
        return Ok(card.skip("user.samenumber"));
    }
    let is = |owner: super::Answer, id: &str| owner.is_ok_and(|owner| owner.to_string() == id);
    Ok(card
        .call("INSIDE", stat.clone(), owners.1)
        .call("OUTSIDE", stat, owners.0)
        .holds(is(owners.0, &ids) && is(owners.1, &own) && own == "0"))
}

/// A process whose user mapped only their own ID may not call setgroups(2). Otherwise it could leave a group that
/// denies it access to a file.
fn setgroups(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = start_mapped(stage, Map::Root)?;
    let path = "/proc/self/setgroups";
    let deny = one_line(inside.read(path)?);
    let answer = inside.perform(ProcessCall::SetGroups(Vec::new()))?;
    Ok(Card::new(User, "setgroups")
        .inside(path, &deny)
        .call("INSIDE", ProcessCall::SetGroups(Vec::new()), answer)
        .holds(deny == "deny" && answer == Err(Errno::EPERM)))
}
