//! What Docker's flags ask for, as far as it is no key of a spec by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::mounts::{WantedMount, WantedVolume, split_once};
use crate::config::exec::variables;
use crate::config::spec::{Spec, yaml};
use crate::error::{Error, Mistake, Result};
use crate::host::counts_swap;
use crate::network::ports::Port;
use crate::rootfs::dev::SHARED_MEMORY;
use crate::text::{printed, text, text_with, word};
use crate::value::mount::{ExtraMount, TmpfsOption};
use crate::value::units::Size;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    /// Each time.
    Always,
    /// If it is not here.
    Missing,
    /// Never.
    Never,
}

/// A flag that sets keys of a spec.
#[derive(Debug)]
pub(super) struct FlagKeys {
    /// Its name, without the hyphens.
    pub(super) flag: &'static str,
    /// Its value, as it was given.
    pub(super) value: OsString,
    /// The keys, as YAML.
    pub(super) keys: String,
}

/// What the flags ask for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// The flags that set keys of a spec.
    pub(super) keys: Vec<FlagKeys>,
    pub(super) env: Vec<OsString>,
    pub(super) env_files: Vec<PathBuf>,
    /// The names of these variables, in the order of the flags. Known when they are applied.
    pub(crate) names: Vec<String>,
    /// The variables that the command shall not have, also where the image has them.
    pub(crate) unset: BTreeSet<String>,
    pub(super) mounts: Vec<WantedMount>,
    /// The mount points that `--mount` asks for.
    pub(crate) mount_flags: Vec<PathBuf>,
    /// The directories of the host that `-v` names, or `--mount` with bind-create-src. Docker makes those that do not exist.
    pub(crate) sources: Vec<PathBuf>,
    /// The keys that detach the client.
    pub(crate) detach_keys: Option<Vec<u8>>,
    /// The containers whose volumes are mounted too.
    pub(crate) volumes_from: Vec<String>,
    /// The flags that have no key in a spec, as they are written.
    pub(crate) without_key: Vec<String>,
    /// The user, and further groups.
    pub(crate) user: Option<OsString>,
    pub(crate) groups: Vec<OsString>,
    pub(super) workdir: Option<PathBuf>,
    /// The size of the filesystem in memory on /dev/shm, and whether it is that of others, which has a size already.
    pub(super) shm_size: Option<Size>,
    pub(crate) shares_memory: bool,
    /// Whether all exposed ports are published, and the ports that are exposed too.
    pub(crate) publishes_all: bool,
    pub(crate) exposed: Vec<Port>,
    pub(super) memory_swap: Option<String>,
    /// The limits that are taken away by a negative number, as in `ContainerRecord::lifted`.
    pub(crate) lifted: BTreeMap<String, i64>,
    pub(super) cap_add: Vec<String>,
    pub(super) cap_drop: Vec<String>,
    pub(super) seccomp: Option<OsString>,
    pub(super) no_new_privileges: bool,
    /// Whether nothing of /proc and /sys is masked or read-only.
    pub(crate) is_unmasked: bool,
    /// Whether the container has all privileges.
    pub(crate) privileged: bool,
    /// Lines of /etc/hosts, and DNS servers.
    pub(crate) hosts: Vec<(String, String)>,
    pub(crate) nameservers: Vec<IpAddr>,
    /// Containers of the bridge, each with a further name.
    pub(crate) links: Vec<(String, String)>,
    /// Its labels, and those of files, for which `-l` can have another value.
    pub(crate) labels: BTreeMap<String, String>,
    pub(super) file_labels: BTreeMap<String, String>,
    /// The program in place of the image's entrypoint.
    pub(crate) entrypoint: Option<OsString>,
    /// When the image is pulled: None, if it is missing, but never for a spec. And for which platform.
    pub(crate) pull: Option<Pull>,
    pub(crate) platform: Option<String>,
}

impl FlagKeys {
    /// The error of a wrong value. It names the flag: the user did not write the keys.
    fn wrong(&self, mistakes: &[Mistake]) -> Error {
        let near =
            |mistake: &Mistake| mistake.near.as_ref().map(|near| text_with("docker.near", &[("near", near)]));
        let reasons =
            mistakes.iter().flat_map(|mistake| [Some(mistake.what.clone()), near(mistake)]).flatten();
        reasons.fold(wrong_value(self.flag, &self.value), Error::why)
    }
}

/// The error of a flag with a wrong value.
pub(super) fn wrong_value(flag: &str, value: &OsStr) -> Error {
    let values = [("flag", &*format!("--{flag}")), ("value", &word(&printed(value)))];
    Error::usage(text_with("docker.value", &values))
}

impl Wanted {
    /// Adds the keys that a flag sets.
    pub(super) fn key(&mut self, flag: &'static str, value: &OsStr, keys: String) {
        self.keys.push(FlagKeys { flag, value: value.to_owned(), keys });
    }

    /// The same for a flag whose last value counts. None: this value sets none.
    pub(super) fn last_key(&mut self, flag: &'static str, value: &OsStr, keys: Option<String>) {
        self.keys.retain(|key| key.flag != flag);
        if let Some(keys) = keys {
            self.key(flag, value, keys);
        }
    }

    /// Puts into the spec what it has keys for.
    ///
    /// # Errors
    /// A value is wrong.
    pub(crate) fn apply(&mut self, mut spec: Spec) -> Result<Spec> {
        let other = [("cpu-period", "CPU Period"), ("cpu-quota", "CPU Quota")];
        if let Some(cpus) = self.keys.iter().find(|key| key.flag == "cpus")
            && let Some((_, other)) = other.into_iter().find(|(flag, _)| self.has(flag))
        {
            return Err(
                wrong_value("cpus", &cpus.value).why(text_with("docker.cpus.other", &[("other", other)]))
            );
        }
        for flag in &self.keys {
            spec = yaml::with(&spec, &flag.keys, flag.flag).map_err(|mistakes| flag.wrong(&mistakes))?;
        }
        if let Some(workdir) = &self.workdir {
            spec.workdir = Some(workdir.clone());
        }
        let (here, shm) = (std::env::current_dir().unwrap_or_default(), Path::new(SHARED_MEMORY));
        for mount in &self.mounts {
            if let WantedMount::Extra(extra) = mount {
                spec.mnt.get_or_insert_default().mounts.push(extra.clone().resolve(&here));
            }
        }
        // A mount of the command line on the same place is in place of the usual one.
        let is_own = !self.shares_memory && !self.targets().iter().any(|target| target == shm);
        if let Some(size) = self.shm_size.filter(|_| is_own) {
            let options = vec![TmpfsOption::NoExec];
            let target = shm.to_owned();
            spec.mnt.get_or_insert_default().mounts.push(ExtraMount::Tmpfs { target, size, options });
        }
        for variable in variables(&self.env_files, &self.env)? {
            let (name, value) = match split_once(&variable, b'=') {
                Some((name, value)) => (name, Some(value)),
                None => (variable.as_os_str(), None),
            };
            let name = name.to_str().ok_or_else(|| {
                Error::usage(text_with("docker.env", &[("value", &printed(&variable))]))
                    .why(text("docker.env.name"))
            })?;
            self.unset.remove(name);
            self.names.push(name.to_owned());
            match value {
                Some(value) => spec.env.insert(name.to_owned(), value.to_owned()),
                None => {
                    self.unset.insert(name.to_owned());
                    spec.env.remove(name)
                }
            };
        }
        self.apply_swap(&mut spec)?;
        self.apply_security(&mut spec)?;
        Ok(spec)
    }

    /// Whether the last mount is a volume.
    pub(super) fn ends_with_volume(&self) -> bool {
        matches!(self.mounts.last(), Some(WantedMount::Volume(_)))
    }

    /// Whether a flag that sets keys of a spec was given.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.keys.iter().any(|key| key.flag == flag)
    }

    /// The volumes.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &WantedVolume> {
        self.mounts.iter().filter_map(|mount| match mount {
            WantedMount::Volume(volume) => Some(volume),
            WantedMount::Extra(_) => None,
        })
    }

    /// The paths in the container on which the command line mounts something.
    pub(crate) fn targets(&self) -> Vec<PathBuf> {
        self.mounts.iter().map(|mount| mount.target().to_owned()).collect()
    }

    /// Whether it asks for volumes.
    pub(crate) fn has_volumes(&self) -> bool {
        self.volumes().next().is_some() || !self.volumes_from.is_empty()
    }

    /// Docker's value is memory and swap together. Without one, there may be as much swap as memory.
    fn apply_swap(&self, spec: &mut Spec) -> Result<()> {
        let written = self.memory_swap.as_deref().unwrap_or("0");
        let wrong = |why: String| wrong_value("memory-swap", OsStr::new(written)).why(why);
        if written == "-1" {
            spec.memory.iter_mut().for_each(|memory| memory.swap = None);
            return Ok(());
        }
        let all = Size::of_docker(written).map_err(wrong)?;
        if all == Size(0) {
            let memory = spec.memory.as_mut().filter(|memory| self.has("memory") && memory.swap.is_none());
            memory.into_iter().for_each(|memory| memory.swap = memory.limit.filter(|_| counts_swap()));
            return Ok(());
        }
        let memory = spec.memory.as_mut().filter(|memory| memory.limit.is_some());
        let Some(memory) = memory else { return Err(wrong(text("docker.swap.memory"))) };
        let limit = memory.limit.map_or(0, |limit| limit.0);
        let swap = all.0.checked_sub(limit).ok_or_else(|| wrong(text("docker.swap.less")))?;
        memory.swap = Some(Size(swap));
        Ok(())
    }
}
