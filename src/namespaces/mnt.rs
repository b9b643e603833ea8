//! The mount namespace: a mount table of one's own.
//!
//! A new mount namespace starts as a copy of the caller's table, so at first nothing looks different. What is mounted
//! afterwards stays in it, provided that no mount is *shared*: a shared mount passes what is mounted below it on to
//! its copies. systemd makes every mount shared at boot, so the copy is made private first. A chroot(2) changes where
//! one process's paths begin and hides mounts from /proc/self/mounts, but makes no table; pivot_root(2) exchanges the
//! root of the table itself, and the old one can then be taken out of it. mount_namespaces(7), pivot_root(2)
//!
//! What you'll see: `/proc/self/mountinfo`, equal right after the clone, then one line apart.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::host::resolver::{Resolved, Resolver};
use crate::observe::{Observation, proc};
use crate::plan::call::mount::{MountCall, Propagation};
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::text;
use crate::value::mount::{self, ExtraMount};
use crate::value::units::Size;

/// Options of the mount namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Mnt {
    /// Propagation type of the copied mounts
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub propagation: Propagation,
    /// Mount an empty tmpfs at PATH, like docker's --tmpfs (may be repeated)
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["/mnt"])]
    pub tmpfs: Vec<PathBuf>,
    /// Bind-mount SRC at DST, like docker's -v (may be repeated)
    #[arg(long, short = 'v', visible_alias = "volume", value_name = "SRC:DST")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = [Bind { source: "/var".into(), target: "/mnt".into() }])]
    pub bind: Vec<Bind>,
    /// Make DIR the root directory, by pivot_root(2)
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"./rootfs")]
    pub root: Option<PathBuf>,
    /// Whether the root filesystem is read-only
    #[arg(skip)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
    /// More mounts, made in this order; the type is `bind` or `tmpfs`
    #[arg(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = [ExtraMount::Tmpfs { target: "/tmp".into(), size: Size(16 << 20) }])]
    pub mounts: Vec<ExtraMount>,
}

/// `SRC:DST`: a bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The file or directory to bind.
    pub source: PathBuf,
    /// The mount point.
    pub target: PathBuf,
}

impl std::str::FromStr for Bind {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        match words.split_once(':') {
            Some((_, target)) if target.contains(':') => Err(text("mnt.bind.options")),
            Some((source, target)) if !source.is_empty() && target.starts_with('/') => {
                Ok(Bind { source: source.into(), target: target.into() })
            }
            _ => Err(text("mnt.bind.form")),
        }
    }
}

impl Mnt {
    /// The steps: propagation first, then mounts, then the root.
    ///
    /// This is the one plan that looks at the machine: at the paths that it names, and only at them. Gathered beforehand as
    /// facts, as the rest is, they would have to be found by the same walk over the same flags.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        self.plan_table(draft);
        // A root file system of its own mounts them itself.
        if context.has_rootfs {
            return;
        }
        let mut tree = Resolver::new(self.root.as_deref());
        for bind in &self.bind {
            let place = tree.resolve(&bind.target);
            self.check(draft, &bind.target, &place, Some(&bind.source));
            tree.bind(&place, &bind.source);
            let call = MountCall::Bind { source: path(&bind.source), target: self.outer(&place) };
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
            let what = format!("a bind on {}", bind.target.display());
            refuse(draft, what, "mnt.bind.covered", "mnt.bind.uncover");
        }
        match &self.root {
            Some(root) => self.plan_root(draft, root),
            None if tree.is_unchanged() => {}
            None => self.plan_directory(draft, &tree),
        }
    }

    /// The table, before anything is mounted in it.
    fn plan_table(&self, draft: &mut Draft) {
        draft.isolate(Feature::Mnt);
        if self.propagation != Propagation::Unchanged {
            let call = MountCall::Propagation { target: "/".into(), mode: self.propagation };
            draft.step(Phase::Propagation, Actor::Child, Feature::Mnt, call, "mnt.propagation.why");
        }
    }

    /// All that is to be mounted: by the flags, then by `mounts`.
    pub fn all(&self) -> Vec<ExtraMount> {
        let binds = self.bind.iter().cloned();
        let binds = binds.map(|Bind { source, target }| ExtraMount::Bind { source, target, readonly: false });
        let empty = self
            .tmpfs
            .iter()
            .cloned()
            .map(|target| ExtraMount::Tmpfs { target, size: mount::default_size() });
        binds.chain(empty).chain(self.mounts.iter().cloned()).collect()
    }

    /// What paths resolve to with these flags: binds in their order, then every tmpfs.
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

    /// pivot_root(2) by the recipe of its manual page that needs no directory for the old root: it is stacked on the new
    /// one and then detached.
    fn plan_root(&self, draft: &mut Draft, root: &Path) {
        if !root.is_dir() {
            refuse(draft, format!("--root {}", root.display()), "mnt.root.why", "mnt.root.todo");
        } else if self.propagation == Propagation::Shared {
            refuse(draft, "--root, --propagation shared".into(), "mnt.root.shared", "mnt.root.private");
        }
        let root = path(&absolute(root));
        if root == "/" {
            refuse(draft, "--root /".into(), "mnt.root.same", "mnt.root.todo");
        }
        let mut step = |call, why| draft.step(Phase::Root, Actor::Child, Feature::Mnt, call, why);
        step(MountCall::Bind { source: root.clone(), target: root.clone() }, "mnt.rootbind.why");
        step(MountCall::Chdir { path: root }, "mnt.rootchdir.why");
        step(MountCall::PivotRoot { new_root: ".".into(), put_old: ".".into() }, "mnt.pivot.why");
        step(MountCall::Detach { target: ".".into() }, "mnt.detach.why");
        step(MountCall::Chdir { path: "/".into() }, "mnt.chdir.why");
    }

    /// A working directory on which something was mounted is still the covered one: it must be entered anew by its path,
    /// where that leads to a directory afterwards. Else it stays, as the kernel leaves it.
    fn plan_directory(&self, draft: &mut Draft, tree: &Resolver) {
        let Ok(directory) = std::env::current_dir() else { return };
        let place = tree.resolve(&directory);
        let is_covered = place.host.as_ref() != Some(&directory);
        let is_there = match &place.host {
            Some(today) => today.is_dir(),
            None => {
                self.tmpfs.iter().any(|target| Resolver::default().resolve(target).container == directory)
            }
        };
        if is_covered && is_there {
            let call = MountCall::Chdir { path: path(&directory) };
            draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, call, "mnt.directory.why");
        }
    }

    /// Where a place lies before the root changes.
    fn outer(&self, place: &Resolved) -> String {
        match &self.root {
            None => path(&place.container),
            Some(root) => {
                path(&absolute(root).join(place.container.strip_prefix("/").unwrap_or(&place.container)))
            }
        }
    }

    /// What can be known before: both ends must be there (to make one would leave it behind), both a directory or both not.
    fn check(&self, draft: &mut Draft, target: &Path, place: &Resolved, source: Option<&Path>) {
        if let Some(source) = source
            && !source.exists()
        {
            let what = format!("{} does not exist", source.display());
            return refuse(draft, what, "mnt.bind.nosource", "mnt.missing.todo");
        }
        let shown = target.display();
        if self.root.is_none() && place.container == Path::new("/") {
            return refuse(draft, format!("a mount on {shown}"), "mnt.target.root", "mnt.root.instead");
        }
        let is_directory = source.is_none_or(Path::is_dir);
        match &place.host {
            Some(today) if today.exists() => {
                if today.is_dir() != is_directory {
                    let kind = if is_directory { "mnt.target.file" } else { "mnt.target.directory" };
                    refuse(draft, format!("a mount on {shown}"), kind, "mnt.target.todo");
                }
            }
            _ => {
                let side = if self.root.is_some() { " in the new root" } else { "" };
                refuse(
                    draft,
                    format!("{shown} does not exist{side}"),
                    "mnt.target.missing",
                    "mnt.missing.todo",
                );
            }
        }
    }
}

/// Says that this can't be done.
fn refuse(draft: &mut Draft, what: String, why: &str, todo: &str) {
    draft.problem(Feature::Mnt, Error::failed(what).why(text(why)).todo(text(todo)));
}

/// From `/` on: a relative path would lead to what lies below a mount on it, since the working directory stays there.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The files that show it; read by a process on each side.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::mounts(process),
        proc::propagation(process, "/"),
        proc::lines(&format!("{process}/mounts")),
        proc::link(&format!("{process}/root")),
        proc::link(&format!("{process}/cwd")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_takes_two_paths_and_no_options() {
        let bind = Bind { source: "a".into(), target: "/b".into() };
        assert_eq!("a:/b".parse(), Ok(bind));
        for wrong in ["a", "a:", ":/b", "a:b"] {
            assert_eq!(wrong.parse::<Bind>(), Err(text("mnt.bind.form")), "{wrong}");
        }
        assert_eq!("a:/b:ro".parse::<Bind>(), Err(text("mnt.bind.options")));
    }
}
