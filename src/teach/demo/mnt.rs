//! Demonstrations of the mnt namespace: each namespace has its own table of mounts.
//!
//! A container needs its own mounts: another root filesystem, a new /proc, a new /tmp. A new namespace begins with a
//! copy of the caller's table. Propagation decides whether later mounts appear in the other copy. mount_namespaces(7)

pub(crate) mod scene;

use std::path::Path;

use nix::errno::Errno;

use self::scene::{CANARY, MOUNTINFO, NO_MOUNT};
use super::{Card, CardEntry, Stage, one_line};
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

/// A new namespace begins with a copy of the mount table. Only the link in /proc/self/ns differs.
fn copy(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = Spec::of(Mnt);
    if let Some(mnt) = &mut spec.mnt {
        // The propagation is not changed either, so the table is exactly the kernel's copy.
        mnt.propagation = Propagation::Unchanged;
    }
    let outside = stage.outside(Mnt)?;
    let inside = stage.start(&spec, Mnt)?;
    let links = (one_line(outside.link(LINK)?), one_line(inside.link(LINK)?));
    let tables = (scene::table(&outside)?, scene::table(&inside)?);
    let new = scene::new_in(&tables.1, &tables.0).len();
    Ok(Card::new(Mnt, "copy")
        .outside(LINK, &links.0)
        .inside(LINK, &links.1)
        .outside(MOUNTINFO, format!("{} mounts", tables.0.len()))
        .inside(MOUNTINFO, format!("{} mounts, {new} new", tables.1.len()))
        .holds(links.0 != links.1 && new == 0 && tables.0.len() == tables.1.len() && !tables.1.is_empty()))
}

/// A mount inside changes only the inner table. The inner table also has the mounts of the user's flags.
fn mount(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = stage.spec.clone();
    if let Some(mnt) = &mut spec.mnt {
        // Another root need not have /tmp or /proc.
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

/// The lines of /proc/self/mounts, which has no mount IDs. Mounts of nsfs are left out: see [`scene::table`].
fn lines(agent: &Agent) -> Result<Vec<String>> {
    let mounts = agent.read(MOUNTS)?.unwrap_or_default();
    Ok(mounts.lines().filter(|line| line.split(' ').nth(2) != Some("nsfs")).map(str::to_owned).collect())
}

/// The same path leads to another file where another filesystem is mounted.
fn files(stage: &mut Stage<'_>) -> Result<Card> {
    let path = format!("/tmp/{}", stage.unique("mnt"));
    let outside = stage.outside(Mnt)?;
    let inside = stage.start(&Spec::of(Mnt), Mnt)?;
    scene::build(&inside, &[scene::tmpfs("/tmp")])?;
    let create = PathCall::Create { path: path.clone().into(), content: "hello".into() };
    let answer = inside.perform(create.clone())?;
    let seen = (outside.read(&path)?, inside.read(&path)?);
    let holds = seen == (Err(Errno::ENOENT), Ok("hello".into()));
    Ok(Card::new(Mnt, "files")
        .call("INSIDE", create, answer)
        .inside(&path, one_line(seen.1))
        .outside(&path, one_line(seen.0))
        .holds(holds))
}

/// chroot(2) hides the mounts outside of the new root, but it creates no namespace.
fn chroot(stage: &mut Stage<'_>) -> Result<Card> {
    let free = scene::jail(stage)?;
    let Ok((jailed, _)) = free.spawn(&[])? else { return Ok(Card::new(Mnt, "chroot").skip("mnt.skip.fork")) };
    scene::build(&jailed, &scene::by_chroot())?;
    let links = (one_line(free.link(LINK)?), one_line(jailed.link(LINK)?));
    let tables = (lines(&free)?, lines(&jailed)?);
    Ok(Card::new(Mnt, "chroot")
        .inside(MOUNTS, format!("{} mounts", tables.0.len()))
        .seen("CHROOT", MOUNTS, format!("{} mounts", tables.1.len()))
        .inside(LINK, &links.0)
        .seen("CHROOT", LINK, &links.1)
        .holds(links.0 == links.1 && !tables.1.is_empty() && tables.1.len() < tables.0.len()))
}

/// A process with CAP_SYS_CHROOT can leave a chroot.
fn escape(stage: &mut Stage<'_>) -> Result<Card> {
    let agent = scene::jail(stage)?;
    scene::build(&agent, &scene::by_chroot())?;
    let before = scene::canary(&agent)?;
    let (calls, answers) = scene::perform_all(&agent, &scene::escape())?;
    let after = scene::canary(&agent)?;
    let holds = before == Err(Errno::ENOENT) && scene::is_canary(&after);
    Ok(Card::new(Mnt, "escape")
        .seen("CHROOT", CANARY, one_line(before))
        .seen("CHROOT", calls, scene::answers(&answers))
        .seen("CHROOT", CANARY, one_line(after))
        .holds(holds))
}

/// After pivot_root(2) the old root is unmounted and no longer in the table. The same escape does not work.
fn pivot(stage: &mut Stage<'_>) -> Result<Card> {
    let agent = scene::jail(stage)?;
    let [enter, pivot, detach, home] = scene::by_pivot();
    scene::build(&agent, &[enter])?;
    let old = scene::table(&agent)?;
    let (calls, made) = scene::perform_all(&agent, &[pivot, detach])?;
    if made.first() == Some(&Err(Errno::EINVAL)) {
        return Ok(Card::new(Mnt, "pivot")
            .seen("INSIDE", calls, scene::answers(&made))
            .skip("mnt.skip.pivot"));
    }
    scene::build(&agent, &[home])?;
    let table = scene::table(&agent)?;
    let (_, answers) = scene::perform_all(&agent, &scene::escape())?;
    let after = scene::canary(&agent)?;
    // Only the mounts of the jail itself are left: its root, and its /proc with the mounts below it.
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
        .inside(CANARY, one_line(after))
        .holds(holds))
}

/// A shared mount and its copy are peers. A mount below one of them appears below the other.
fn shared(stage: &mut Stage<'_>) -> Result<Card> {
    let (first, second) = scene::pair(stage, Propagation::Unchanged)?;
    let tags = (scene::mounted(&first, "/tmp")?, scene::mounted(&second, "/tmp")?);
    let call = scene::tmpfs("/tmp/b");
    let answer = second.perform(call.clone())?;
    let appeared = scene::mounted(&first, "/tmp/b")?;
    Ok(Card::new(Mnt, "shared")
        .seen("INSIDE 1", mountinfo_of("/tmp"), &tags.0)
        .seen("INSIDE 2", mountinfo_of("/tmp"), &tags.1)
        .call("INSIDE 2", call, answer)
        .seen("INSIDE 1", mountinfo_of("/tmp/b"), &appeared)
        .holds(tags.0 == tags.1 && tags.0.contains("shared:") && answer.is_ok() && appeared != NO_MOUNT))
}

/// A slave receives mounts from its master, but its own mounts do not appear there.
fn slave(stage: &mut Stage<'_>) -> Result<Card> {
    let result = PropagationResult::make(stage, Propagation::Slave)?;
    let master = result.tags.0.strip_prefix("tmpfs shared:").map(|group| format!("tmpfs master:{group}"));
    let holds = master.as_ref() == Some(&result.tags.1)
        && result.a_in_second != NO_MOUNT
        && result.b_in_first == NO_MOUNT;
    Ok(result.card("slave").holds(holds))
}

/// Mounts do not propagate to or from a private copy.
fn private(stage: &mut Stage<'_>) -> Result<Card> {
    let result = PropagationResult::make(stage, Propagation::Private)?;
    let holds =
        result.tags.1 == "tmpfs private" && result.a_in_second == NO_MOUNT && result.b_in_first == NO_MOUNT;
    Ok(result.card("private").holds(holds))
}

/// Namespace 1 mounts on /tmp/a, namespace 2 on /tmp/b. This is what each sees in the end.
struct PropagationResult {
    /// The propagation of /tmp in 1 and in 2.
    tags: (String, String),
    /// What 2 sees on /tmp/a.
    a_in_second: String,
    /// What 1 sees on /tmp/b.
    b_in_first: String,
}

impl PropagationResult {
    fn make(stage: &mut Stage<'_>, mode: Propagation) -> Result<PropagationResult> {
        let (first, second) = scene::pair(stage, mode)?;
        let tags = (scene::mounted(&first, "/tmp")?, scene::mounted(&second, "/tmp")?);
        scene::build(&first, &[scene::tmpfs("/tmp/a")])?;
        scene::build(&second, &[scene::tmpfs("/tmp/b")])?;
        let (a_in_second, b_in_first) =
            (scene::mounted(&second, "/tmp/a")?, scene::mounted(&first, "/tmp/b")?);
        Ok(PropagationResult { tags, a_in_second, b_in_first })
    }

    fn card(&self, name: &'static str) -> Card {
        Card::new(Mnt, name)
            .seen("INSIDE 1", mountinfo_of("/tmp"), &self.tags.0)
            .seen("INSIDE 2", mountinfo_of("/tmp"), &self.tags.1)
            .seen("INSIDE 2", mountinfo_of("/tmp/a"), &self.a_in_second)
            .seen("INSIDE 1", mountinfo_of("/tmp/b"), &self.b_in_first)
    }
}

fn mountinfo_of(path: &str) -> String {
    format!("{MOUNTINFO}, {path}")
}
