//! Shared by several cards and mistakes of the mnt namespace: a jail, two namespaces with a shared mount, and readers
//! of the mount table. All files are on a tmpfs in a new mount namespace. It ends with its process, so nothing stays
//! on the host.

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
use crate::text::printed;

/// A file outside of the jail. A process that can read it has escaped.
pub(crate) const CANARY: &str = "/tmp/canary";
/// The content of the canary.
const CANARY_TEXT: &str = "the outer tree";
/// The directory that becomes the new root.
const JAIL: &str = "/tmp/jail";
/// The mount table.
pub(crate) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Starts a process in a mount namespace whose /tmp has the canary and the jail. The jail is a tmpfs, because
/// pivot_root(2) requires a mount point. Its /proc is a bind mount: a user can mount a new /proc only in a new pid
/// namespace.
pub(crate) fn jail(stage: &mut Stage<'_>) -> Result<Agent> {
    let agent = stage.start(&Spec::of(Mnt), Mnt)?;
    build(
        &agent,
        &[
            tmpfs("/tmp"),
            PathCall::Create { path: CANARY.into(), content: CANARY_TEXT.into() }.into(),
            directory(JAIL),
            tmpfs(JAIL),
            directory(&format!("{JAIL}/proc")),
            MountCall::Bind { source: "/proc".into(), target: format!("{JAIL}/proc").into() }.into(),
        ],
    )?;
    Ok(agent)
}

/// Enters the jail by chroot(2), and makes it the working directory.
pub(crate) fn by_chroot() -> [DemoCall; 2] {
    [MountCall::Chroot { root: JAIL.into() }.into(), enter("/")]
}

/// Enters the jail by pivot_root(2), and detaches the old root.
pub(crate) fn by_pivot() -> [DemoCall; 4] {
    let pivot = MountCall::PivotRoot { new_root: ".".into(), put_old: ".".into() };
    [enter(JAIL), pivot.into(), MountCall::Detach { target: ".".into() }.into(), enter("/")]
}

/// The classic escape from a chroot. A second chroot(2) does not change the working directory, which is then outside
/// of the new root. `..` stops only at the process's own root, so it now leads to the real root. chroot(2), NOTES
pub(crate) fn escape() -> [DemoCall; 4] {
    let chroot = |root: &str| DemoCall::from(MountCall::Chroot { root: root.into() });
    [directory("/way"), chroot("/way"), enter("../../.."), chroot(".")]
}

/// Reads the canary.
pub(crate) fn canary(agent: &Agent) -> Result<std::result::Result<String, Errno>> {
    agent.read(CANARY)
}

/// Whether the text that was read is that of the canary.
pub(crate) fn is_canary(read: &std::result::Result<String, Errno>) -> bool {
    read.as_deref() == Ok(CANARY_TEXT)
}

/// Makes two mount namespaces. In the first, /tmp is a shared tmpfs with the directories `a` and `b`. The second is a
/// copy of the first; there /tmp then gets the propagation `mode`.
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

/// The call that sets the propagation of /tmp.
pub(crate) fn propagation(mode: Propagation) -> DemoCall {
    MountCall::Propagation { target: "/tmp".into(), mode }.into()
}

/// The call that mounts an empty tmpfs.
pub(crate) fn tmpfs(target: &str) -> DemoCall {
    MountCall::Filesystem { kind: "tmpfs".into(), target: target.into(), data: None }.into()
}

fn directory(path: &str) -> DemoCall {
    PathCall::MakeDirectory { path: path.into() }.into()
}

fn enter(path: &str) -> DemoCall {
    MountCall::Chdir { path: path.into() }.into()
}

/// Makes calls that must succeed: they prepare the demonstration and are not part of the evidence.
pub(crate) fn build(agent: &Agent, calls: &[DemoCall]) -> Result<()> {
    for call in calls {
        if let Err(errno) = agent.perform(call.clone())? {
            return Err(Error::failed("mnt").call(call, errno));
        }
    }
    Ok(())
}

/// Makes all calls, also after one failed. Returns the calls as one line, and the results.
pub(crate) fn perform_all(agent: &Agent, calls: &[DemoCall]) -> Result<(String, Vec<Answer>)> {
    let answers = calls.iter().map(|call| agent.perform(call.clone())).collect::<Result<Vec<Answer>>>()?;
    let line = calls.iter().map(DemoCall::to_string).collect::<Vec<_>>().join("; ");
    Ok((line, answers))
}

/// Several results on one line: `0, 0, -1 EPERM`.
pub(crate) fn answers(answers: &[Answer]) -> String {
    let texts = answers.iter().map(|answer| match answer {
        Ok(result) => result.to_string(),
        Err(errno) => format!("-1 {errno:?}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// The mount table of a process, without the mount IDs and the propagation tags: these differ in each namespace.
/// proc_pid_mountinfo(5)
///
/// Mounts that hold a reference to a mount namespace (nsfs) are left out as well. The kernel does not copy them,
/// because a namespace with a reference to itself would never end. See copy_tree() in fs/namespace.c.
pub(crate) fn table(agent: &Agent) -> Result<Vec<TableRow>> {
    let table = agent.read(MOUNTINFO)?.unwrap_or_default();
    let refers_to_a_namespace = |mount: &Mount<'_>| mount.root.as_os_str().as_bytes().starts_with(b"mnt:[");
    let mounts = mountinfo::mounts(table.as_bytes()).filter(|mount| !refers_to_a_namespace(mount));
    Ok(mounts.map(|mount| TableRow::of(&mount)).collect())
}

/// One mount of [`table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableRow {
    /// The mount point.
    pub(crate) point: PathBuf,
    device: (u64, u64),
    root: PathBuf,
    options: String,
    /// The type, the source and the options of the filesystem.
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

/// The lines of `own` that are not in `other`.
pub(crate) fn new_in<T: Clone + PartialEq>(own: &[T], other: &[T]) -> Vec<T> {
    let mut other = other.to_vec();
    let mut new = Vec::new();
    for line in own {
        match other.iter().position(|known| known == line) {
            Some(index) => drop(other.swap_remove(index)),
            None => new.push(line.clone()),
        }
    }
    new
}

/// The filesystem that is mounted on a path, and its propagation: `tmpfs shared:41`, `tmpfs private`, `(no mount)`.
pub(crate) fn mounted(agent: &Agent, path: &str) -> Result<String> {
    let table = agent.read(MOUNTINFO)?.unwrap_or_default();
    let on_top = mountinfo::mounts(table.as_bytes()).rev().find(|mount| mount.is_on(path));
    Ok(on_top.map_or(NO_MOUNT.into(), |mount| {
        format!("{} {}", printed(&mount.filesystem), mount.propagation_text())
    }))
}

/// What [`mounted`] returns for a path that is not a mount point.
pub(crate) const NO_MOUNT: &str = "(no mount)";
