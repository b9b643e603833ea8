//! The mount namespace: a mount table of one's own.
//!
//! A new mount namespace starts as a copy of the caller's table, so at first nothing looks different. What is mounted
//! afterwards stays in it, provided that no mount is *shared*: a shared mount passes what is mounted below it on to
//! its copies. systemd makes every mount shared at boot, so the copy is made private first. A chroot(2) changes where
//! one process's paths begin and hides mounts from /proc/self/mounts, but makes no table; pivot_root(2) exchanges the
//! root of the table itself, and the old one can then be taken out of it. mount_namespaces(7), pivot_root(2)
//!
//! What you'll see: `/proc/self/mountinfo`, equal right after the clone, then one line apart.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::mount::{Mount, Propagation};
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft, Problem};
use crate::text::text;

/// What can be said about the mount namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Mnt {
    /// How the copied mounts propagate
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub propagation: Propagation,
    /// Mount an empty tmpfs there, as docker's --tmpfs does (may be repeated)
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<PathBuf>,
    /// Show SRC at DST too, as docker's -v does (may be repeated)
    #[arg(long, short = 'v', visible_alias = "volume", value_name = "SRC:DST")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<Bind>,
    /// Make DIR the root, by pivot_root
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

/// `SRC:DST`: one part of the tree, shown at another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// What is shown.
    pub source: PathBuf,
    /// Where it is shown.
    pub target: PathBuf,
}

impl std::str::FromStr for Bind {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        match words.split_once(':') {
            Some((source, target)) if !source.is_empty() && target.starts_with('/') => {
                Ok(Bind { source: source.into(), target: target.into() })
            }
            _ => Err(text("mnt.bind.form")),
        }
    }
}

impl Mnt {
    /// The steps: propagation first, then mounts, then the root.
    pub fn plan(&self, draft: &mut Draft) {
        draft.isolate(Feature::Mnt);
        if self.propagation != Propagation::Unchanged {
            let call = Mount::Propagation { target: "/".into(), mode: self.propagation };
            draft.step(Phase::Propagation, Actor::Child, Feature::Mnt, call, "mnt.propagation.why");
        }
        for bind in &self.bind {
            self.needs(draft, &bind.source, "mnt.bind.nosource");
            let target = self.target(draft, &bind.target);
            let call = Mount::Bind { source: path(&bind.source), target };
            draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, call, "mnt.bind.why");
        }
        for place in &self.tmpfs {
            let target = self.target(draft, place);
            let call = Mount::Filesystem { kind: "tmpfs".into(), target, data: Some("size=64m".into()) };
            draft.step(Phase::Mounts, Actor::Child, Feature::Mnt, call, "mnt.tmpfs.why");
        }
        if let Some(root) = &self.root {
            self.plan_root(draft, root);
        }
    }

    /// pivot_root(2) by the recipe of its manual page that needs no folder for the old root: it is stacked on the new
    /// one and then detached.
    fn plan_root(&self, draft: &mut Draft, root: &std::path::Path) {
        if !root.is_dir() {
            let what = format!("--root {}", root.display());
            let todo = vec![text("mnt.root.todo")];
            draft.problem(Problem { feature: Feature::Mnt, what, why: text("mnt.root.why"), todo });
        }
        let root = path(root);
        let mut step = |call, why| draft.step(Phase::Root, Actor::Child, Feature::Mnt, call, why);
        step(Mount::Bind { source: root.clone(), target: root.clone() }, "mnt.rootbind.why");
        step(Mount::ChangeFolder { path: root }, "mnt.rootchdir.why");
        step(Mount::PivotRoot { new_root: ".".into(), put_old: ".".into() }, "mnt.pivot.why");
        step(Mount::Detach { target: ".".into() }, "mnt.detach.why");
        step(Mount::ChangeFolder { path: "/".into() }, "mnt.chdir.why");
    }

    /// Where a target lies before the root changes. It must be there: to make it would leave it behind.
    fn target(&self, draft: &mut Draft, target: &std::path::Path) -> String {
        let seen = match &self.root {
            None => target.to_owned(),
            Some(root) => root.join(target.strip_prefix("/").unwrap_or(target)),
        };
        self.needs(draft, &seen, "mnt.target.missing");
        path(&seen)
    }

    fn needs(&self, draft: &mut Draft, place: &std::path::Path, why: &'static str) {
        if !place.exists() {
            let what = format!("{} isn't there", place.display());
            draft.problem(Problem {
                feature: Feature::Mnt,
                what,
                why: text(why),
                todo: vec![text("mnt.missing.todo")],
            });
        }
    }
}

fn path(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The files that show it; read by a process on each side.
pub fn observe() -> Vec<Observation> {
    vec![
        proc::mounts(),
        proc::propagation("/"),
        proc::lines("/proc/self/mounts"),
        proc::link("/proc/self/root"),
        proc::link("/proc/self/cwd"),
    ]
}
