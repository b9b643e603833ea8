//! /etc/hostname, /etc/hosts and /etc/resolv.conf. Each container has its own, because their contents depend on its
//! hostname and its network.
//!
//! The files are on a tmpfs of ours, and are bind-mounted. So none of them is ever in a layer, and a program cannot replace
//! them by files of the directory. Below an overlay, the init layer has their mount points. A root directory without an
//! overlay gets only those for which it has a file: new files would be left behind in the directory.
//!
//! If something is mounted on /etc, the files are mounted in it, as Docker does. Otherwise they would be hidden, and the container
//! could not look up a name. A file on which the spec mounts another one is left out.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::mount::ContainerMount;
use super::{RootDraft, init_layer, mounts};
use crate::host::files::is_directory;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::{ADDRESS, Held};
use crate::text::{text, text_with};

/// The names of the loopback device.
const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Whether a name is in a file such as /etc/hosts.
fn has_name(hosts: &[u8], name: &[u8]) -> bool {
    let lines = hosts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b'#').next());
    let mut names =
        lines.flat_map(|line| line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(1));
    names.any(|one| one == name)
}

/// The names of the container in its line of /etc/hosts: the full name with the domain, and the part before the first dot.
fn names(wanted: &super::RootRequest<'_>, name: &[u8]) -> OsString {
    let mut full = name.to_vec();
    if let (Some(_), Some(domain)) = (wanted.hostname, wanted.domainname) {
        full.push(b'.');
        full.extend_from_slice(domain.as_bytes());
    }
    let dot = full.iter().position(|byte| *byte == b'.').filter(|dot| *dot > 0 && wanted.hostname.is_some());
    let short = dot.map(|dot| [b" ", &full[..dot]].concat());
    full.extend(short.unwrap_or_default());
    full.push(b'\n');
    OsString::from_vec(full)
}

/// The names and contents of the files.
fn files(root: &RootDraft<'_>) -> [(&'static str, OsString); 3] {
    let mut name = root.wanted.hostname.map_or_else(|| root.files.hostname.clone(), OsString::from);
    name.push("\n");
    // A process that shares the network of the caller resolves the names that the caller resolves.
    let shared =
        root.files.hosts.as_ref().filter(|_| !root.wanted.new_net && root.wanted.network_files.is_none());
    let mut hosts = shared.cloned().unwrap_or_else(|| LOCAL_HOSTS.into());
    if !shared.is_some_and(|hosts| has_name(hosts.as_bytes(), name.as_bytes().trim_ascii_end())) {
        // A server that listens on its own name is reached from other containers.
        hosts.push(if root.wanted.on_bridge { ADDRESS } else { "127.0.1.1" });
        hosts.push("\t");
        hosts.push(names(root.wanted, name.as_bytes().trim_ascii_end()));
    }
    let mut resolvers = root.host.nameservers.as_ref().map(|all| all.content(root.wanted.new_net));
    // Containers that share a network have the same addresses, and reach the same servers.
    if let Some(shared) = &root.wanted.network_files {
        hosts = shared.hosts.clone().unwrap_or(hosts);
        resolvers = shared.resolvers.clone().or(resolvers);
    }
    for line in root.wanted.hosts {
        hosts.push(line);
        hosts.push("\n");
    }
    if !root.wanted.nameservers.is_empty() {
        let line = |server: &IpAddr| format!("nameserver {server}\n");
        resolvers = Some(root.wanted.nameservers.iter().map(line).collect::<String>().into());
    }
    [("hostname", name), ("hosts", hosts), ("resolv.conf", resolvers.unwrap_or_default())]
}

/// Says which DNS servers are left out, if the container reaches other machines.
pub(super) fn note_nameservers(root: &mut RootDraft<'_>) {
    let Some(nameservers) = root.host.nameservers.as_ref().filter(|_| root.wanted.leads_out) else { return };
    if !nameservers.left_out.is_empty() {
        let servers = nameservers.left_out.join(", ");
        root.draft.kept_note(text_with("rootfs.leftout.note", &[("servers", &servers)]));
    }
    if let Some(file) = nameservers.instead {
        root.draft.kept_note(text_with("rootfs.instead.note", &[("file", file)]));
    }
    if !nameservers.has_reached() {
        root.draft.kept_note(text("rootfs.resolvers.note"));
    }
}

/// The names of the files that the container has of its own, and when they are mounted.
#[derive(Debug, Default)]
pub(super) struct EtcFiles {
    /// Those on which no additional mount is.
    names: Vec<&'static str>,
    /// Whether an additional mount covers /etc. They are then mounted after it, and are in it.
    pub(super) is_covered: bool,
}

impl EtcFiles {
    /// Those of a root in which further mounts are made. Nothing is mounted in it yet.
    pub(super) fn of(root: &RootDraft<'_>, mounts: &[&ContainerMount]) -> EtcFiles {
        let mut resolver = root.resolver.clone();
        let mut places = Vec::new();
        for mount in mounts {
            places.push(resolver.resolve(&mount.destination).container);
            mounts::show(mount, &mut resolver);
        }
        let etc = resolver.resolve(Path::new("/etc")).container;
        let is_ours = |name: &&'static str| {
            let (written, place) = (Path::new("/etc").join(name), etc.join(name));
            !mounts.iter().any(|mount| mount.destination == written) && !places.contains(&place)
        };
        EtcFiles {
            names: NAMES.into_iter().filter(is_ours).collect(),
            is_covered: places.iter().any(|place| etc.starts_with(place)),
        }
    }

    /// Those that are mounted before the additional mounts.
    fn early(&self) -> Vec<&'static str> {
        if self.is_covered { Vec::new() } else { self.names.clone() }
    }
}

/// The names of the files.
const NAMES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Writes the files to `<layer>`.
pub(super) fn write(root: &mut RootDraft<'_>) {
    let names = root.etc.names.clone();
    for (name, content) in files(root).into_iter().filter(|(name, _)| names.contains(name)) {
        root.step(
            DetachedMountCall::MakeFile { at: Held::Layer, path: name.into(), content },
            "rootfs.etc.why",
        );
    }
}

/// The paths of the files in a root without an overlay.
pub(super) fn places(root: &RootDraft<'_>) -> Vec<(&'static str, PathBuf)> {
    let names = root.etc.early().into_iter();
    let places = names.map(|name| (name, root.resolver.resolve(&Path::new("/etc").join(name))));
    let existing = places.filter(|(_, place)| place.host.as_ref().is_some_and(|file| file.is_file()));
    existing.map(|(name, place)| (name, place.container)).collect()
}

/// The paths of the files in an overlay, whose mount points are added to the init layer. There they hide what the lower
/// directories have at these paths. If /etc is a symbolic link, it stays one.
pub(super) fn places_in_overlay(root: &mut RootDraft<'_>) -> Vec<(&'static str, PathBuf)> {
    let etc = root.resolver.resolve(Path::new("/etc")).container;
    let upper = root.layers.as_ref().and_then(|layers| layers.upper.clone());
    let mut places = Vec::new();
    for name in root.etc.early() {
        let mut place = etc.join(name);
        let kept = upper.as_ref().map(|upper| upper.join(place.strip_prefix("/").unwrap_or(&place)));
        if kept.is_some_and(|kept| kept.is_symlink()) {
            // The upper directory comes before the init layer.
            place = root.resolver.resolve(&place).container;
        }
        if init_layer::hiding_upper(root, &place).is_some() {
            continue;
        }
        init_layer::file(root, &place);
        places.push((name, place));
    }
    places
}

/// The paths of the files where each directory of `/` has an overlay of its own. A read-only /etc of the host has no init
/// layer, but the files that it has can be covered.
pub(super) fn places_in_pieces(root: &RootDraft<'_>) -> Vec<(&'static str, PathBuf)> {
    let etc = Path::new("/etc");
    match etc {
        etc if !etc.is_dir() || etc.is_symlink() || root.is_read_only_piece(etc) => places(root),
        etc => root.etc.early().into_iter().map(|name| (name, etc.join(name))).collect(),
    }
}

/// The paths of the files below an additional mount that covers /etc. A mount point that does not exist is made, where that
/// mount allows it. Elsewhere the file is left out.
pub(super) fn places_in_mounts(
    root: &mut RootDraft<'_>,
    made: &mut BTreeSet<PathBuf>,
) -> Vec<(&'static str, PathBuf)> {
    if !root.etc.is_covered {
        return Vec::new();
    }
    let mut places = Vec::new();
    for name in root.etc.names.clone() {
        let place = root.resolver.resolve(&Path::new("/etc").join(name));
        match place.host.as_deref().map(is_directory) {
            Some(Ok(Some(false))) => {}
            Some(Ok(Some(true)) | Err(_)) => continue,
            Some(Ok(None)) | None => {
                let is_fixed = root.takes_mount_points(&place.container) == Some(false);
                if is_fixed || mounts::obstacle(root, false, &place).is_some() {
                    continue;
                }
                mounts::make_mount_point(root, false, &place, made);
            }
        }
        places.push((name, place.container));
    }
    places
}

/// Makes empty files with these names in a directory of `<layer>`.
pub(super) fn make_mount_points(root: &mut RootDraft<'_>, directory: &Path) {
    for name in root.etc.early() {
        let (path, content) = (directory.join(name), OsString::new());
        root.step(DetachedMountCall::MakeFile { at: Held::Layer, path, content }, "rootfs.initlayer.why");
    }
}

/// Bind-mounts the files of `<layer>` on these paths. In a read-only root they are read-only too.
pub(super) fn bind(root: &mut RootDraft<'_>, places: Vec<(&'static str, PathBuf)>) {
    for (name, place) in places {
        let call = DetachedMountCall::CloneOwn { of: Held::Layer, path: name.into(), to: Held::Mount };
        root.step(call, "rootfs.etcclone.why");
        if root.wanted.readonly {
            let attributes = Attributes::READ_ONLY;
            let call = DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: false };
            root.step(call, "rootfs.bindfixed.why");
        }
        root.attach(Held::Mount, (Held::Root, &place), "rootfs.etcbind.why");
    }
}
