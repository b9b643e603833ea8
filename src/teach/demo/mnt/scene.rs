//! What several cards and mistakes of mnt stand on. All of it is built on a tmpfs in a mount namespace that ends with
//! its process, so nothing is made outside.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::feature::Feature::Mnt;
use crate::observe::mountinfo::{self, Mount};
use crate::plan::call::mount::{MountCall, Propagation};
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::{DemoCall, PathCall};
use crate::teach::demo::Stage;

/// A file of the tree around the jail: who can read it has got out.
pub(crate) const CANARY: &str = "/tmp/canary";
/// What the canary says.
const SONG: &str = "the outer tree";
/// The directory that becomes a root.
const JAIL: &str = "/tmp/jail";
/// The mount table.
pub(crate) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A process in a mount namespace whose /tmp holds the canary and the jail: a tmpfs, since pivot_root(2) wants a mount
/// point, with a /proc to look through (bound: without a pid namespace of its own a user can't mount one).
pub(crate) fn jail(stage: &mut Stage<'_>) -> Result<Agent> {
    let agent = stage.start(&Spec::of(Mnt), Mnt)?;
    build(
        &agent,
        &[
            tmpfs("/tmp"),
            PathCall::Create { path: CANARY.into(), content: SONG.into() }.into(),
            directory(JAIL),
            tmpfs(JAIL),
            directory(&format!("{JAIL}/proc")),
            MountCall::Bind { source: "/proc".into(), target: format!("{JAIL}/proc") }.into(),
        ],
    )?;
    Ok(agent)
}

/// Into the jail by chroot(2), the working directory with it.
pub(crate) fn by_chroot() -> [DemoCall; 2] {
    [PathCall::Chroot { root: JAIL.into() }.into(), enter("/")]
}

/// Into the jail by pivot_root(2), the old root detached.
pub(crate) fn by_pivot() -> [DemoCall; 4] {
    let pivot = MountCall::PivotRoot { new_root: ".".into(), put_old: ".".into() };
    [enter(JAIL), pivot.into(), MountCall::Detach { target: ".".into() }.into(), enter("/")]
}

/// The classic way out of a chroot: a second chroot leaves the working directory outside of the new root, and `..` is
/// stopped by the process's own root only. chroot(2), NOTES
pub(crate) fn escape() -> [DemoCall; 4] {
    let chroot = |root: &str| DemoCall::from(PathCall::Chroot { root: root.into() });
    [directory("/way"), chroot("/way"), enter("../../.."), chroot(".")]
}

/// Whether the canary can be read, and what it says then.
pub(crate) fn canary(agent: &Agent) -> Result<std::result::Result<String, Errno>> {
    agent.read(CANARY)
}

/// Whether that was the canary itself.
pub(crate) fn sings(read: &std::result::Result<String, Errno>) -> bool {
    read.as_deref() == Ok(SONG)
}

/// Two mount namespaces: the second is a copy of the first, made while /tmp was a shared tmpfs with the directories `a` and
/// `b` in it; `mode` is what the second does to its copy.
pub(crate) fn pair(stage: &mut Stage<'_>, mode: Propagation) -> Result<(Agent, Agent)> {
    let first = stage.start(&Spec::of(Mnt), Mnt)?;
    build(
        &first,
        &[tmpfs("/tmp"), propagation(Propagation::Shared), directory("/tmp/a"), directory("/tmp/b")],
    )?;
    let second = match first.spawn(&[Mnt])? {
        Ok((second, _)) => second,
        Err(errno) => return Err(Error::failed("mnt").call("clone3({flags=CLONE_NEWNS})", errno)),
    };
    if mode != Propagation::Unchanged {
        build(&second, &[propagation(mode)])?;
    }
    Ok((first, second))
}

/// How mounts below /tmp propagate.
pub(crate) fn propagation(mode: Propagation) -> DemoCall {
    MountCall::Propagation { target: "/tmp".into(), mode }.into()
}

/// An empty filesystem in memory.
pub(crate) fn tmpfs(target: &str) -> DemoCall {
    MountCall::Filesystem { kind: "tmpfs".into(), target: target.into(), data: None }.into()
}

fn directory(path: &str) -> DemoCall {
    PathCall::MakeDirectory { path: path.into() }.into()
}

fn enter(path: &str) -> DemoCall {
    MountCall::Chdir { path: path.into() }.into()
}

/// Makes calls that must succeed, since what they build isn't what is shown.
pub(crate) fn build(agent: &Agent, calls: &[DemoCall]) -> Result<()> {
    for call in calls {
        if let Err(errno) = agent.perform(call.clone())? {
            return Err(Error::failed("mnt").call(call, errno));
        }
    }
    Ok(())
}

/// Makes calls in a row, whatever they give: the calls as one line, and the answers.
pub(crate) fn row(agent: &Agent, calls: &[DemoCall]) -> Result<(String, Vec<Answer>)> {
    let answers = calls.iter().map(|call| agent.perform(call.clone())).collect::<Result<Vec<Answer>>>()?;
    let line = calls.iter().map(DemoCall::to_string).collect::<Vec<_>>().join("; ");
    Ok((line, answers))
}

/// The answers to a row: `0, 0, -1 EPERM`.
pub(crate) fn answers(row: &[Answer]) -> String {
    let words = row.iter().map(|answer| match answer {
        Ok(result) => result.to_string(),
        Err(errno) => format!("-1 {errno:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A mount table as a process reads it, each line without what is numbered anew in each namespace: the ids and the
/// propagation tags. proc_pid_mountinfo(5)
///
/// Left out as well: mounts that keep a mount namespace alive. The kernel doesn't copy these (one that held itself
/// would never end), so on machines with such mounts the copy is shorter. copy_tree() in fs/namespace.c
pub(crate) fn table(agent: &Agent) -> Result<Vec<TableRow>> {
    let table = agent.read(MOUNTINFO)?.unwrap_or_default();
    let keeps_a_namespace = |mount: &Mount<'_>| mount.root.as_os_str().as_bytes().starts_with(b"mnt:[");
    let mounts = mountinfo::mounts(table.as_bytes()).filter(|mount| !keeps_a_namespace(mount));
    Ok(mounts.map(|mount| TableRow::of(&mount)).collect())
}

/// A mount as [`table`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableRow {
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    device: (u64, u64),
    root: PathBuf,
    options: String,
    /// The type, the source and the options of the file system.
    filesystem: [OsString; 3],
}

impl TableRow {
    fn of(mount: &Mount<'_>) -> TableRow {
        TableRow {
            point: mount.mount_point.to_path_buf(),
            device: mount.device,
            root: mount.root.to_path_buf(),
            options: mount.options.to_string(),
            filesystem: [&mount.filesystem, &mount.source, &mount.super_options]
                .map(|text| text.to_os_string()),
        }
    }
}

/// The lines of one table that another hasn't.
pub(crate) fn new_in<T: Clone + PartialEq>(own: &[T], other: &[T]) -> Vec<T> {
    let mut other = other.to_vec();
    let mut new = Vec::new();
    for line in own {
        match other.iter().position(|known| known == line) {
            Some(at) => drop(other.swap_remove(at)),
            None => new.push(line.clone()),
        }
    }
    new
}

/// What is mounted at a place and how that propagates: `tmpfs shared:41`, `tmpfs private`, `(no mount)`.
pub(crate) fn mounted(agent: &Agent, place: &str) -> Result<String> {
    let table = agent.read(MOUNTINFO)?.unwrap_or_default();
    let on_top = mountinfo::mounts(table.as_bytes()).rev().find(|mount| mount.is_on(place));
    Ok(on_top.map_or(NOTHING.into(), |mount| {
        format!("{} {}", mount.filesystem.to_string_lossy(), mount.propagation_text())
    }))
}

/// What [`mounted`] says of a place that is no mount point.
pub(crate) const NOTHING: &str = "(no mount)";
