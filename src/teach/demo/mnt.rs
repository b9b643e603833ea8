//! What the mnt namespace shows.

pub(crate) mod scene;

use std::path::Path;

use nix::errno::Errno;

use self::scene::{CANARY, MOUNTINFO, NOTHING};
use super::{Card, CardEntry, Stage, words};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Mnt;
use crate::plan::call::mount::Propagation;
use crate::teach::agent::Agent;
use crate::teach::call::PathCall;

pub(super) const CARDS: &[CardEntry] = &[
    ("copy", copy),
    ("mount", mount),
    ("files", files),
    ("chroot", chroot),
    ("escape", escape),
    ("pivot", pivot),
    ("shared", shared),
    ("slave", slave),
    ("private", private),
];

const LINK: &str = "/proc/self/ns/mnt";
const MOUNTS: &str = "/proc/self/mounts";

/// A new namespace begins with a copy: only the link tells it apart.
fn copy(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = Spec::of(Mnt);
    if let Some(mnt) = &mut spec.mnt {
        // Not even the propagation is changed: what is seen is the kernel's copy.
        mnt.propagation = Propagation::Unchanged;
    }
    let outside = stage.outside(Mnt)?;
    let inside = stage.start(&spec, Mnt)?;
    let links = (words(outside.link(LINK)?), words(inside.link(LINK)?));
    let tables = (scene::table(&outside)?, scene::table(&inside)?);
    let new = scene::new_in(&tables.1, &tables.0).len();
    Ok(Card::new(Mnt, "copy")
        .outside(LINK, &links.0)
        .inside(LINK, &links.1)
        .outside(MOUNTINFO, format!("{} mounts", tables.0.len()))
        .inside(MOUNTINFO, format!("{} mounts, {new} new", tables.1.len()))
        .holds(links.0 != links.1 && new == 0 && tables.0.len() == tables.1.len() && !tables.1.is_empty()))
}

/// A mount inside changes the inner table alone. Mounts that the user's flags ask for are in it too.
fn mount(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = stage.spec.clone();
    if let Some(mnt) = &mut spec.mnt {
        // In another root there need be neither /tmp nor /proc.
        mnt.root = None;
    }
    let outside = stage.outside(Mnt)?;
    let before = lines(&outside)?;
    let inside = stage.start(&spec, Mnt)?;
    let call = scene::tmpfs("/tmp");
    let answer = inside.perform(call.clone())?;
    let (inner, after) = (lines(&inside)?, lines(&outside)?);
    let new = scene::new_in(&inner, &before);
    let new_points: Vec<&str> = new.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    let outer_new = scene::new_in(&after, &before).len();
    Ok(Card::new(Mnt, "mount")
        .call("INSIDE", call, answer)
        .inside(MOUNTS, format!("{} mounts, {} new: {}", inner.len(), new.len(), new_points.join(" ")))
        .outside(MOUNTS, format!("{} mounts, {outer_new} new", after.len()))
        .holds(answer.is_ok() && new_points.contains(&"/tmp") && outer_new == 0))
}

/// The lines of /proc/self/mounts, which has no ids. Mounts that keep a mount namespace aren't copied: see
/// [`scene::table`].
fn lines(agent: &Agent) -> Result<Vec<String>> {
    let mounts = agent.read(MOUNTS)?.unwrap_or_default();
    Ok(mounts.lines().filter(|line| line.split(' ').nth(2) != Some("nsfs")).map(str::to_owned).collect())
}

/// Other mounts, other files.
fn files(stage: &mut Stage<'_>) -> Result<Card> {
    let path = format!("/tmp/{}", stage.unique("mnt"));
    let outside = stage.outside(Mnt)?;
    let inside = stage.start(&Spec::of(Mnt), Mnt)?;
    scene::build(&inside, &[scene::tmpfs("/tmp")])?;
    let create = PathCall::Create { path: path.clone(), content: "hello".into() };
    let answer = inside.perform(create.clone())?;
    let seen = (outside.read(&path)?, inside.read(&path)?);
    let holds = seen == (Err(Errno::ENOENT), Ok("hello".into()));
    Ok(Card::new(Mnt, "files")
        .call("INSIDE", create, answer)
        .inside(&path, words(seen.1))
        .outside(&path, words(seen.0))
        .holds(holds))
}

/// A chroot filters what is shown; it makes no namespace.
fn chroot(stage: &mut Stage<'_>) -> Result<Card> {
    let free = scene::jail(stage)?;
    let Ok((jailed, _)) = free.spawn(&[])? else { return Ok(Card::new(Mnt, "chroot").skip("mnt.skip.fork")) };
    scene::build(&jailed, &scene::by_chroot())?;
    let links = (words(free.link(LINK)?), words(jailed.link(LINK)?));
    let tables = (lines(&free)?, lines(&jailed)?);
    Ok(Card::new(Mnt, "chroot")
        .inside(MOUNTS, format!("{} mounts", tables.0.len()))
        .seen("CHROOT", MOUNTS, format!("{} mounts", tables.1.len()))
        .inside(LINK, &links.0)
        .seen("CHROOT", LINK, &links.1)
        .holds(links.0 == links.1 && !tables.1.is_empty() && tables.1.len() < tables.0.len()))
}

/// And root gets out of it.
fn escape(stage: &mut Stage<'_>) -> Result<Card> {
    let agent = scene::jail(stage)?;
    scene::build(&agent, &scene::by_chroot())?;
    let before = scene::canary(&agent)?;
    let (calls, answers) = scene::row(&agent, &scene::escape())?;
    let after = scene::canary(&agent)?;
    let holds = before == Err(Errno::ENOENT) && scene::sings(&after);
    Ok(Card::new(Mnt, "escape")
        .seen("CHROOT", CANARY, words(before))
        .seen("CHROOT", calls, scene::answers(&answers))
        .seen("CHROOT", CANARY, words(after))
        .holds(holds))
}

/// pivot_root takes the old root out of the table: the same way leads nowhere.
fn pivot(stage: &mut Stage<'_>) -> Result<Card> {
    let agent = scene::jail(stage)?;
    let [enter, pivot, detach, home] = scene::by_pivot();
    scene::build(&agent, &[enter])?;
    let old = scene::table(&agent)?;
    let (calls, made) = scene::row(&agent, &[pivot, detach])?;
    if made.first() == Some(&Err(Errno::EINVAL)) {
        return Ok(Card::new(Mnt, "pivot")
            .seen("INSIDE", calls, scene::answers(&made))
            .skip("mnt.skip.pivot"));
    }
    scene::build(&agent, &[home])?;
    let table = scene::table(&agent)?;
    let (_, answers) = scene::row(&agent, &scene::escape())?;
    let after = scene::canary(&agent)?;
    // Of the old table nothing is left but what the jail itself holds: its root and what lies below its /proc.
    let is_own = |point: &Path| point == Path::new("/") || point.starts_with("/proc");
    let only_own = !table.is_empty() && table.iter().all(|row| is_own(&row.point));
    let holds = made.iter().chain(&answers).all(std::result::Result::is_ok)
        && only_own
        && table.len() < old.len()
        && after == Err(Errno::ENOENT);
    Ok(Card::new(Mnt, "pivot")
        .inside(calls, scene::answers(&made))
        .inside(MOUNTINFO, format!("{} mounts before, {} mounts now", old.len(), table.len()))
        .inside("mkdir; chroot; chdir(\"../../..\"); chroot(\".\")", scene::answers(&answers))
        .inside(CANARY, words(after))
        .holds(holds))
}

/// A shared mount and its copy are peers: a mount below one shows below the other.
fn shared(stage: &mut Stage<'_>) -> Result<Card> {
    let (first, second) = scene::pair(stage, Propagation::Unchanged)?;
    let tags = (scene::mounted(&first, "/tmp")?, scene::mounted(&second, "/tmp")?);
    let call = scene::tmpfs("/tmp/b");
    let answer = second.perform(call.clone())?;
    let appeared = scene::mounted(&first, "/tmp/b")?;
    Ok(Card::new(Mnt, "shared")
        .seen("INSIDE 1", at("/tmp"), &tags.0)
        .seen("INSIDE 2", at("/tmp"), &tags.1)
        .call("INSIDE 2", call, answer)
        .seen("INSIDE 1", at("/tmp/b"), &appeared)
        .holds(tags.0 == tags.1 && tags.0.contains("shared:") && answer.is_ok() && appeared != NOTHING))
}

/// A slave hears, and isn't heard.
fn slave(stage: &mut Stage<'_>) -> Result<Card> {
    let exchange = Exchange::make(stage, Propagation::Slave)?;
    let master = exchange.tags.0.strip_prefix("tmpfs shared:").map(|group| format!("tmpfs master:{group}"));
    let holds =
        master.as_ref() == Some(&exchange.tags.1) && exchange.heard != NOTHING && exchange.told == NOTHING;
    Ok(exchange.card("slave").holds(holds))
}

/// A private copy neither hears nor is heard.
fn private(stage: &mut Stage<'_>) -> Result<Card> {
    let exchange = Exchange::make(stage, Propagation::Private)?;
    let holds = exchange.tags.1 == "tmpfs private" && exchange.heard == NOTHING && exchange.told == NOTHING;
    Ok(exchange.card("private").holds(holds))
}

/// What two namespaces see of each other's mounts: 1 mounts /tmp/a, 2 mounts /tmp/b.
struct Exchange {
    tags: (String, String),
    /// What 2 sees of /tmp/a.
    heard: String,
    /// What 1 sees of /tmp/b.
    told: String,
}

impl Exchange {
    fn make(stage: &mut Stage<'_>, mode: Propagation) -> Result<Exchange> {
        let (first, second) = scene::pair(stage, mode)?;
        let tags = (scene::mounted(&first, "/tmp")?, scene::mounted(&second, "/tmp")?);
        scene::build(&first, &[scene::tmpfs("/tmp/a")])?;
        scene::build(&second, &[scene::tmpfs("/tmp/b")])?;
        let (heard, told) = (scene::mounted(&second, "/tmp/a")?, scene::mounted(&first, "/tmp/b")?);
        Ok(Exchange { tags, heard, told })
    }

    fn card(&self, name: &'static str) -> Card {
        Card::new(Mnt, name)
            .seen("INSIDE 1", at("/tmp"), &self.tags.0)
            .seen("INSIDE 2", at("/tmp"), &self.tags.1)
            .seen("INSIDE 2", at("/tmp/a"), &self.heard)
            .seen("INSIDE 1", at("/tmp/b"), &self.told)
    }
}

fn at(place: &str) -> String {
    format!("{MOUNTINFO}, {place}")
}
