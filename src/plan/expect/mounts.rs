//! What the mount table must show: a plan's mounts, followed from the slot that holds each to the place that it's put at.

use std::collections::BTreeMap;

use super::Expected;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::mount::MountCall;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call, Plan};

/// A mount, and where it is once it has been put there.
#[derive(Debug, Clone, Default)]
struct Made {
    kind: Option<String>,
    attributes: Attributes,
    place: Option<String>,
}

/// The mounts of a plan by their places. Of two at one place, the later one covers the other.
pub(super) fn of(plan: &Plan) -> Vec<Expected> {
    // In a root that is entered by chroot(2), or by its path, a mount was put somewhere else than it shows.
    let moves = |call: &Call| match call {
        Call::Mount(MountCall::PivotRoot { new_root, .. }) => new_root != ".",
        _ => false,
    };
    let is_moved = plan.steps.iter().any(|step| moves(&step.call));
    let mut slots = BTreeMap::from([(Held::Root, Made { place: Some("/".into()), ..Made::default() })]);
    let mut all = BTreeMap::new();
    for step in &plan.steps {
        match &step.call {
            Call::Mount(MountCall::Filesystem { kind, target, .. })
                if step.actor != Actor::Host && (target == "/proc" || !is_moved) =>
            {
                let (at, filesystem) = (target.clone(), Some(kind.clone()));
                let attributes = Attributes::NONE;
                all.insert(target.clone(), Expected::Mount { at, filesystem, attributes, may_lack: false });
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

fn follow(slots: &mut BTreeMap<Held, Made>, all: &mut BTreeMap<String, Expected>, call: &DetachedMountCall) {
    let fresh = |to: &Held, kind: Option<&String>, attributes| Made {
        kind: kind.cloned(),
        attributes,
        place: (*to == Held::Root).then(|| "/".into()),
    };
    match call {
        DetachedMountCall::Make { kind, attributes, to, .. } => {
            slots.insert(*to, fresh(to, Some(kind), *attributes));
        }
        DetachedMountCall::Clone { to, .. } | DetachedMountCall::CloneOwn { to, .. } => {
            slots.insert(*to, fresh(to, None, Attributes::NONE));
        }
        DetachedMountCall::Restrict { mount, attributes, .. } => {
            let made = slots.entry(*mount).or_default();
            made.attributes = made.attributes.and(*attributes);
        }
        DetachedMountCall::Attach { mount, at, path } => {
            let Some(place) = place(slots, *at, path) else { return };
            let made = slots.entry(*mount).or_default();
            all.insert(place.clone(), mounted(place.clone(), made));
            made.place = Some(place);
        }
        DetachedMountCall::Hide { at, path, directory } => {
            let attributes = if *directory { Attributes::PROTECTED } else { Attributes::NONE };
            let Some(at) = place(slots, *at, path) else { return };
            all.insert(at.clone(), Expected::Mount { at, filesystem: None, attributes, may_lack: true });
        }
        DetachedMountCall::Protect { at, path } => {
            let attributes = Attributes::PROTECTED;
            let Some(at) = place(slots, *at, path) else { return };
            all.insert(at.clone(), Expected::Mount { at, filesystem: None, attributes, may_lack: true });
        }
        _ => {}
    }
}

fn mounted(at: String, made: &Made) -> Expected {
    Expected::Mount { at, filesystem: made.kind.clone(), attributes: made.attributes, may_lack: false }
}

/// A path in a tree of ours, from `/` on.
fn place(slots: &BTreeMap<Held, Made>, at: Held, path: &str) -> Option<String> {
    let above = slots.get(&at)?.place.as_ref()?;
    Some([above.trim_end_matches('/'), "/", path.trim_start_matches('/')].concat())
}
