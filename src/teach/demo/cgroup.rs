//! Demonstrations of the cgroup namespace: it hides where in the cgroup hierarchy a process is.
//!
//! A process in a new cgroup namespace sees its own cgroup as `/`. Its limits do not change.
//! No cgroup is made here. The cards use the cgroups that the caller is in already, of version 1, 2 or both.

use std::path::{Path, PathBuf};

use super::{Card, CardEntry, Stage, one_line};
use crate::error::Result;
use crate::feature::Feature::Cgroup;
use crate::observe::hierarchy::{Hierarchy, Version, cgroup_lines, hierarchies};
use crate::observe::{file, mountinfo};
use crate::teach::agent::Agent;
use crate::text::printed;
use crate::value::shell::quote;

pub(super) const CARDS: &[CardEntry] =
    &[("link", link), ("path", path), ("mount", mount), ("limits", limits)];

const LINK: &str = "/proc/self/ns/cgroup";
const MEMBERSHIP: &str = "/proc/self/cgroup";
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Files that hold a limit, those of cgroup v2 first. The first that exists is used: its value must be the same inside.
const LIMITS: [&str; 7] = [
    "memory.max",
    "memory.limit_in_bytes",
    "pids.max",
    "cpu.max",
    "cpu.shares",
    "cpuset.cpus.effective",
    "cpuset.cpus",
];

/// The link /proc/self/ns/cgroup names another namespace.
fn link(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Cgroup, "link");
    let Some((outside, inside)) = outside_and_inside(stage)? else {
        return Ok(card.skip("cgroup.skip.kernel"));
    };
    let links = (one_line(outside.link(LINK)?), one_line(inside.link(LINK)?));
    Ok(card.outside(LINK, &links.0).inside(LINK, &links.1).holds(links.0 != links.1))
}

/// The caller's cgroup becomes `/`.
fn path(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Cgroup, "path");
    let Some((outside, inside)) = outside_and_inside(stage)? else {
        return Ok(card.skip("cgroup.skip.kernel"));
    };
    let (outer, inner) = (memberships(&outside)?, memberships(&inside)?);
    let hidden = outer.iter().find(|own| own.path != "/");
    // If the caller is in the root cgroup of every hierarchy, nothing can be hidden. The first line is shown then; it
    // is the line of cgroup v2 if there is one.
    let Some(own) = hidden.or(outer.first()) else { return Ok(card.skip("cgroup.skip.none")) };
    let Some(same) = inner.iter().find(|other| other.hierarchy == own.hierarchy) else {
        return Ok(card.skip("cgroup.skip.none"));
    };
    let card = card
        .outside(format!("{MEMBERSHIP}, {}", own.hierarchy), &own.path)
        .inside(format!("{MEMBERSHIP}, {}", same.hierarchy), &same.path)
        .with("line", &own.hierarchy);
    if hidden.is_none() {
        return Ok(card.skip("cgroup.skip.top"));
    }
    Ok(card.holds(inner.iter().all(|other| other.path == "/")))
}

/// For a cgroup mount made before, mountinfo shows its root relative to the root of the new cgroup namespace: `/..`.
fn mount(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Cgroup, "mount");
    let Some((outside, inside)) = outside_and_inside(stage)? else {
        return Ok(card.skip("cgroup.skip.kernel"));
    };
    let (outer, inner) = (mounted(&outside)?, mounted(&inside)?);
    let differs = outer.iter().find_map(|own| {
        let same = inner.iter().find(|other| other.point == own.point)?;
        (same.root != own.root).then_some((own, same))
    });
    if let Some((own, same)) = differs {
        return Ok(card
            .outside(format!("{MOUNTINFO}, root of {}", own.hierarchy()), &own.root)
            .inside(format!("{MOUNTINFO}, root of {}", same.hierarchy()), &same.root)
            .with("point", own.point.display())
            .holds(same.root.starts_with("/..")));
    }
    match (outer.first(), inner.first()) {
        (Some(own), Some(same)) => Ok(card
            .outside(format!("{MOUNTINFO}, root of {}", own.hierarchy()), &own.root)
            .inside(format!("{MOUNTINFO}, root of {}", same.hierarchy()), &same.root)
            .skip("cgroup.skip.top")),
        _ => Ok(card.skip("cgroup.skip.unmounted")),
    }
}

/// The process inside is in the same cgroup and has the same limits.
fn limits(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Cgroup, "limits");
    let Some((outside, inside)) = outside_and_inside(stage)? else {
        return Ok(card.skip("cgroup.skip.kernel"));
    };
    let directories = directories();
    let mut files =
        directories.iter().flat_map(|directory| LIMITS.map(|name| (directory, directory.join(name))));
    let found = files.find_map(|(directory, file)| {
        let limit = outside.read(&file).ok()?.ok()?;
        Some((directory, file, one_line(Ok(limit))))
    });
    let Some((directory, file, limit)) = found else { return Ok(card.skip("cgroup.skip.nolimit")) };
    let again = one_line(inside.read(&file)?);
    // cgroup.procs still lists the process inside as a member of the same cgroup.
    let procs = directory.join("cgroup.procs");
    let members = outside.read(&procs)?.unwrap_or_default();
    let is_member = members.lines().any(|member| member == inside.pid().to_string());
    let member = if is_member { format!("pid {} (INSIDE)", inside.pid()) } else { "(not there)".into() };
    let holds = limit == again && is_member;
    Ok(card
        .outside(short(&file), limit)
        .inside(short(&file), again)
        .outside(short(&procs), member)
        .with("file", quote(&file))
        .holds(holds))
}

/// Starts a process on each side. None if the kernel has no cgroup namespaces: before Linux 4.6, or without
/// CONFIG_CGROUPS.
fn outside_and_inside(stage: &mut Stage<'_>) -> Result<Option<(Agent, Agent)>> {
    let outside = stage.outside(Cgroup)?;
    if outside.link(LINK)?.is_err() {
        return Ok(None);
    }
    let inside = stage.inside(Cgroup)?;
    Ok(Some((outside, inside)))
}

/// A line of /proc/self/cgroup. cgroups(7)
struct Membership {
    /// `0:` for cgroup v2; the hierarchy ID and the controllers for cgroup v1.
    hierarchy: String,
    path: String,
}

/// The lines of /proc/self/cgroup, the one of cgroup v2 first.
fn memberships(agent: &Agent) -> Result<Vec<Membership>> {
    let content = agent.read(MEMBERSHIP)?.unwrap_or_default();
    let mut all: Vec<Membership> = cgroup_lines(content.as_bytes())
        .map(|line| Membership {
            hierarchy: format!("{}:{}", line.id, line.controllers),
            path: file::path_text(line.path),
        })
        .collect();
    all.sort_by_key(|own| own.hierarchy != "0:");
    Ok(all)
}

/// A mount of a cgroup hierarchy.
struct Mounted {
    root: String,
    point: PathBuf,
    /// The filesystem type: `cgroup2`, or `cgroup` for version 1.
    kind: String,
    /// The options of the filesystem. For cgroup v1 they name its controllers.
    options: String,
}

impl Mounted {
    fn hierarchy(&self) -> String {
        if self.kind == "cgroup2" {
            return self.kind.clone();
        }
        let controllers = self.options.split(',').filter(|option| !matches!(*option, "rw" | "ro" | "xattr"));
        format!("cgroup {}", controllers.collect::<Vec<_>>().join(","))
    }
}

/// The mounts of cgroup hierarchies in the agent's mount table. proc_pid_mountinfo(5)
fn mounted(agent: &Agent) -> Result<Vec<Mounted>> {
    let table = agent.read(MOUNTINFO)?.unwrap_or_default();
    let mounts = mountinfo::mounts(table.as_bytes()).filter_map(|mount| {
        let kind = mount.filesystem.to_str().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
        Some(Mounted {
            root: file::path_text(&mount.root),
            point: mount.mount_point.to_path_buf(),
            kind: kind.to_owned(),
            options: printed(&mount.super_options),
        })
    });
    Ok(mounts.collect())
}

/// The directories of the caller's own cgroups that are below a mount point. The one of cgroup v2 is first.
fn directories() -> Vec<PathBuf> {
    let mut hierarchies = hierarchies("/proc/self");
    hierarchies.sort_by_key(|hierarchy| hierarchy.version != Version::V2);
    hierarchies.iter().filter_map(Hierarchy::own).collect()
}

/// Shortens a long path so that it fits on a line: its first components and the file name stay.
fn short(path: &Path) -> String {
    const MAX_CHARACTERS: usize = 44;
    let full = printed(path);
    if full.chars().count() <= MAX_CHARACTERS {
        return full;
    }
    let name = printed(path.file_name().unwrap_or_default());
    let beginning: PathBuf = path.iter().take(4).collect();
    format!("{}/.../{name}", printed(&beginning))
}
