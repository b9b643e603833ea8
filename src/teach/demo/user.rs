//! What the user namespace shows.

use nix::errno::Errno;

use super::{Card, CardEntry, Stage, words};
use crate::config::spec::Spec;
use crate::error::{Result, errno};
use crate::feature::Feature::{User, Uts};
use crate::namespaces::user::{Map, User as Wanted};
use crate::observe::file;
use crate::observe::proc::status_of;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::user::IdRange;
use crate::plan::call::uts::UtsCall as Names;
use crate::plan::undo::Undo;
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
/// The number of the last capability that this kernel knows.
const LAST_CAPABILITY: &str = "/proc/sys/kernel/cap_last_cap";

/// What root maps here: ids that Debian, Fedora and systemd hand out to nobody.
const OTHERS: IdRange = IdRange { inside: 0, outside: 1_500_000_000, count: 65_536 };

/// As the user's flags say. Without any, root gets other ids, since 0 mapped to 0 would show nothing.
fn mapped(stage: &mut Stage<'_>) -> Result<Agent> {
    let mut spec = stage.spec.clone();
    if stage.host.uid == 0 && spec.user.as_ref().is_none_or(|user| *user == Wanted::default()) {
        spec.user = Some(if may_map_others(stage) {
            Wanted { map: vec![Map::Range(OTHERS)], ..Wanted::default() }
        } else {
            Wanted { map_user: Some(1000), map_group: Some(1000), ..Wanted::default() }
        });
    }
    stage.start(&spec, User)
}

/// Root inside whatever the flags say: for root other ids, for anyone else their own, which alone can be cleared away again.
fn as_root(stage: &mut Stage<'_>) -> Result<Agent> {
    let map = if may_map_others(stage) { Map::Range(OTHERS) } else { Map::Root };
    with(stage, map)
}

/// Root can, unless it is root of a user namespace that has no such ids itself: that of a container without root, mostly.
fn may_map_others(stage: &Stage<'_>) -> bool {
    let has = |path: &str| {
        let map = words(file::read_text(path).map_err(errno));
        [OTHERS.outside, OTHERS.outside + OTHERS.count - 1]
            .iter()
            .all(|id| outer_of(&map, i64::from(*id)).is_some())
    };
    stage.host.privileged && has("/proc/self/uid_map") && has("/proc/self/gid_map")
}

/// With this one word as `--map`.
fn with(stage: &mut Stage<'_>, map: Map) -> Result<Agent> {
    let user = Wanted { map: vec![map], ..Wanted::default() };
    stage.start(&Spec { user: Some(user), ..Spec::default() }, User)
}

/// The first number of a line of /proc/PID/status; for `Uid:` that is the real id.
fn status(agent: &Agent, path: &str, name: &str) -> Result<String> {
    let file = agent.read(path)?.unwrap_or_default();
    Ok(status_of(&file, name).and_then(|line| line.split_whitespace().next()).unwrap_or("(none)").to_owned())
}

/// One process has two user ids, and the map is the table between them.
fn uid(stage: &mut Stage<'_>) -> Result<Card> {
    ids(stage, "uid", "Uid")
}

/// The same for groups.
fn gid(stage: &mut Stage<'_>) -> Result<Card> {
    ids(stage, "gid", "Gid")
}

fn ids(stage: &mut Stage<'_>, name: &'static str, line: &str) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let own = "/proc/self/status";
    let its = format!("/proc/{}/status", inside.pid());
    let maps = (format!("/proc/self/{name}_map"), format!("/proc/{}/{name}_map", inside.pid()));
    let seen = (words(inside.read(&maps.0)?), words(outside.read(&maps.1)?));
    let ids = (status(&inside, own, line)?, status(&outside, &its, line)?);
    let card = Card::new(User, name);
    let outer = ids.0.parse().ok().and_then(|id| outer_of(&seen.1, id));
    if outer.is_none() || ids.0 == ids.1 {
        // Which only the user's own flags can have asked for.
        return Ok(card.skip("user.samenumber"));
    }
    Ok(card
        .inside(&maps.0, &seen.0)
        .outside(&maps.1, &seen.1)
        .inside(format!("{own}, {line}:"), &ids.0)
        .outside(format!("{its}, {line}:"), &ids.1)
        .holds(seen.0 == seen.1 && outer.map(|id| id.to_string()).as_ref() == Some(&ids.1)))
}

/// What the words of a map say: first id inside, first id outside, count, of each line.
fn lines_of(map: &str) -> Vec<[i64; 3]> {
    let numbers: Vec<i64> = map.split(' ').filter_map(|word| word.parse().ok()).collect();
    numbers.chunks_exact(3).map(|line| [line[0], line[1], line[2]]).collect()
}

/// The outer id of an inner one.
fn outer_of(map: &str, id: i64) -> Option<i64> {
    let line = lines_of(map).into_iter().find(|[inside, _, count]| (*inside..inside + count).contains(&id));
    line.map(|[inside, outside, _]| outside + id - inside)
}

/// Without a map the kernel has no number to show.
fn unmapped(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, with(stage, Map::None)?);
    let its = format!("/proc/{}/status", inside.pid());
    let ids = (status(&inside, "/proc/self/status", "Uid")?, status(&outside, &its, "Uid")?);
    let overflow = words(inside.read("/proc/sys/kernel/overflowuid")?);
    Ok(Card::new(User, "unmapped")
        .inside("/proc/self/status, Uid:", &ids.0)
        .inside("/proc/sys/kernel/overflowuid", &overflow)
        .outside(format!("{its}, Uid:"), &ids.1)
        .holds(ids.0 == overflow && ids.1 == stage.host.uid.to_string()))
}

/// A file whose owner isn't in the map has an owner all the same: no number inside stands for it.
fn foreign(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, as_root(stage)?);
    let stat = PathCall::Owner { path: "/".into() };
    let owners = (outside.perform(stat.clone())?, inside.perform(stat.clone())?);
    let card = Card::new(User, "foreign");
    let map = words(inside.read("/proc/self/uid_map")?);
    let overflow = words(inside.read("/proc/sys/kernel/overflowuid")?);
    let is_in =
        |id: i64| lines_of(&map).iter().any(|[_, first, count]| (*first..first + count).contains(&id));
    if owners.0 == owners.1 || owners.0.is_ok_and(is_in) {
        return Ok(card.skip("user.ownroot"));
    }
    Ok(card
        .inside("/proc/self/uid_map", map)
        .call("OUTSIDE", stat.clone(), owners.0)
        .call("INSIDE", stat, owners.1)
        .holds(owners.0 != owners.1 && owners.1.is_ok_and(|owner| owner.to_string() == overflow)))
}

/// Every capability, but over nothing that another user namespace owns. The name asked for is the one already set: were it
/// allowed, nothing would change.
fn caps(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let full = status(&inside, "/proc/self/status", "CapEff")?;
    let last = words(inside.read(LAST_CAPABILITY)?);
    let name = words(outside.read(HOSTNAME)?);
    let set = Names::SetHostname(name);
    let answer = inside.perform(set.clone())?;
    let is_full = match (u64::from_str_radix(&full, 16), last.parse::<u32>()) {
        (Ok(held), Ok(last)) => u64::MAX.checked_shr(63_u32.saturating_sub(last)) == Some(held),
        _ => false,
    };
    Ok(Card::new(User, "caps")
        .inside("/proc/self/status, CapEff:", &full)
        .inside(LAST_CAPABILITY, last)
        .call("INSIDE", set, answer)
        .holds(is_full && answer == Err(Errno::EPERM)))
}

/// What is made inside belongs to the user namespace, and there its capabilities count.
fn owner(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let before = words(outside.read(HOSTNAME)?);
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Uts]) };
    let set = Names::SetHostname("aquarium".into());
    let left = inside.perform(unshare.clone())?;
    if left.is_err() {
        return Ok(Card::new(User, "owner").call("INSIDE", unshare, left).holds(false));
    }
    let answer = inside.perform(set.clone())?;
    let after = words(outside.read(HOSTNAME)?);
    let holds = answer.is_ok() && after == before;
    Ok(Card::new(User, "owner")
        .call("INSIDE", unshare, left)
        .call("INSIDE", set, answer)
        .outside(HOSTNAME, after)
        .holds(holds))
}

/// On the disk stands the outer id.
fn file(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(User, "file");
    let (outside, inside) = (stage.outside(User)?, as_root(stage)?);
    let path = format!("/tmp/{}", stage.unique("file"));
    let create = PathCall::Create { path: path.clone(), content: "mine\n".into() };
    if stage.make_inside(&inside, create, Undo::RemoveFile { path: path.clone().into() })?.is_err() {
        return Ok(card.skip("user.notmp"));
    }
    let ids = status(&outside, &format!("/proc/{}/status", inside.pid()), "Uid")?;
    let stat = PathCall::Owner { path };
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

/// Who maps their own id may not drop groups.
fn setgroups(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = with(stage, Map::Root)?;
    let path = "/proc/self/setgroups";
    let deny = words(inside.read(path)?);
    let answer = inside.perform(ProcessCall::DropGroups)?;
    Ok(Card::new(User, "setgroups")
        .inside(path, &deny)
        .call("INSIDE", ProcessCall::DropGroups, answer)
        .holds(deny == "deny" && answer == Err(Errno::EPERM)))
}
