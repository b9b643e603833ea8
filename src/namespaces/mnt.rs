//! The mount namespace: the mount table.
//!
//! # What it is
//!
//! A mount namespace has its own mount table: the list of filesystems and of the directories on which they are
//! mounted. A new one starts with a copy of the caller's table, so at first nothing looks different.
//!
//! A mount can be *shared*: then the kernel repeats a mount below it in all its copies, also in other namespaces.
//! systemd makes every mount shared at boot. `sandbox` therefore first makes the copied mounts private (mount
//! propagation).
//!
//! # Why one wants it
//!
//! A container gets other files than the host: its own root filesystem, /proc and /tmp. Its mounts do not appear on
//! the host, and the kernel removes them when the last process has left the namespace.
//!
//! chroot(2) is not enough. It changes where the paths of a process begin, but the old root stays in the mount table,
//! and root can get back to it. pivot_root(2) exchanges the root of the table itself, and the old root can then be
//! unmounted.
//!
//! # The calls
//!
//! - clone3(2) or unshare(2) with CLONE_NEWNS makes the namespace, which needs CAP_SYS_ADMIN.
//! - mount(2) changes the propagation, and mounts a filesystem or a directory.
//! - pivot_root(2) and umount2(2) replace the root.
//!
//! # What changes in /proc
//!
//! `/proc/self/mountinfo` and `/proc/self/mounts` list the mount table of the namespace. They are equal right after the
//! clone, and differ after the first mount.
//!
//! mount_namespaces(7), pivot_root(2)

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::host::resolver::{Resolved, Resolver};
use crate::observe::{Observation, proc};
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::{printed, text, text_of_options};
use crate::value::bytes;
use crate::value::join::JoinTarget;
use crate::value::mount::{self, ExtraMount};
use crate::value::units::Size;

/// Options of the mount namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Mnt {
    /// host (your own). Another mount namespace cannot be joined: the mounts of the container would be in it too
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"host")]
    pub join: Option<JoinTarget>,
    /// Propagation type of the copied mounts
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub propagation: Propagation,
    /// Mount an empty tmpfs at PATH, like docker's --tmpfs (may be repeated)
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "bytes::list::serialize")]
    #[schemars(example = ["/mnt"])]
    pub tmpfs: Vec<PathBuf>,
    /// Bind-mount SRC at DST, like docker's -v (may be repeated)
    #[arg(long, short = 'v', visible_alias = "volume", value_name = "SRC:DST", value_parser = OsStringValueParser::new().try_map(Bind::read))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = [Bind { source: "/var".into(), target: "/mnt".into() }])]
    pub bind: Vec<Bind>,
    /// Make DIR the root directory, by pivot_root(2)
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bytes::option::serialize")]
    #[schemars(example = &"./rootfs")]
    pub root: Option<PathBuf>,
    /// Whether the root filesystem is read-only
    #[arg(skip)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
    /// More mounts, made in this order; the type is `bind` or `tmpfs`
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = [ExtraMount::tmpfs("/tmp", Size(16 << 20))])]
    pub mounts: Vec<ExtraMount>,
}

/// `SRC:DST`: a bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The file or directory to bind.
    #[serde(serialize_with = "bytes::serialize")]
    pub source: PathBuf,
    /// The mount point.
    #[serde(serialize_with = "bytes::serialize")]
    pub target: PathBuf,
}

impl Bind {
    /// Reads the value of a flag.
    fn read(argument: OsString) -> Result<Self, String> {
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        match argument.as_bytes().split(|byte| *byte == b':').collect::<Vec<_>>()[..] {
            [_, _, _, ..] => Err(text("mnt.bind.options")),
            [source, target] if !source.is_empty() && target.starts_with(b"/") => {
                Ok(Bind { source: path(source), target: path(target) })
            }
            _ => Err(text("mnt.bind.form")),
        }
    }
}

impl Mnt {
    /// The steps: propagation first, then mounts, then the root.
    ///
    /// This plan reads the machine while it is made, but only the paths that the options name. All other facts
    /// were gathered by `host` before.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        if context.joins(Feature::Mnt) {
            return;
        }
        self.plan_table(draft);
        // `rootfs` makes these mounts itself, in the new root.
        if context.has_rootfs {
            return;
        }
        let mut tree = Resolver::new(self.root.as_deref());
        for bind in &self.bind {
            let place = tree.resolve(&bind.target);
            self.check(draft, &bind.target, &place, Some(&bind.source));
            tree.bind(&place, &bind.source);
            let call = MountCall::Bind { source: bind.source.clone(), target: self.outer(&place) };
            draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, call, "mnt.bind.why");
        }
        for target in &self.tmpfs {
            let place = tree.resolve(target);
            self.check(draft, target, &place, None);
            tree.empty(&place);
            let data = Some("size=64m".into());
            let call = MountCall::Filesystem { kind: "tmpfs".into(), target: self.outer(&place), data };
            draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, call, "mnt.tmpfs.why");
        }
        for bind in self.bind.iter().filter(|bind| tree.resolve(&bind.target).host.is_none()) {
            let what = format!("a bind on {}", printed(&bind.target));
            refuse(draft, "bind", &what, "mnt.bind.covered", "mnt.bind.uncover");
        }
        match &self.root {
            Some(root) => self.plan_root(draft, root),
            None if tree.is_unchanged() => {}
            None => self.plan_directory(draft, &tree),
        }
    }

    /// Refuses to join a mount namespace: what a container mounts would be in the other one too.
    pub fn check_join(&self, draft: &mut Draft) {
        let Some(join) = &self.join else { return };
        if *join == JoinTarget::Host && *self == (Mnt { join: self.join.clone(), ..Mnt::default() }) {
            return;
        }
        let error = Error::failed(format!("join: {join}")).why(text("mnt.joined.reason"));
        draft.problem_of(Feature::Mnt, "join", error.todo(text("mnt.joined.todo")));
    }

    /// The new mount table and the propagation of its mounts.
    fn plan_table(&self, draft: &mut Draft) {
        draft.isolate(Feature::Mnt);
        if self.propagation != Propagation::Unchanged {
            let call = MountCall::Propagation { target: "/".into(), mode: self.propagation };
            draft.step(Phase::Propagation, Actor::Child, Feature::Mnt, call, "mnt.propagation.why");
        }
    }

    /// All mounts in their order: those of the flags, then those of `mounts`.
    pub fn all(&self) -> Vec<ExtraMount> {
        let binds = self.bind.iter().cloned();
        let binds = binds.map(|Bind { source, target }| ExtraMount::bind(source, target, false));
        let empty = self.tmpfs.iter().cloned().map(|target| ExtraMount::tmpfs(target, mount::default_size()));
        binds.chain(empty).chain(self.mounts.iter().cloned()).collect()
    }

    /// What paths resolve to after the mounts of the flags: first the binds, in their order, then each tmpfs.
    pub fn resolver(&self) -> Resolver {
        let mut tree = Resolver::new(self.root.as_deref());
        for bind in &self.bind {
            tree.bind(&tree.resolve(&bind.target), &bind.source);
        }
        for target in &self.tmpfs {
            tree.empty(&tree.resolve(target));
        }
        tree
    }

    /// `pivot_root(".", ".")`, as its manual page describes it. It needs no directory for the old root: the kernel
    /// mounts the old root over the new one, and it is then unmounted.
    fn plan_root(&self, draft: &mut Draft, root: &Path) {
        if !root.is_dir() {
            refuse(draft, "root", &printed(root), "mnt.root.why", "mnt.root.todo");
        } else if self.propagation == Propagation::Shared {
            let what = draft.option_with(Feature::Mnt, "propagation", "shared");
            refuse(draft, "root", &what, "mnt.root.shared", "mnt.root.private");
        }
        let root = absolute(root);
        if root == Path::new("/") {
            refuse(draft, "root", "/", "mnt.root.same", "mnt.root.todo");
        }
        let mut step = |call, why| draft.step(Phase::Root, Actor::Child, Feature::Mnt, call, why);
        step(MountCall::Bind { source: root.clone(), target: root.clone() }, "mnt.rootbind.why");
        step(MountCall::Chdir { path: root }, "mnt.rootchdir.why");
        step(MountCall::PivotRoot { new_root: ".".into(), put_old: ".".into() }, "mnt.pivot.why");
        step(MountCall::Detach { target: ".".into() }, "mnt.detach.why");
        step(MountCall::Chdir { path: "/".into() }, "mnt.chdir.why");
    }

    /// A process keeps its working directory when something is mounted over it, and would go on to see the covered
    /// files. The child therefore changes to the path again, if the path is a directory after the mounts.
    fn plan_directory(&self, draft: &mut Draft, tree: &Resolver) {
        let Ok(directory) = std::env::current_dir() else { return };
        let place = tree.resolve(&directory);
        let is_covered = place.host.as_ref() != Some(&directory);
        let exists = match &place.host {
            Some(source) => source.is_dir(),
            None => {
                self.tmpfs.iter().any(|target| Resolver::default().resolve(target).container == directory)
            }
        };
        if is_covered && exists {
            let call = MountCall::Chdir { path: directory };
            draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, call, "mnt.directory.why");
        }
    }

    /// The path of a place in the container before pivot_root(2).
    fn outer(&self, place: &Resolved) -> PathBuf {
        match &self.root {
            None => place.container.clone(),
            Some(root) => absolute(root).join(place.container.strip_prefix("/").unwrap_or(&place.container)),
        }
    }

    /// Checks a mount before it is made. Source and target must exist, because `sandbox` would leave behind a target
    /// that it creates. Both must be directories, or neither.
    fn check(&self, draft: &mut Draft, target: &Path, place: &Resolved, source: Option<&Path>) {
        let key = if source.is_some() { "bind" } else { "tmpfs" };
        if let Some(source) = source
            && !source.exists()
        {
            let what = format!("{} does not exist", printed(source));
            return refuse(draft, key, &what, "mnt.bind.nosource", "mnt.missing.todo");
        }
        let shown = printed(target);
        if self.root.is_none() && place.container == Path::new("/") {
            return refuse(draft, key, &format!("a mount on {shown}"), "mnt.target.root", "mnt.root.instead");
        }
        let is_directory = source.is_none_or(Path::is_dir);
        match &place.host {
            Some(covered) if covered.exists() => {
                if covered.is_dir() != is_directory {
                    let kind = if is_directory { "mnt.target.file" } else { "mnt.target.directory" };
                    refuse(draft, key, &format!("a mount on {shown}"), kind, "mnt.target.todo");
                }
            }
            _ => {
                let side = if self.root.is_some() { " in the new root" } else { "" };
                refuse(
                    draft,
                    key,
                    &format!("{shown} does not exist{side}"),
                    "mnt.target.missing",
                    "mnt.missing.todo",
                );
            }
        }
    }
}

/// Adds a problem of an option to the plan.
fn refuse(draft: &mut Draft, key: &str, what: &str, why: &str, todo: &str) {
    let what = format!("{what} ({})", draft.option(Feature::Mnt, key));
    let todo = text_of_options(draft.are_flags(Feature::Mnt), todo);
    draft.problem_of(Feature::Mnt, key, Error::failed(what).why(text(why)).todo(todo));
}

/// The path from `/` on. The working directory does not change when something is mounted over it, so a relative path
/// would lead to the covered files.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::mounts(process),
        proc::propagation(process, "/"),
        proc::mount_lines(process),
        proc::link(&format!("{process}/root")),
        proc::link(&format!("{process}/cwd")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_has_two_paths_and_no_options() {
        let bind = Bind { source: "a".into(), target: "/b".into() };
        assert_eq!(Bind::read("a:/b".into()), Ok(bind));
        for wrong in ["a", "a:", ":/b", "a:b"] {
            assert_eq!(Bind::read(wrong.into()), Err(text("mnt.bind.form")), "{wrong}");
        }
        assert_eq!(Bind::read("a:/b:ro".into()), Err(text("mnt.bind.options")));
    }
}
