//! Paths of a spec or of flags that cannot be used. They are told before anything is made.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::container::Config;
use super::spec::Spec;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::resolver::Resolver;
use crate::namespaces::mnt::Mnt;
use crate::observe::file;
use crate::plan::Draft;
use crate::rootfs::RootFilesystem;
use crate::rootfs::mount::ContainerMount;
use crate::text::{text, text_with};
use crate::value::mount::ExtraMount;
use crate::value::shell::quote;

/// Adds a problem for each path that begins with `~`.
pub(super) fn with_tilde(spec: &Spec, draft: &mut Draft) {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    for (feature, path) in from_home(spec) {
        let whole = match path.strip_prefix("~").ok().zip(home.as_ref()) {
            Some((rest, home)) => Path::new(home).join(rest),
            None => path.components().skip(1).collect(),
        };
        let error = Error::failed(file::path_text(&path)).why(text("spec.tilde")).paste(quote(&whole));
        draft.problem(feature, error);
    }
}

/// The paths that begin with `~`, which only a shell expands, and only at the beginning of a word.
fn from_home(spec: &Spec) -> Vec<(Feature, PathBuf)> {
    let mut all: Vec<(Feature, PathBuf)> = Vec::new();
    if let Some(mnt) = &spec.mnt {
        all.extend(mnt.root.clone().map(|root| (Feature::Mnt, root)));
        for mount in mnt.all() {
            if let ExtraMount::Bind { source, .. } = &mount {
                all.push((Feature::Mnt, source.clone()));
            }
            all.push((Feature::Mnt, mount.target().to_owned()));
        }
    }
    if let Some(blkio) = &spec.blkio {
        all.extend(blkio.devices().into_iter().map(|device| (Feature::Blkio, device.into())));
    }
    all.retain(|(_, path)| path.as_os_str().as_encoded_bytes().starts_with(b"~"));
    all
}

/// Adds a problem if the command cannot start in this directory, as far as it can be known before the mounts are made.
/// Whether the command's user may enter it, only the kernel knows. `tree` is what paths in the container resolve to.
pub(super) fn check_directory(config: &Config, directory: &Path, tree: &Resolver, draft: &mut Draft) {
    if let Some(problem) = obstacle(config, directory, tree) {
        draft.problem_at(Feature::Mnt, "workdir", problem);
    }
}

/// Paths that lead each process to a directory of its own.
const OF_EACH_PROCESS: [&str; 3] = ["/proc/self", "/proc/thread-self", "/dev/fd"];

fn obstacle(config: &Config, directory: &Path, tree: &Resolver) -> Option<Error> {
    if OF_EACH_PROCESS.iter().any(|of| directory.starts_with(of)) {
        let values = [("path", &*file::path_text(directory))];
        let error = Error::failed(text_with("run.workdir.what", &values)).why(text("run.workdir.self"));
        return Some(error.todo(text("run.workdir.todo") + "\n   workdir: /"));
    }
    let resolved = tree.resolve(directory);
    let on_host = resolved.host?;
    let makes = config.environment.root.as_ref().is_some_and(RootFilesystem::makes_working_directory);
    let is_shown =
        |mount: &&ContainerMount| resolved.container.starts_with(tree.resolve(&mount.destination).container);
    let mount = config.environment.mounts.iter().rev().find(is_shown);
    let makes =
        makes && mount.map_or(!tree.is_in_mount(&resolved.container), ContainerMount::takes_mount_points);
    let key = match fs::metadata(&on_host) {
        Ok(found) if found.is_dir() => return None,
        Err(error) if error.kind() == ErrorKind::NotFound && makes => return None,
        Ok(_) => "run.workdir.file",
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            "run.workdir.missing"
        }
        // Another user may be allowed to look at it.
        Err(_) => return None,
    };
    // The mount points that do not exist are made, and the directories above them.
    let asked = config.environment.namespaces.mnt.options().map(Mnt::all).unwrap_or_default();
    let made = config.environment.mounts.iter().map(|mount| mount.destination.as_path());
    let mut made = made.chain(asked.iter().map(ExtraMount::target));
    let is_made = made.any(|point| tree.resolve(point).container.starts_with(&resolved.container));
    if is_made {
        return None;
    }
    let values = [("path", &*file::path_text(directory)), ("host", &*file::path_text(&on_host))];
    Some(
        Error::failed(text_with("run.workdir.what", &values))
            .why(text_with(key, &values))
            .todo(text("run.workdir.todo") + "\n   workdir: /"),
    )
}
