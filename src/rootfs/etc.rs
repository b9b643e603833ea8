//! /etc/hostname, /etc/hosts and /etc/resolv.conf. Each container has its own, because their contents depend on its
//! hostname and its network.
//!
//! The files are written to the upper layer before the overlay is made. A root without an upper layer gets them as bind
//! mounts, but only where it has files of these names: new files would be left behind in the directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::RootDraft;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::slots::Held;
use crate::text::{text, text_with};

/// The names and contents of the files.
fn files(root: &RootDraft<'_>) -> [(&'static str, OsString); 3] {
    let mut name = root.wanted.hostname.map_or_else(|| root.files.hostname.clone(), OsString::from);
    name.push("\n");
    let mut hosts =
        OsString::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t");
    hosts.push(&name);
    let mut resolvers = root.host.nameservers.as_ref().map(|all| all.content(root.wanted.new_net));
    // Containers that share a network have the same addresses, and reach the same servers.
    if let Some(shared) = &root.wanted.network_files {
        hosts = shared.hosts.clone().unwrap_or(hosts);
        resolvers = shared.resolvers.clone().or(resolvers);
    }
    [("hostname", name), ("hosts", hosts), ("resolv.conf", resolvers.unwrap_or_default())]
}

/// Says which DNS servers are left out, if the container reaches other machines.
pub(super) fn note_nameservers(root: &mut RootDraft<'_>) {
    let Some(nameservers) = root.host.nameservers.as_ref().filter(|_| root.wanted.leads_out) else { return };
    if !nameservers.left_out.is_empty() {
        let servers = nameservers.left_out.join(", ");
        root.draft.note(text_with("rootfs.leftout.note", &[("servers", &servers)]));
    }
    if let Some(file) = nameservers.instead {
        root.draft.note(text_with("rootfs.instead.note", &[("file", file)]));
    }
    if !nameservers.has_reached() {
        root.draft.note(text("rootfs.resolvers.note"));
    }
}

/// Writes the files to a directory of the upper layer.
pub(super) fn write(root: &mut RootDraft<'_>, directory: &str) {
    for (name, content) in files(root) {
        let path = format!("{directory}{name}").into();
        root.step(DetachedMountCall::MakeFile { at: Held::Layer, path, content }, "rootfs.etc.why");
    }
}

/// The paths of the files in a root without an upper layer.
pub(super) fn places(root: &RootDraft<'_>) -> Vec<(&'static str, PathBuf)> {
    let places = ["hostname", "hosts", "resolv.conf"]
        .map(|name| (name, root.resolver.resolve(&Path::new("/etc").join(name))));
    let existing =
        places.into_iter().filter(|(_, place)| place.host.as_ref().is_some_and(|file| file.is_file()));
    existing.map(|(name, place)| (name, place.container)).collect()
}

/// Bind-mounts the files of the layer on these paths.
pub(super) fn bind(root: &mut RootDraft<'_>, places: Vec<(&'static str, PathBuf)>) {
    for (name, place) in places {
        let call = DetachedMountCall::CloneOwn { of: Held::Layer, path: name.into(), to: Held::Mount };
        root.step(call, "rootfs.etcclone.why");
        root.attach(Held::Mount, (Held::Root, &place), "rootfs.etcbind.why");
    }
}
