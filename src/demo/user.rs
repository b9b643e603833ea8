//! What the user namespace shows.

use nix::errno::Errno;

use super::{Card, Entry, Stage, words};
use crate::error::Result;
use crate::exec::agent::Agent;
use crate::feature::Feature::{User, Uts};
use crate::namespaces::user::{Map, Range, User as Wanted};
use crate::observe::proc::status_of;
use crate::plan::call::file::File;
use crate::plan::call::process::{Namespaces, Process};
use crate::plan::call::uts::Uts as Names;
use crate::plan::undo::Undo;
use crate::spec::Spec;

pub(super) const CARDS: &[Entry] = &[
    ("uid", uid),
    ("gid", gid),
    ("unmapped", unmapped),
    ("caps", caps),
    ("owner", owner),
    ("file", file),
    ("setgroups", setgroups),
];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// As the user's flags say; without any, root gets a range of other ids, since 0 mapped to 0 would show nothing.
fn mapped(stage: &mut Stage<'_>) -> Result<Agent> {
    let mut spec = stage.spec.clone();
    if stage.host.privileged && spec.user.as_ref().is_none_or(|user| *user == Wanted::default()) {
        let range = Range { inside: 0, outside: 1_500_000_000, count: 65_536 };
        spec.user = Some(Wanted { map: vec![Map::Range(range)], ..Wanted::default() });
    }
    stage.start(&spec, User)
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
    let first: Vec<&str> = seen.0.split(' ').collect();
    let holds = seen.0 == seen.1 && ids.0 != ids.1 && first.get(..2) == Some(&[&ids.0, &ids.1]);
    Ok(Card::new(User, name)
        .inside(&maps.0, &seen.0)
        .outside(&maps.1, &seen.1)
        .inside(format!("{own}, {line}:"), &ids.0)
        .outside(format!("{its}, {line}:"), &ids.1)
        .holds(holds))
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

/// Every capability, but over nothing that another user namespace owns. The name asked for is the one already set: were it
/// allowed, nothing would change.
fn caps(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let full = status(&inside, "/proc/self/status", "CapEff")?;
    let bounding = status(&inside, "/proc/self/status", "CapBnd")?;
    let name = words(outside.read(HOSTNAME)?);
    let set = Names::SetHostname(name);
    let answer = inside.perform(set.clone())?;
    Ok(Card::new(User, "caps")
        .inside("/proc/self/status, CapEff:", &full)
        .call("INSIDE", set, answer)
        .holds(full == bounding && answer == Err(Errno::EPERM)))
}

/// What is made inside belongs to the user namespace, and there its capabilities count.
fn owner(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let before = words(outside.read(HOSTNAME)?);
    let unshare = Process::Unshare { namespaces: Namespaces::of(&[Uts]) };
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
    let (outside, inside) = (stage.outside(User)?, mapped(stage)?);
    let path = format!("/tmp/{}", stage.unique("file"));
    let create = File::Create { path: path.clone(), content: "mine\n".into() };
    if stage.make_inside(&inside, create, Undo::RemoveFile { path: path.clone().into() })?.is_err() {
        return Ok(card.skip("user.notmp"));
    }
    let ids = status(&outside, &format!("/proc/{}/status", inside.pid()), "Uid")?;
    let stat = File::Owner { path };
    let owners = (outside.perform(stat.clone())?, inside.perform(stat.clone())?);
    let own = status(&inside, "/proc/self/status", "Uid")?;
    let is = |owner: super::Answer, id: &str| owner.is_ok_and(|owner| owner.to_string() == id);
    Ok(card
        .call("INSIDE", stat.clone(), owners.1)
        .call("OUTSIDE", stat, owners.0)
        .holds(is(owners.0, &ids) && is(owners.1, &own) && ids != own))
}

/// Who maps their own id may not drop groups.
fn setgroups(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = with(stage, Map::Root)?;
    let path = "/proc/self/setgroups";
    let deny = words(inside.read(path)?);
    let answer = inside.perform(Process::DropGroups)?;
    Ok(Card::new(User, "setgroups")
        .inside(path, &deny)
        .call("INSIDE", Process::DropGroups, answer)
        .holds(deny == "deny" && answer == Err(Errno::EPERM)))
}
