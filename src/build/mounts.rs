//! `RUN --mount`: what a command sees besides the files of its stage. Nothing of it is in the layer, because each is a mount of its own.
//!
//! | type | what is mounted |
//! |---|---|
//! | `bind` | a copy of files of the context, of a stage or of an image. The image's links lead nowhere else |
//! | `cache` | a directory in HOME that stays from build to build, until `builder prune` |
//! | `tmpfs` | an empty filesystem in memory |
//! | `secret` | a file of `--secret`. It is no part of the key of the cache either |

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::context::ContextError;
use super::copied::CopiedAs;
use super::copy::{CopyRequest, SourceFiles};
use super::dockerfile::mount::{CacheSharing, MountOwner, RunMount, RunMountKind};
use super::dockerfile::{Instruction, Placed, RunCommand};
use super::engine::{ImageBuilder, StageState};
use super::ignore::IgnoreRules;
use super::layer_files::LayerFiles;
use super::options::BuildStop;
use super::secret;
use super::steps::now;
use crate::error::{Error, ExitKind, Result};
use crate::host::memory_directory::MemoryDirectory;
use crate::host::run_lock::RunLock;
use crate::image::layer::{self, PlaceKind};
use crate::image::rootfs::LayerWorkspace;
use crate::image::store::StagedBlob;
use crate::text::{printed, text, text_with};
use crate::value::mount::{ExtraMount, TmpfsOption};
use crate::value::shell::quote;
use crate::value::units::Size;

/// The time between two attempts to get a directory that another build uses.
const PAUSE: Duration = Duration::from_millis(50);

/// The mode of a secret.
const SECRET_MODE: u32 = 0o400;

/// The mode of a directory of `type=cache`.
const CACHE_MODE: u32 = 0o755;

/// The file beside a cache that has its first files.
const MARK: &str = "begun";

/// The maximum size of a tmpfs without one.
const TMPFS_SIZE: u64 = 64 << 20;

/// A mount of a step, before it is known whether the step is made.
pub(super) struct StepMount {
    mount: RunMount,
    /// The files of a bind mount, or those that a new cache begins with.
    files: Option<MountedFiles>,
    /// Its part of the key.
    pub(super) key: Value,
}

/// Files of the context, of a stage or of an image, for a mount.
struct MountedFiles {
    /// The archive with them.
    blob: StagedBlob,
    /// The name of the file if it is one.
    file: Option<String>,
    /// The digest of their content.
    content: String,
}

/// The mounts of a command.
#[derive(Default)]
pub(super) struct MadeMounts {
    pub(super) mounts: Vec<ExtraMount>,
    /// The secrets that are variables.
    pub(super) env: BTreeMap<String, String>,
    /// The directories with the files of secrets.
    _secrets: Vec<MemoryDirectory>,
    /// The directories that no other build may use meanwhile.
    _locks: Vec<RunLock>,
    /// Those that are locked.
    locked: BTreeSet<PathBuf>,
}

impl StepMount {
    /// The archive of files, which only this step needs.
    pub(super) fn files(&self) -> Option<&StagedBlob> {
        self.files.as_ref().map(|files| &files.blob)
    }
}

impl ImageBuilder<'_> {
    /// Reads the mounts of a command, and the files of bind mounts.
    pub(super) fn mounts(
        &mut self,
        stage: &StageState,
        step: &Placed<Instruction>,
        run: &RunCommand,
    ) -> std::result::Result<Vec<StepMount>, BuildStop> {
        let mut all = Vec::new();
        for written in &run.mounts {
            let source = self.source().0.clone();
            let wrong = |what: String| source.error(&step.place_of(written), what);
            let mut expand = |word: &str| self.one(stage, step, word).map_err(|error| error.what);
            let mount = RunMount::read(written, &mut expand).map_err(wrong)?;
            let (mut files, mut key) = (None, json!(written));
            let wanted = match &mount.kind {
                RunMountKind::Bind { from, source } => Some((from.as_deref(), source)),
                RunMountKind::Cache { from: Some(from), source, .. } => Some((Some(from.as_str()), source)),
                _ => None,
            };
            if let Some((from, source)) = wanted {
                let found = self.mounted_files(stage, step, from, source)?;
                if found.file.is_some() && matches!(mount.kind, RunMountKind::Cache { .. }) {
                    return Err(wrong(text("build.mount.from")).into());
                }
                key = json!([written, found.content]);
                files = Some(found);
            }
            all.push(StepMount { mount, files, key });
        }
        Ok(all)
    }

    /// Copies what a mount shows into an archive.
    fn mounted_files(
        &mut self,
        stage: &StageState,
        step: &Placed<Instruction>,
        from: Option<&str>,
        source: &str,
    ) -> std::result::Result<MountedFiles, BuildStop> {
        let layers = match from {
            Some(from) => Some(self.layers_of(stage, step, from)?),
            None => None,
        };
        let maps = self.inputs.options.maps.as_ref();
        let request = CopyRequest {
            sources: vec![source.to_owned()],
            parents: false,
            fetched: Vec::new(),
            files: match &layers {
                Some(layers) => SourceFiles::Layers(LayerFiles { layers, maps }),
                None => SourceFiles::Context(self.inputs.context),
            },
            texts: Vec::new(),
            target: LayerFiles { layers: &[], maps },
            destination: "/".to_owned(),
            copied_as: CopiedAs::default(),
            unpacks: false,
            unpacks_fetched: false,
            excluded: IgnoreRules::default(),
            now: now(),
            stops: self.inputs.stops,
        };
        let failed = |error| self.copy_error(step, "RUN --mount", error);
        let name = request.file_name().map_err(failed)?;
        let (blob, content, _) = request.write(self.inputs.ingest.blob()?).map_err(failed)?;
        let blob = self.inputs.ingest.staged(blob);
        Ok(MountedFiles { blob, file: name, content: content.hex().to_owned() })
    }

    /// Makes the mounts of a command that is about to be executed.
    pub(super) fn make_mounts(
        &self,
        all: &[StepMount],
        workdir: &Path,
        workspace: &LayerWorkspace,
    ) -> Result<MadeMounts> {
        let mut made = MadeMounts::default();
        let unmade = |error: std::io::Error| self.inputs.ingest.unwritten(&error);
        for (number, StepMount { mount, files, .. }) in all.iter().enumerate() {
            let target = |default: &str| workdir.join(mount.target.as_deref().unwrap_or(default));
            let name = format!("mount-{number}");
            match &mount.kind {
                RunMountKind::Bind { .. } => {
                    let Some(files) = files else { continue };
                    let directory = workspace.make_directory(&name, None).map_err(unmade)?;
                    self.fill(&directory, files)?;
                    let source = files.file.iter().fold(directory, |directory, name| directory.join(name));
                    let (target, readonly) = (target("/"), mount.read_only);
                    made.mounts.push(ExtraMount::bind(source, target, readonly));
                }
                RunMountKind::Cache { id, sharing, owner, .. } => {
                    let target = target("/");
                    // `./x` and `x` in the working directory are one cache.
                    let own = || target.components().collect::<PathBuf>();
                    let id = id.clone().unwrap_or_else(|| own().display().to_string());
                    let place = (workspace, &*name);
                    let source =
                        self.cache_directory((&id, files.as_ref()), *sharing, *owner, place, &mut made)?;
                    made.mounts.push(ExtraMount::bind(source, target, mount.read_only));
                }
                RunMountKind::Tmpfs { size } => {
                    let size = Size(size.unwrap_or(TMPFS_SIZE));
                    let options = if mount.read_only { vec![TmpfsOption::ReadOnly] } else { Vec::new() };
                    made.mounts.push(ExtraMount::Tmpfs { target: target("/"), size, options });
                }
                RunMountKind::Secret { id, required, env, owner } => {
                    let given = self.inputs.options.secrets.get(id);
                    let Some(secret) = given.map(|given| secret::content(id, given)).transpose()?.flatten()
                    else {
                        if *required {
                            let what = text_with("build.secret.none", &[("id", &printed(id))]);
                            let [file, variable] =
                                [",src=FILE", ",env=VARIABLE"].map(|of| quote(format!("id={id}{of}")));
                            let values = [("file", &*file), ("variable", &*variable)];
                            return Err(Error::new(ExitKind::Refused, what)
                                .todo(text_with("build.secret.todo", &values)));
                        }
                        continue;
                    };
                    if let Some(env) = env {
                        if secret.contains(&0) {
                            let what = text_with("build.secret.null", &[("id", &printed(id))]);
                            return Err(Error::new(ExitKind::Refused, what));
                        }
                        made.env.insert(env.clone(), String::from_utf8_lossy(&secret).into_owned());
                    }
                    if env.is_some() && mount.target.is_none() {
                        continue;
                    }
                    let maps = self.inputs.options.maps.as_ref();
                    let memory = MemoryDirectory::make().map_err(unmade)?;
                    let directory = match &memory {
                        Some(memory) => memory.path().to_owned(),
                        None => workspace.make_directory(&name, None).map_err(unmade)?,
                    };
                    made._secrets.extend(memory);
                    let mode = owner.mode.unwrap_or(SECRET_MODE);
                    let source = secret::write(directory, &secret, mode, *owner, maps)?;
                    let target = target(&format!("/run/secrets/{id}"));
                    made.mounts.push(ExtraMount::bind(source, target, true));
                }
            }
        }
        // What is below another mount point is mounted after it.
        made.mounts.sort_by_key(|mount| mount.target().components().count());
        self.make_mount_points(&made.mounts)?;
        Ok(made)
    }

    /// Makes the mount points that are in the files of another mount: a copy that only this step has, or a cache. Elsewhere the
    /// container makes them.
    fn make_mount_points(&self, mounts: &[ExtraMount]) -> Result<()> {
        let maps = self.inputs.options.maps.as_ref();
        for (at, mount) in mounts.iter().enumerate() {
            let below =
                |above: &ExtraMount| mount.target().strip_prefix(above.target()).ok().map(Path::to_owned);
            // The last one that has the mount point in it hides the others.
            let found = mounts[..at].iter().rev().find_map(|above| Some((above, below(above)?)));
            let Some((ExtraMount::Bind { source, .. }, path)) = found else { continue };
            if path.as_os_str().is_empty() || !source.is_dir() {
                continue;
            }
            let files = LayerFiles { layers: std::slice::from_ref(source), maps };
            let unread = |error| match error {
                ContextError::Wrong(why) | ContextError::Source(_, why) => Error::failed(text_with(
                    "build.mount.point",
                    &[("path", &printed(mount.target())), ("why", &why)],
                )),
                ContextError::Unread(_, error) | ContextError::Unwritten(error) => {
                    self.inputs.ingest.unwritten(&error)
                }
            };
            let reached = files.reach(path.as_os_str().as_bytes()).map_err(unread)?;
            // A link in these files leads to a place in the container, which may be elsewhere.
            if reached.kind == PlaceKind::Nothing && reached.directory.join(&reached.rest) == path {
                let is_file = match mount {
                    ExtraMount::Bind { source, .. } => !source.is_dir(),
                    ExtraMount::Tmpfs { .. } => false,
                };
                secret::mount_point(source, (&reached.directory, &reached.rest), is_file, maps)?;
            }
        }
        Ok(())
    }

    /// Unpacks files into a directory.
    fn fill(&self, directory: &Path, files: &MountedFiles) -> Result<()> {
        let archive = self.inputs.ingest.open(&files.blob)?;
        layer::fill(archive, &[directory.to_owned()], self.inputs.options.maps.as_ref()).map(drop)
    }

    /// Gives a new cache its first files. A build that is killed meanwhile leaves no mark, so the next one begins again.
    fn begin_cache(&self, directory: &Path, first: &MountedFiles) -> Result<()> {
        let mark = directory.join(MARK);
        let unwritten = |error: std::io::Error| self.inputs.ingest.unwritten(&error);
        let begin = || {
            self.fill(&directory.join("files"), first)?;
            std::fs::File::create(&mark).map(drop).map_err(unwritten)
        };
        while !mark.exists() {
            self.inputs.stops.check()?;
            match RunLock::of_directory(directory) {
                Ok(lock) => {
                    // Another build may have done it before this one got the lock.
                    let begun = if mark.exists() { Ok(()) } else { begin() };
                    // A process that another thread is starting may have a copy of the lock.
                    lock.release();
                    begun?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => return Err(unwritten(error)),
            }
        }
        Ok(())
    }

    /// The directory of a cache.
    fn cache_directory(
        &self,
        (id, first): (&str, Option<&MountedFiles>),
        sharing: CacheSharing,
        owner: MountOwner,
        (workspace, name): (&LayerWorkspace, &str),
        made: &mut MadeMounts,
    ) -> Result<PathBuf> {
        let maps = self.inputs.options.maps.as_ref();
        // Caches that begin with other files are different ones, as in BuildKit.
        let id = first.map_or_else(|| id.to_owned(), |first| format!("{id}\0{}", first.content));
        let (directory, is_new) = self.inputs.store.cache_directory(&id, maps)?;
        let files = directory.join("files");
        let own = |files: &Path| secret::own(files, owner.mode.unwrap_or(CACHE_MODE), owner, maps);
        if is_new {
            own(&files)?;
        }
        if let Some(first) = first {
            self.begin_cache(&directory, first)?;
        }
        // Another mount of the same step may have the lock.
        if sharing == CacheSharing::Shared || made.locked.contains(&directory) {
            return Ok(files);
        }
        loop {
            match RunLock::of_directory(&directory) {
                Ok(lock) => {
                    made._locks.push(lock);
                    made.locked.insert(directory);
                    return Ok(files);
                }
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                    return Err(self.inputs.ingest.unwritten(&error));
                }
                Err(_) if sharing == CacheSharing::Private => {
                    let made = workspace.make_directory(name, None);
                    let made = made.map_err(|error| self.inputs.ingest.unwritten(&error))?;
                    own(&made)?;
                    first.map_or(Ok(()), |first| self.fill(&made, first))?;
                    return Ok(made);
                }
                Err(_) => {
                    self.inputs.stops.check()?;
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}
