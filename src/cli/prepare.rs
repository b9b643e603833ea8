//! Makes a plan from a spec file and a command line. `run`, `verify` and the features share this.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::spec::SpecText;
use crate::config::complete::{self, Completed};
use crate::config::compose::{self, Ending};
use crate::config::container::Config;
use crate::config::spec::{Spec, profile, yaml};
use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::host::command;
use crate::plan::{Plan, Problem};
use crate::text::text;

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

/// The same spec with the layers of its image, if its root filesystem is one.
#[cfg(feature = "images")]
pub(super) use super::image::with_layers;

/// The same spec, which cannot have an image as its root filesystem.
#[cfg(not(feature = "images"))]
pub(super) fn with_layers(spec: Spec, _: crate::container::explain::Explainer) -> Result<Spec> {
    match &spec.rootfs {
        Some(crate::rootfs::Rootfs::Image(name)) => Err(Error::failed(crate::text::text_with(
            "image.without",
            &[("name", &crate::text::printed(name))],
        ))),
        _ => Ok(spec),
    }
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

/// The plan of a container.
pub(super) struct Prepared {
    /// The container.
    pub(super) config: Config,
    /// Its plan.
    pub(super) plan: Plan,
    /// The optional features that were left out, each with the reason.
    pub(super) left: Vec<(Feature, String)>,
}

/// The plan of a container without the optional features that this machine does not have.
///
/// # Errors
/// Those of `ending`.
pub(super) fn plan(
    mut spec: Spec,
    ending: impl Fn(&Completed) -> Result<Ending>,
    view: bool,
) -> Result<Prepared> {
    let mut left = Vec::new();
    loop {
        let completed = Completed::of(&spec, Purpose::Container);
        let plan = completed.plan(ending(&completed)?, view);
        let optional = |problem: &Problem| problem.purpose.feature().filter(|of| spec.optional.contains(of));
        let obstacle =
            plan.problems.iter().find_map(|problem| Some((optional(problem)?, problem.error.reasons())));
        let prepared = |left| Prepared { config: completed.config, plan, left };
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
