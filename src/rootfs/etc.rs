//! /etc/hostname, /etc/hosts and /etc/resolv.conf: what they say is the container's, not the machine's that made its files.
//!
//! They're written into the layer of an overlay before it's laid. A root without a layer gets them bound, where it has
//! files of these names: to make them would leave them behind.

use std::path::{Path, PathBuf};

use super::Site;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::slots::Held;
use crate::text::text;

/// What they say.
fn files(site: &Site<'_>) -> [(&'static str, String); 3] {
    let name = site.wanted.hostname.unwrap_or(&site.files.hostname);
    let hosts =
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n");
    // A resolver at 127.0.0.53 is this machine's: in another network namespace nobody answers there.
    let is_reached = |line: &&str| !site.wanted.new_net || !line.trim_start().starts_with("nameserver 127.");
    let resolvers = site.files.resolvers.lines().filter(is_reached).map(|line| format!("{line}\n")).collect();
    [("hostname", format!("{name}\n")), ("hosts", hosts), ("resolv.conf", resolvers)]
}

/// Says it where a container that reaches the outside has nobody to ask for a name.
pub(super) fn say(site: &mut Site<'_>) {
    let [.., (_, resolvers)] = files(site);
    if site.wanted.leads_out && !resolvers.lines().any(|line| line.trim_start().starts_with("nameserver ")) {
        site.draft.note(text("rootfs.resolvers.note"));
    }
}

/// Writes them into a directory of the layer.
pub(super) fn write(site: &mut Site<'_>, directory: &str) {
    for (name, content) in files(site) {
        let path = format!("{directory}{name}");
        site.step(DetachedMountCall::MakeFile { at: Held::Layer, path, content }, "rootfs.etc.why");
    }
}

/// Where a root without a layer has them.
pub(super) fn places(site: &Site<'_>) -> Vec<(&'static str, PathBuf)> {
    let places = ["hostname", "hosts", "resolv.conf"]
        .map(|name| (name, site.resolver.resolve(&Path::new("/etc").join(name))));
    let there =
        places.into_iter().filter(|(_, place)| place.host.as_ref().is_some_and(|today| today.is_file()));
    there.map(|(name, place)| (name, place.container)).collect()
}

/// Binds those of the layer there.
pub(super) fn bind(site: &mut Site<'_>, places: Vec<(&'static str, PathBuf)>) {
    for (name, place) in places {
        let call = DetachedMountCall::CloneOwn { of: Held::Layer, path: name.into(), to: Held::Mount };
        site.step(call, "rootfs.etcclone.why");
        site.attach(Held::Mount, (Held::Root, &place.to_string_lossy()), "rootfs.etcbind.why");
    }
}
