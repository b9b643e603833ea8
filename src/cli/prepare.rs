//! Makes a plan from a spec file and a command line. `run`, `verify` and the features share this.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::spec::SpecText;
use crate::config::complete::{self, Completed};
use crate::config::compose::{self, Ending};
use crate::config::container::Config;
use crate::config::exec::user_of;
use crate::config::of_image::{possible_groups, user_of_image};
use crate::config::spec::{Spec, profile, yaml};
use crate::error::{Error, ExitKind, Result};
use crate::feature::{Feature, Purpose};
use crate::host::accounts::Accounts;
use crate::host::command;
use crate::host::run_lock::RunLock;
use crate::plan::call::user::IdMaps;
use crate::plan::{Plan, Problem};
use crate::rootfs::Rootfs;
use crate::rootfs::dev::{self, SHARED_MEMORY};
use crate::rootfs::mount::ContainerMount;
use crate::security::run_as::RunAs;
use crate::text::{self, text, text_with};

/// Reads a spec from a file, and the text of that file. Its relative paths start at the directory of that file.
pub(super) fn read(file: &Path) -> Result<(Spec, SpecText)> {
    let (mut spec, source) = super::spec::load(file)?;
    let base = file.parent().unwrap_or(Path::new("."));
    let base = base.canonicalize().unwrap_or_else(|_| base.to_owned());
    spec.seccomp = spec.seccomp.map(|seccomp| profile::resolve(seccomp, &base)).transpose()?;
    spec.rootfs = spec.rootfs.map(|rootfs| rootfs.resolve(&base));
    if let Some(mnt) = &mut spec.mnt {
        mnt.mounts = mnt.mounts.drain(..).map(|extra| extra.resolve(&base)).collect();
    }
    Ok((spec, source))
}

/// What a command line asks for that is no key of a spec.
#[derive(Debug, Default)]
#[cfg_attr(not(feature = "images"), expect(dead_code, reason = "only an image has an entrypoint"))]
pub(super) struct Wishes {
    /// The user, whose names are those of the container.
    pub(super) user: Option<OsString>,
    /// Further groups of the user.
    pub(super) groups: Vec<OsString>,
    /// The program in place of the image's entrypoint.
    pub(super) entrypoint: Option<OsString>,
    /// The variables of the image that the command shall not have.
    pub(super) unset: BTreeSet<String>,
    /// Whether the command of the spec comes from the words after the name of an image. It then follows the entrypoint.
    pub(super) follows_entrypoint: bool,
}

/// A spec whose root filesystem consists of directories, and what its image says besides.
#[derive(Debug, Default)]
pub(super) struct Layered {
    pub(super) spec: Spec,
    /// The ID of the image.
    pub(super) image_id: Option<String>,
    /// How many words of its command are the entrypoint.
    pub(super) entrypoint: usize,
    /// The names of the variables of the image, in its order.
    pub(super) variables: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) stop_signal: Option<String>,
    pub(super) exposed: Vec<String>,
    pub(super) volumes: Vec<PathBuf>,
    /// Its user, as the command line or the image names it.
    pub(super) user: Option<String>,
    /// The supplementary groups of its user.
    pub(super) groups: Vec<u32>,
    /// As long as it is held, no command removes the layers.
    pub(super) lock: Option<RunLock>,
}

/// The same spec with the layers of its image, if its root filesystem is one.
#[cfg(feature = "images")]
pub(super) use super::image::with_layers;

impl Layered {
    /// The spec alone, without a promise that its layers stay.
    pub(super) fn into_spec(self) -> Spec {
        self.lock.into_iter().for_each(RunLock::release);
        self.spec
    }
}

pub(super) use crate::config::of_image::maps_of;

/// The ID maps of a container of this caller whose spec says nothing about them.
pub(super) fn own_maps() -> Option<IdMaps> {
    let user = if nix::unistd::geteuid().is_root() { None } else { user_of_image() };
    maps_of(&Spec { rootfs: Some(Rootfs::Image(String::new())), user, ..Spec::default() })
}

/// The user and the groups of a command line, looked up in the files of the container.
pub(super) fn with_user(layered: &mut Layered, wishes: &Wishes, image_user: &str) -> Result<()> {
    let spec = &mut layered.spec;
    let accounts = || {
        Accounts::of_layers(&match &spec.rootfs {
            Some(Rootfs::Dir(directory)) => vec![directory.clone()],
            Some(Rootfs::Layers(layers)) => layers.layers.clone(),
            _ => vec!["/".into()],
        })
    };
    let from_image = (spec.run_as.is_none() && !image_user.is_empty()).then(|| OsString::from(image_user));
    let wanted = wishes.user.clone().or(from_image);
    if wanted.is_none() && wishes.groups.is_empty() {
        return Ok(());
    }
    let accounts = accounts();
    if let Some(user) = wanted {
        layered.user = Some(user.to_string_lossy().into_owned());
        let user = user_of(&user, &accounts)?;
        spec.run_as = Some(user.ids);
        layered.groups = possible_groups(spec, user.groups);
        if let Some(home) = user.home.to_str() {
            spec.env.entry("HOME".to_owned()).or_insert_with(|| home.into());
        }
    }
    for group in &wishes.groups {
        let unknown = || Error::failed(text_with("docker.group", &[("group", &text::printed(group))]));
        let gid = match group.to_str().and_then(|group| group.parse::<u32>().ok()) {
            Some(gid) => gid,
            None => accounts.group(group.as_bytes()).ok().flatten().ok_or_else(unknown)?,
        };
        layered.groups.push(gid);
        // Groups are set together with a user.
        layered.spec.run_as.get_or_insert(RunAs { uid: 0, gid: 0 });
    }
    layered.groups.sort_unstable();
    layered.groups.dedup();
    Ok(())
}

/// Changes of a config that no key of a spec asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Adjustments {
    /// The supplementary groups of the command.
    pub(super) groups: Vec<u32>,
    /// Whether the container has all privileges: it gets the devices of the host.
    pub(super) is_privileged: bool,
    /// Whether nothing of /proc and /sys is masked or read-only.
    pub(super) is_unmasked: bool,
    /// Whether the filesystem in memory on /dev/shm is left out.
    pub(super) has_no_shm: bool,
    /// Whether TERM is left out. As in Docker, only a command with a terminal has it.
    pub(super) has_no_term: bool,
    /// Further lines of /etc/hosts.
    pub(super) hosts: Vec<(String, String)>,
    /// The DNS servers in place of the host's.
    pub(super) nameservers: Vec<std::net::IpAddr>,
}

impl Adjustments {
    fn apply(&self, config: &mut Config) {
        config.process.additional_gids.extend(&self.groups);
        if let Some(env) = config.process.env.as_mut().filter(|_| self.has_no_term) {
            env.retain(|entry| !entry.as_bytes().starts_with(b"TERM="));
        }
        let environment = &mut config.environment;
        if let Some(root) = environment.root.as_mut().filter(|_| self.is_privileged) {
            root.devices = true;
            environment.devices.extend(dev::devices_of_host());
        }
        if self.is_unmasked {
            environment.masked_paths.clear();
            environment.readonly_paths.clear();
            let of_sys = |mount: &&mut ContainerMount| mount.destination.starts_with("/sys");
            for mount in environment.mounts.iter_mut().filter(of_sys) {
                mount.options.retain(|option| option != "ro");
            }
        }
        if self.has_no_shm {
            let is_shm = |mount: &ContainerMount| {
                mount.bound().is_none() && mount.destination.as_os_str() == SHARED_MEMORY
            };
            let shm = environment.mounts.iter().position(is_shm);
            shm.map(|shm| environment.mounts.remove(shm));
        }
        environment.hosts = self.hosts.iter().map(|(address, name)| format!("{address}\t{name}")).collect();
        environment.nameservers.clone_from(&self.nameservers);
    }
}

/// The same spec, which cannot have an image as its root filesystem.
#[cfg(not(feature = "images"))]
pub(super) fn with_layers(
    spec: Spec,
    wishes: &Wishes,
    _: crate::container::explain::Explainer,
) -> Result<Layered> {
    if let Some(Rootfs::Image(name)) = &spec.rootfs {
        let name = text::printed(name);
        return Err(Error::failed(text_with("image.without", &[("name", &name)])));
    }
    let mut layered = Layered { spec, ..Layered::default() };
    with_user(&mut layered, wishes, "")?;
    Ok(layered)
}

/// Finds the program of the command in `path`, a list of directories as in PATH. None where there is no command.
///
/// # Errors
/// The program is not found in the container, or cannot be executed.
pub(super) fn ending(completed: &Completed, path: &OsStr) -> Result<Option<Ending>> {
    let arguments = &completed.config.process.args;
    let Some(name) = arguments.first() else { return Ok(None) };
    let ending = |path: PathBuf| Ending::Command { path, arguments: arguments.clone() };
    let found = command::resolve(name, &compose::resolver(&completed.config), path);
    found.map(|path| Some(ending(path))).or_else(|error| {
        // If the root filesystem cannot be used, no command is found in it. Then the problem of the plan is reported
        // instead.
        let ending = ending(name.into());
        let plan = completed.plan(ending.clone(), false);
        if plan.problems.is_empty() { Err(error) } else { Ok(Some(ending)) }
    })
}

/// The error of a missing command, if the plan has other problems too. None if the command could be in what is missing besides: the
/// root filesystem, or the source of a bind mount.
pub(super) fn missing_command(completed: &Completed, problems: &[Problem]) -> Option<Error> {
    let config = &completed.config;
    let name = config.process.args.first()?;
    let path = config.process.variable("PATH").unwrap_or_default();
    let is_of_root = |problem: &Problem| problem.key.as_ref().is_some_and(|key| key.starts_with("rootfs"));
    if problems.is_empty() || problems.iter().any(is_of_root) {
        return None;
    }
    let tree = compose::resolver(config);
    let places: Vec<PathBuf> = match name.as_bytes().contains(&b'/') {
        true => vec![name.into()],
        false => std::env::split_paths(path).collect(),
    };
    let asked: Vec<ContainerMount> = match config.environment.namespaces.mnt.options() {
        Some(mnt) => mnt.all().into_iter().map(ContainerMount::from).collect(),
        None => Vec::new(),
    };
    let mounts = config.environment.mounts.iter().chain(&asked);
    let mut absent = mounts.filter(|mount| mount.bound().is_some_and(|source| !source.exists()));
    if absent.any(|mount| places.iter().any(|place| place.starts_with(&mount.destination))) {
        return None;
    }
    command::resolve(name, &tree, path).err()
}

/// The plan that `--dry-run` prints. If root can do something that the caller cannot, such as create a cgroup or a bridge,
/// it is the plan of root, so that it has every call. It keeps the problems of the caller's own plan.
pub(super) fn printed(
    plan: Plan,
    spec: &Spec,
    ending: impl Fn(&Completed) -> Result<Ending>,
    view: bool,
) -> Plan {
    if nix::unistd::geteuid().is_root() || plan.problems.is_empty() {
        return plan;
    }
    let completed = Completed::as_root(spec, plan.purpose);
    let Ok(ending) = ending(&completed) else { return plan };
    let roots = completed.plan(ending, view);
    match roots.problems.len() < plan.problems.len() {
        true => Plan { as_root: true, problems: plan.problems, ..roots },
        false => plan,
    }
}

/// As [`ending`], for a container, which must have a command. The command is searched in the PATH of the container,
/// not in the caller's. So a spec means the same program for every caller.
///
/// # Errors
/// As [`ending`]; there is no command.
pub(super) fn container_ending(completed: &Completed) -> Result<Ending> {
    let path = completed.config.process.variable("PATH").unwrap_or_default();
    let ending = ending(completed, path)?;
    ending.ok_or_else(|| Error::failed(text("run.nocommand.what")).todo(text("run.nocommand.todo")))
}

/// As [`container_ending`], for a container that is kept: whether its program can be executed is known at its start, which
/// reports it. So it stays, and can be looked at.
///
/// # Errors
/// There is no command.
pub(super) fn kept_ending(completed: &Completed) -> Result<Ending> {
    container_ending(completed).or_else(|error| {
        let arguments = completed.config.process.args.clone();
        match (error.kind, arguments.first()) {
            (ExitKind::NotFound | ExitKind::NotExecutable, Some(name)) => {
                Ok(Ending::Command { path: name.into(), arguments })
            }
            _ => Err(error),
        }
    })
}

/// The plan of a container.
pub(super) struct Prepared {
    /// The container.
    pub(super) config: Config,
    /// Its plan.
    pub(super) plan: Plan,
    /// The optional features that were left out, each with the reason.
    pub(super) left: Vec<(Feature, String)>,
    /// Messages about features that do less than was asked for.
    pub(super) notes: Vec<(Feature, String)>,
}

/// The plan of a container without the optional features that this machine does not have.
///
/// # Errors
/// Those of `ending`.
pub(super) fn plan(
    spec: Spec,
    ending: impl Fn(&Completed) -> Result<Ending>,
    view: bool,
) -> Result<Prepared> {
    plan_adjusted(spec, &Adjustments::default(), ending, view)
}

/// As [`plan`], with a config that is changed.
///
/// # Errors
/// As [`plan`].
pub(super) fn plan_adjusted(
    mut spec: Spec,
    adjustments: &Adjustments,
    ending: impl Fn(&Completed) -> Result<Ending>,
    view: bool,
) -> Result<Prepared> {
    let mut left = Vec::new();
    loop {
        let mut completed = Completed::of(&spec, Purpose::Container);
        adjustments.apply(&mut completed.config);
        let mut plan = completed.plan(ending(&completed)?, view);
        let missing = missing_command(&completed, &plan.problems);
        let of_command =
            |error| Problem { purpose: Purpose::Container, key: Some("command".to_owned()), error };
        plan.problems.extend(missing.map(of_command));
        let optional = |problem: &Problem| problem.purpose.feature().filter(|of| spec.optional.contains(of));
        let obstacle =
            plan.problems.iter().find_map(|problem| Some((optional(problem)?, problem.error.reasons())));
        let prepared = |left| Prepared { config: completed.config, plan, left, notes: Vec::new() };
        let Some((feature, why)) = obstacle else { return Ok(prepared(left)) };
        left.push((feature, why));
        let devices = complete::device_files(&spec);
        match yaml::without(&spec, feature.name()) {
            Ok(mut less) => {
                // Without a cgroup no device is denied. The files of the allowed ones are still wanted.
                if feature == Feature::Devices && !devices.is_empty() {
                    less.mnt.get_or_insert_default().mounts.splice(0..0, devices);
                }
                spec = less;
            }
            Err(_) => return Ok(prepared(left)),
        }
    }
}
