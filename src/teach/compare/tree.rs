//! The relations between the namespaces of two processes. Every namespace is owned by a user namespace. PID and user
//! namespaces also have parents. ioctl_nsfs(2) returns both, up to the namespaces of the caller.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use super::Subject;
use crate::feature::Feature;
use crate::sys::ns_ioctl;

/// A namespace of one of the processes, or an owner or a parent of such a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamespaceNode {
    /// Its kind.
    pub feature: Feature,
    /// Its name, as in the links in /proc/PID/ns: `pid:[4026531836]`.
    pub name: String,
    /// The user namespace that owns it. For a user namespace, this is its parent. None if it is outside of the caller's
    /// own user namespace: the kernel does not show it then.
    pub owner: Option<String>,
    /// The parent of a PID or user namespace, if the kernel shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The user who made a user namespace, as a user ID of the caller's own user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by_uid: Option<u32>,
    /// Which of the two processes are in it. Empty for a namespace that is only an owner or a parent.
    pub pids: Vec<i32>,
}

/// The namespaces of these processes, with all owners and parents that the kernel shows.
pub(super) fn tree(subjects: [&Subject; 2]) -> Vec<NamespaceNode> {
    let mut nodes: Vec<NamespaceNode> = Vec::new();
    let mut queue: VecDeque<(Feature, OwnedFd, Option<i32>)> = VecDeque::new();
    for subject in subjects {
        let namespaces =
            Feature::NAMESPACES.iter().copied().map(|feature| (feature, subject.namespace(feature)));
        let namespaces = namespaces.filter_map(|(feature, file)| Some((feature, file.ok()?.into())));
        queue.extend(namespaces.map(|(feature, descriptor)| (feature, descriptor, Some(subject.pid))));
    }
    while let Some((feature, descriptor, pid)) = queue.pop_front() {
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
        queue.extend(owner.map(|descriptor| (Feature::User, descriptor, None)));
        queue.extend(parent.map(|descriptor| (feature, descriptor, None)));
    }
    nodes
}

/// The name of a namespace: its kind and its inode number.
fn name_of(feature: Feature, descriptor: &OwnedFd) -> Option<String> {
    let file = std::fs::File::from(descriptor.as_fd().try_clone_to_owned().ok()?);
    Some(format!("{feature}:[{}]", file.metadata().ok()?.ino()))
}
