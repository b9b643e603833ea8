//! What the spec mounts besides: `mnt.mounts`, in its order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{HIDDEN, OURS, Site};
use crate::host::files::is_folder;
use crate::host::resolver::{Place, Tree as Sight};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;
use crate::text::text;
use crate::value::units::Size;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Extra {
    /// A bind mount of a path on the host, with all mounts below it.
    Bind {
        /// The path on the host.
        source: PathBuf,
        /// The mount point in the container.
        target: PathBuf,
        /// Whether it is read-only, including the mounts below it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        readonly: bool,
    },
    /// An empty filesystem in memory.
    Tmpfs {
        /// The mount point in the container.
        target: PathBuf,
        /// Maximum size.
        #[serde(default = "room")]
        size: Size,
    },
}

/// As it is read: serde's own way with a tag would forget in which value something is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "type")]
    kind: Kind,
    source: Option<PathBuf>,
    target: PathBuf,
    readonly: Option<bool>,
    size: Option<Size>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Bind,
    Tmpfs,
}

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Row::deserialize(deserializer)? {
            Row { kind: Kind::Bind, size: Some(_), .. } => {
                Err(D::Error::unknown_field("size", &["source", "target", "readonly"]))
            }
            Row { kind: Kind::Bind, source: None, .. } => Err(D::Error::missing_field("source")),
            Row { kind: Kind::Bind, source: Some(source), target, readonly, .. } => {
                Ok(Extra::Bind { source, target, readonly: readonly.unwrap_or_default() })
            }
            Row { kind: Kind::Tmpfs, source: Some(_), .. } => {
                Err(D::Error::unknown_field("source", &["target", "size"]))
            }
            Row { kind: Kind::Tmpfs, readonly: Some(_), .. } => {
                Err(D::Error::unknown_field("readonly", &["target", "size"]))
            }
            Row { kind: Kind::Tmpfs, target, size, .. } => {
                Ok(Extra::Tmpfs { target, size: size.unwrap_or_else(room) })
            }
        }
    }
}

/// As `--tmpfs` has it.
pub(crate) fn room() -> Size {
    Size(64 << 20)
}

impl Extra {
    /// The same, with a relative source made absolute from `base`: the folder of the file that it was read from.
    pub fn resolve(self, base: &Path) -> Extra {
        match self {
            Extra::Bind { source, target, readonly } => {
                Extra::Bind { source: base.join(source), target, readonly }
            }
            tmpfs @ Extra::Tmpfs { .. } => tmpfs,
        }
    }

    fn target(&self) -> &Path {
        match self {
            Extra::Bind { target, .. } | Extra::Tmpfs { target, .. } => target,
        }
    }

    /// Makes it seen.
    pub(super) fn show(&self, sight: &mut Sight) {
        let place = sight.locate(self.target());
        match self {
            Extra::Bind { source, .. } => sight.bind(&place, source),
            Extra::Tmpfs { .. } => sight.empty(&place),
        }
    }

    /// Whether it's a folder that is mounted; none where there is nothing to mount.
    fn is_folder(&self) -> Result<Option<bool>, String> {
        match self {
            Extra::Bind { source, .. } => is_folder(source),
            Extra::Tmpfs { .. } => Ok(Some(true)),
        }
    }
}

/// The steps.
pub(super) fn plan(site: &mut Site<'_>, mounts: Vec<Extra>) {
    if mounts.is_empty() {
        return;
    }
    let mut made: BTreeSet<PathBuf> = ["/", "/dev/pts", "/dev/shm"].map(PathBuf::from).into();
    if site.spec.rootfs.is_some() {
        for name in OURS {
            let place = Path::new("/").join(name);
            site.sight.empty(&site.sight.locate(&place));
            made.insert(place);
        }
        made.extend(HIDDEN.map(|(name, _)| Path::new("/").join(name)));
    }
    for mount in mounts {
        let place = site.sight.locate(mount.target());
        let Some(is_folder) = check(site, &mount, &place) else { continue };
        make_place(site, is_folder, &place, &mut made);
        match &mount {
            Extra::Bind { source, readonly, .. } => {
                // A path from here: a relative one was made absolute by whoever read it.
                let path = source.to_string_lossy().into_owned();
                site.step(DetachedMountCall::Clone { path, below: true, to: Held::Mount }, "rootfs.bind.why");
                restrict(site, is_folder, *readonly);
            }
            Extra::Tmpfs { size, .. } => {
                let options = [("size", size.0.to_string()), ("mode", "1777".to_owned())];
                let options = options.each_ref().map(|(key, value)| (*key, value.as_str()));
                let safe = Attributes::NO_SUID.and(Attributes::NO_DEV);
                site.make("tmpfs", &options, safe, Held::Mount, "rootfs.empty.why");
            }
        }
        let path = place.inside.to_string_lossy().into_owned();
        site.attach(Held::Mount, (Held::Root, &path), "rootfs.place.why");
        mount.show(&mut site.sight);
        made.insert(place.inside);
    }
}

/// Device files count only where one was asked for by its name.
fn restrict(site: &mut Site<'_>, is_folder: bool, readonly: bool) {
    let mut attributes = Attributes::NO_SUID;
    if is_folder {
        attributes = attributes.and(Attributes::NO_DEV);
    }
    if readonly {
        attributes = attributes.and(Attributes::READ_ONLY);
    }
    let why = if readonly { "rootfs.bindfixed.why" } else { "rootfs.bindsafe.why" };
    site.step(DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: true }, why);
}

/// A place that isn't there is made, where it's gone with the container.
fn make_place(site: &mut Site<'_>, is_folder: bool, place: &Place, made: &mut BTreeSet<PathBuf>) {
    // Where the kernel doesn't tell, whoever opens it will hear why.
    let is_there =
        |path: &Path| site.sight.locate(path).today.is_some_and(|today| today.try_exists().unwrap_or(true));
    let mut missing: Vec<PathBuf> = place
        .inside
        .ancestors()
        .take_while(|path| !made.contains(*path) && !is_there(path))
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for path in missing {
        let words = path.to_string_lossy().into_owned();
        if path == place.inside && !is_folder {
            let file = DetachedMountCall::MakeFile { at: Held::Root, path: words, content: String::new() };
            site.step(file, "rootfs.makeplace.why");
        } else {
            let folder = DetachedMountCall::MakeFolder { at: Held::Root, path: words, mode: 0o755 };
            site.step(folder, "rootfs.makeplace.why");
        }
        made.insert(path);
    }
}

/// What can be known before; whether it's a folder that is mounted, if it can be.
fn check(site: &mut Site<'_>, mount: &Extra, place: &Place) -> Option<bool> {
    let what = format!("a mount on {}", mount.target().display());
    let today = place.today.as_deref().map(is_folder).transpose();
    let (source, today) = match (mount.is_folder(), today) {
        (Ok(source), Ok(today)) => (source, today),
        (Err(why), _) | (_, Err(why)) => {
            site.refuse(what, why, "mnt.missing.todo");
            return None;
        }
    };
    let (why, todo) = match (source, today) {
        _ if !mount.target().is_absolute() => ("rootfs.target.relative", "rootfs.target.todo"),
        (None, _) => ("mnt.bind.nosource", "mnt.missing.todo"),
        _ if place.inside == Path::new("/") => ("mnt.target.root", "mnt.root.instead"),
        _ if site.spec.rootfs.is_some() && is_kernels(&place.inside) => {
            ("rootfs.target.kernel", "rootfs.target.todo")
        }
        (Some(true), Some(Some(false))) => ("mnt.target.file", "mnt.target.todo"),
        (Some(false), Some(Some(true))) => ("mnt.target.folder", "mnt.target.todo"),
        (_, Some(None)) if !site.is_throw_away() => ("mnt.target.missing", "mnt.missing.todo"),
        _ => return source,
    };
    site.refuse(what, text(why), todo);
    None
}

/// A mount there could stand in for the kernel's own files, to which programs (also ours) write.
fn is_kernels(inside: &Path) -> bool {
    inside.starts_with("/proc") || inside.starts_with("/sys") || inside == Path::new("/dev")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_as_a_spec_has_them() {
        let yaml = "[{ type: bind, source: ./site, target: /srv, readonly: true }, { type: tmpfs, target: /x, size: 16MiB }]";
        let read: Vec<Extra> = serde_yaml::from_str(yaml).unwrap();
        let bind = Extra::Bind { source: "./site".into(), target: "/srv".into(), readonly: true };
        assert_eq!(read, [bind.clone(), Extra::Tmpfs { target: "/x".into(), size: Size(16 << 20) }]);
        let resolved = Extra::Bind { source: "/specs/site".into(), target: "/srv".into(), readonly: true };
        assert_eq!(bind.resolve(Path::new("/specs")), resolved);
        for wrong in ["[{ type: bind, source: a, target: /b, size: 1 }]", "[{ type: nfs, target: /b }]"] {
            assert!(serde_yaml::from_str::<Vec<Extra>>(wrong).is_err(), "{wrong}");
        }
    }
}
