//! The volumes of a container that is made, and the directories of the host that are mounted in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::docker::WantedVolume;
use super::super::prepare::{Layered, own_maps};
use super::MadeSpec;
use crate::config::spec::Spec;
use crate::container::devices::bound_without_devices;
use crate::container::explain::Explainer;
use crate::container::record::VolumeMount;
use crate::container::store::ContainerStore;
use crate::container::volumes::{self, Volume, VolumeStore};
use crate::error::{Error, ExitKind, Result};
use crate::host::resolver::Resolver;
use crate::host::run_lock::RunLock;
use crate::namespaces::mnt::Mnt;
use crate::plan::call::detached::Attributes;
use crate::rootfs::Rootfs;
use crate::text::{printed, text_with};
use crate::value::mount::ExtraMount;

impl MadeSpec {
    /// Makes the volumes that the command line and the image ask for, and mounts them.
    ///
    /// # Errors
    /// A volume cannot be made, or there is no container for --volumes-from.
    pub(in crate::cli) fn volumes(
        &self,
        spec: &mut Spec,
        layered: &Layered,
        explain: Explainer,
    ) -> Result<MadeVolumes> {
        self.make_sources(explain)?;
        let layers = match &spec.rootfs {
            Some(Rootfs::Layers(layers)) => layers.layers.clone(),
            Some(Rootfs::Dir(directory)) => vec![directory.clone()],
            _ => Vec::new(),
        };
        let resolver = Resolver::of_layers(layers.clone());
        // A path with links and `..` stays below the root of the container.
        let resolved = |target: &Path| match layers.is_empty() {
            true => target.to_owned(),
            false => resolver.resolve(target).container,
        };
        let mut mounts = spec.mnt.take().unwrap_or_default();
        self.refuse_duplicates()?;
        let mut asked = self.wanted.targets();
        let mut taken: Vec<PathBuf> = self.wanted.targets().iter().map(|target| resolved(target)).collect();
        taken.extend(mounts.all().iter().map(|mount| resolved(mount.target())));
        let mut all: Vec<WantedVolume> = self.wanted.volumes().cloned().collect();
        for written in &self.wanted.volumes_from {
            let (name, mode) = written.split_once(':').unwrap_or((written, "rw"));
            if !["rw", "ro"].contains(&mode) {
                return Err(Error::usage(text_with("docker.volume.option", &[("option", mode)])));
            }
            let container = ContainerStore::open()?.find(name)?;
            for volume in container.record.volumes.iter().filter(|one| !taken.contains(&one.target)) {
                let VolumeMount { name, target, readonly, .. } = volume.clone();
                let readonly = readonly || mode == "ro";
                all.push(WantedVolume { name: Some(name), target, readonly, copies: false });
            }
            let bound = || bound_without_devices(&container);
            for bound in bound().filter(|bound| !taken.contains(&bound.destination)) {
                let readonly = mode == "ro" || bound.attributes().contains(Attributes::READ_ONLY);
                let (source, target) = (bound.source.clone(), bound.destination.clone());
                asked.push(target.clone());
                mounts.mounts.push(ExtraMount::bind(source, target, readonly));
            }
            taken.extend(container.record.volumes.iter().map(|volume| volume.target.clone()));
            taken.extend(bound().map(|bound| bound.destination.clone()));
        }
        for target in layered.volumes.iter().map(|target| resolved(target)) {
            if !taken.contains(&target) {
                taken.push(target.clone());
                all.push(WantedVolume { name: None, target, readonly: false, copies: true });
            }
        }
        asked.extend(all.iter().map(|volume| resolved(&volume.target)));
        let mut made = MadeVolumes::default();
        // A volume is mounted where the links of its path lead to, a directory of the host at the path itself.
        for target in &self.wanted.mount_flags {
            made.mount_flags.push(target.clone());
            made.mount_flags.extend(Some(resolved(target)).filter(|resolved| resolved != target));
        }
        let result = made.make(all, &mut mounts, &layers, resolved, explain);
        allow_mount_points(&mut mounts, &asked, spec.workdir.as_deref(), resolved);
        if self.image.is_some() {
            // What is below another mount point is mounted after it.
            mounts.mounts.sort_by_key(|mount| mount.target().components().count());
        }
        let is_default = mounts == Mnt::default() && self.image.is_none();
        spec.mnt = Some(mounts).filter(|_| !is_default);
        match result {
            Ok(()) => Ok(made),
            Err(error) => {
                made.undo();
                Err(error)
            }
        }
    }

    /// Of two mounts on one mount point, a container would see only the second. So Docker refuses them.
    fn refuse_duplicates(&self) -> Result<()> {
        let mut known = BTreeSet::new();
        for target in self.wanted.targets() {
            let target: PathBuf = target.components().collect();
            let path = printed(&target);
            if !known.insert(target) {
                let what = text_with("docker.volume.twice", &[("path", &path)]);
                return Err(Error::new(ExitKind::Refused, what));
            }
        }
        Ok(())
    }

    /// Makes the directories of the host that `-v` names and that do not exist, as Docker does. Nothing removes them.
    fn make_sources(&self, explain: Explainer) -> Result<()> {
        for source in &self.wanted.sources {
            let missing = std::fs::symlink_metadata(source)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
            if missing {
                let call = format!("mkdir(\"{}\")", printed(source));
                explain.step(&call, "docker.volume.explain");
                std::fs::create_dir_all(source).map_err(|error| {
                    let what = text_with("docker.volume.unmade", &[("path", &printed(source))]);
                    Error::failed(what).call(call, error)
                })?;
            }
        }
        Ok(())
    }
}

/// A file that is mounted in each container, as hostname and resolv.conf beside it are.
const OWN_FILE: &str = "/etc/hosts";

/// Allows mount points in the mounts that flags ask for, if something is mounted below them, or the command starts there.
pub(super) fn allow_mount_points(
    mnt: &mut Mnt,
    asked: &[PathBuf],
    workdir: Option<&Path>,
    resolved: impl Fn(&Path) -> PathBuf,
) {
    let mut inner: Vec<PathBuf> = mnt.all().iter().map(|mount| resolved(mount.target())).collect();
    inner.push(resolved(Path::new(OWN_FILE)));
    inner.extend(workdir.map(&resolved));
    for mount in &mut mnt.mounts {
        if let ExtraMount::Bind { target, readonly: false, mountpoints, .. } = mount
            && asked.contains(target)
        {
            let place = resolved(target);
            *mountpoints |= inner.iter().any(|path| *path != place && path.starts_with(&place));
        }
    }
}

/// The volumes of a new container. Until it is known, no command removes them.
#[derive(Debug, Default)]
pub(in crate::cli) struct MadeVolumes {
    pub(in crate::cli) mounts: Vec<VolumeMount>,
    /// The mount points that `--mount` has asked for.
    pub(in crate::cli) mount_flags: Vec<PathBuf>,
    lock: Option<RunLock>,
}

impl MadeVolumes {
    fn make(
        &mut self,
        all: Vec<WantedVolume>,
        mnt: &mut Mnt,
        layers: &[PathBuf],
        resolved: impl Fn(&Path) -> PathBuf,
        explain: Explainer,
    ) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let store = VolumeStore::make()?;
        self.lock = Some(store.using()?);
        for WantedVolume { name, target, readonly, copies } in all {
            let (volume, is_new) = store.create(name.as_deref(), BTreeMap::new(), own_maps())?;
            explain.step(format!("mkdir(\"{}\")", printed(&volume.path)), "volume.explain.create");
            let target = resolved(&target);
            self.mounts.push(VolumeMount {
                name: volume.name.clone(),
                target: target.clone(),
                readonly,
                is_anonymous: is_new && name.is_none(),
            });
            if copies && volumes::is_empty(&volume.path) && !layers.is_empty() {
                explain.step(format!("copy(<layers>, \"{}\")", printed(&target)), "volume.explain.copy");
                copy_up(&volume, layers, &target)?;
            }
            mnt.mounts.push(ExtraMount::bind(volume.path, target, readonly));
        }
        Ok(())
    }

    /// The container is known that has them.
    pub(in crate::cli) fn release(self) {
        self.lock.into_iter().for_each(RunLock::release);
    }

    /// The container was not made.
    pub(in crate::cli) fn undo(self) {
        let mounts = self.mounts.clone();
        self.release();
        VolumeStore::remove_anonymous(&mounts);
    }
}

#[cfg(feature = "images")]
fn copy_up(volume: &Volume, layers: &[PathBuf], target: &Path) -> Result<()> {
    let Some(directory) = volume.path.parent() else { return Ok(()) };
    let into = (directory, "_data");
    let copied = crate::image::layer::copy_in_map(layers, target, into, volume.about.maps.as_ref());
    copied.map_err(|error| {
        let what = text_with("volume.copy", &[("name", &volume.name)]);
        error.reasons().lines().fold(Error::failed(what), |all, why| all.why(why))
    })
}

#[cfg(not(feature = "images"))]
fn copy_up(_volume: &Volume, _layers: &[PathBuf], _target: &Path) -> Result<()> {
    Ok(())
}
