//! How the namespaces of two processes hang together: each belongs to a user namespace, and pid and user namespaces have
//! parents. What the kernel says by ioctl_nsfs(2), as far up as it lets us see.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use super::Subject;
use crate::feature::Feature;
use crate::sys::ns_ioctl;

/// A namespace that one of the processes is in, or that stands above one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamespaceNode {
    /// Its kind.
    pub feature: Feature,
    /// Its name, as the links below /proc/PID/ns have it.
    pub name: String,
    /// The user namespace that owns it; of a user namespace, its parent. None where the kernel doesn't let us see it.
    pub owner: Option<String>,
    /// The parent of a pid or user namespace, where we may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Who made a user namespace, as our own user namespace has their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by_uid: Option<u32>,
    /// Which of the two processes are in it: none for one that only stands above.
    pub pids: Vec<i32>,
}

/// The namespaces of these processes and all above them that we may see.
pub(super) fn tree(subjects: [&Subject; 2]) -> Vec<NamespaceNode> {
    let mut nodes: Vec<NamespaceNode> = Vec::new();
    let mut open: VecDeque<(Feature, OwnedFd, Option<i32>)> = VecDeque::new();
    for subject in subjects {
        let namespaces =
            Feature::NAMESPACES.iter().copied().map(|feature| (feature, subject.namespace(feature)));
        let namespaces = namespaces.filter_map(|(feature, file)| Some((feature, file.ok()?.into())));
        open.extend(namespaces.map(|(feature, descriptor)| (feature, descriptor, Some(subject.pid))));
    }
    while let Some((feature, descriptor, pid)) = open.pop_front() {
        let Some(name) = name_of(feature, &descriptor) else { continue };
        if let Some(known) = nodes.iter_mut().find(|node| node.name == name) {
            known.pids.extend(pid.filter(|pid| !known.pids.contains(pid)));
            continue;
        }
        let owner = ns_ioctl::owner(&descriptor).ok();
        let parent = match feature {
            Feature::Pid | Feature::User => ns_ioctl::parent(&descriptor).ok(),
            _ => None,
        };
        let of = |kind, descriptor: &Option<OwnedFd>| name_of(kind, descriptor.as_ref()?);
        nodes.push(NamespaceNode {
            feature,
            name,
            owner: of(Feature::User, &owner),
            parent: of(feature, &parent),
            made_by_uid: ns_ioctl::owner_uid(&descriptor).ok().filter(|_| feature == Feature::User),
            pids: pid.into_iter().collect(),
        });
        open.extend(owner.map(|descriptor| (Feature::User, descriptor, None)));
        open.extend(parent.map(|descriptor| (feature, descriptor, None)));
    }
    nodes
}

/// The name that the kernel gives it: its kind and its inode.
fn name_of(feature: Feature, descriptor: &OwnedFd) -> Option<String> {
    let file = std::fs::File::from(descriptor.as_fd().try_clone_to_owned().ok()?);
    Some(format!("{feature}:[{}]", file.metadata().ok()?.ino()))
}
