//! What the mount table must show. A plan stores each new mount in a slot, and attaches it to a path later. So the
//! mounts are followed from slot to path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Expected;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::mount::MountCall;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call, Plan};

/// A mount of the plan, and its mount point once it is attached.
#[derive(Debug, Clone, Default)]
struct PlannedMount {
    kind: Option<String>,
    attributes: Attributes,
    mount_point: Option<PathBuf>,
}

/// The mounts of a plan. If two are attached to one path, the later one covers the other.
pub(super) fn of(plan: &Plan) -> Vec<Expected> {
    // If the new root is entered by its path, mounts were made below that path. The mount table shows other paths for
    // them afterwards.
    let moves = |call: &Call| match call {
        Call::Mount(MountCall::PivotRoot { new_root, .. }) => new_root != Path::new("."),
        _ => false,
    };
    let root_moves = plan.steps.iter().any(|step| moves(&step.call));
    let mut slots = BTreeMap::from([(
        Held::Root,
        PlannedMount { mount_point: Some("/".into()), ..PlannedMount::default() },
    )]);
    let mut all = BTreeMap::new();
    for step in &plan.steps {
        match &step.call {
            Call::Mount(MountCall::Filesystem { kind, target, .. })
                if step.actor != Actor::Host && (target == Path::new("/proc") || !root_moves) =>
            {
                let (at, filesystem) = (target.clone(), Some(kind.clone()));
                let attributes = Attributes::NONE;
                all.insert(
                    target.clone(),
                    Expected::Mount { at, filesystem, attributes, may_be_missing: false },
                );
            }
            Call::DetachedMount(call) => follow(&mut slots, &mut all, call),
            _ => {}
        }
    }
    let root = &slots[&Held::Root];
    if root.kind.is_some() || root.attributes != Attributes::NONE {
        all.insert("/".into(), mounted("/".into(), root));
    }
    all.into_values().collect()
}

fn follow(
    slots: &mut BTreeMap<Held, PlannedMount>,
    all: &mut BTreeMap<PathBuf, Expected>,
    call: &DetachedMountCall,
) {
    let fresh = |to: &Held, kind: Option<&String>, attributes| PlannedMount {
        kind: kind.cloned(),
        attributes,
        mount_point: (*to == Held::Root).then(|| "/".into()),
    };
    match call {
        DetachedMountCall::Make { kind, attributes, to, .. } => {
            slots.insert(*to, fresh(to, Some(kind), *attributes));
        }
        DetachedMountCall::Clone { to, .. }
        | DetachedMountCall::CloneJoined { to, .. }
        | DetachedMountCall::CloneOwn { to, .. } => {
            slots.insert(*to, fresh(to, None, Attributes::NONE));
        }
        DetachedMountCall::Restrict { mount, attributes, .. } => {
            let made = slots.entry(*mount).or_default();
            let before = made.attributes;
            made.attributes = before.and(*attributes);
            // It can be attached already. What covers it has another type or other attributes.
            if let Some(Expected::Mount { filesystem, attributes, .. }) =
                made.mount_point.as_ref().and_then(|at| all.get_mut(at))
                && (&*filesystem, *attributes) == (&made.kind, before)
            {
                *attributes = made.attributes;
            }
        }
        DetachedMountCall::Attach { mount, at, path } => {
            let Some(mount_point) = mount_point(slots, *at, path) else { return };
            let made = slots.entry(*mount).or_default();
            all.insert(mount_point.clone(), mounted(mount_point.clone(), made));
            made.mount_point = Some(mount_point);
        }
        DetachedMountCall::Hide { at, path, directory } => {
            let attributes = if *directory { Attributes::PROTECTED } else { Attributes::NONE };
            let Some(at) = mount_point(slots, *at, path) else { return };
            all.insert(
                at.clone(),
                Expected::Mount { at, filesystem: None, attributes, may_be_missing: true },
            );
        }
        DetachedMountCall::Protect { at, path } => {
            let attributes = Attributes::PROTECTED;
            let Some(at) = mount_point(slots, *at, path) else { return };
            all.insert(
                at.clone(),
                Expected::Mount { at, filesystem: None, attributes, may_be_missing: true },
            );
        }
        _ => {}
    }
}

fn mounted(at: PathBuf, made: &PlannedMount) -> Expected {
    Expected::Mount { at, filesystem: made.kind.clone(), attributes: made.attributes, may_be_missing: false }
}

/// A path in the tree of a slot, as a path of the container.
fn mount_point(slots: &BTreeMap<Held, PlannedMount>, at: Held, path: &Path) -> Option<PathBuf> {
    let above = slots.get(&at)?.mount_point.as_ref()?;
    Some(above.join(path.strip_prefix("/").unwrap_or(path)))
}
