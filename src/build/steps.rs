//! The instructions that change files: `RUN`, `COPY`, `ADD` and `WORKDIR`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::configure;
use super::container::{self, BuildNetwork, RunTask};
use super::context::ContextError;
use super::copied::{CopiedAs, CopiedLayer, StoppedRead, copy_limited};
use super::copy::{CopyRequest, SourceFiles, clean_inside};
use super::dockerfile::{
    CopyFiles, Instruction, Placed, RunCommand, RunNetwork, RunScript, RunSecurity, Span,
};
use super::engine::{ImageBuilder, StageState, placed_at};
use super::fetched::{has_scheme, is_git, is_url};
use super::ignore::IgnoreRules;
use super::layer_files::LayerFiles;
use super::missed::changed_files;
use super::mode::CopiedMode;
use super::mounts::StepMount;
use super::options::{BuildEvent, BuildStop};
use super::output_tail::OutputTail;
use super::process;
use super::scope::environment;
use super::secret::write_program;
use super::stages::{self, StageBase};
use crate::config::exec::{NamedUser, user_of};
use crate::error::{Error, Result, io_text};
use crate::host::accounts::Accounts;
use crate::host::token::token;
use crate::image::layer::{self, LayerReading};
use crate::image::rootfs::LayerWorkspace;
use crate::image::store::StagedBlob;
use crate::text::{printed, text, text_with};
use crate::value::mount::ExtraMount;

type Stopped<T> = std::result::Result<T, BuildStop>;

/// The directory in a container with the programs that are here-documents.
const SCRIPTS: &str = "/run/build";

/// The host name of each command of a build with SOURCE_DATE_EPOCH.
const HOSTNAME: &str = "sandbox-build";

/// The size of an archive without entries: two blocks of zeros.
const EMPTY_ARCHIVE: u64 = 1024;

impl ImageBuilder<'_> {
    /// `RUN`.
    pub(super) fn run(
        &mut self,
        stage: &mut StageState,
        step: &Placed<Instruction>,
        run: &RunCommand,
    ) -> Stopped<()> {
        let source = self.source().0.clone();
        let wrong = |what: String| source.error(&step.span, what);
        if run.security == Some(RunSecurity::Insecure) {
            return Err(wrong(text("build.run.security")).into());
        }
        let mounts = self.mounts(stage, step, run)?;
        let config = &stage.current.config;
        // A here-document that is a program becomes a file, which is mounted.
        let mut program = None;
        let arguments = match run.script() {
            RunScript::Shell(line) => [configure::shell_of(config), vec![line]].concat(),
            RunScript::Exec(list) => list.to_vec(),
            RunScript::File { name, content } => {
                let path = format!("{SCRIPTS}/{name}");
                program = Some((path.clone(), content));
                vec![path]
            }
        };
        let visible = stage.scope.visible(config);
        let shown = match &program {
            // The history has no file of it.
            Some((path, content)) => format!("{path} <<EOF\n{content}EOF"),
            None => arguments.join(" "),
        };
        let created_by = match visible.is_empty() {
            true => shown.clone(),
            false => {
                let all: Vec<String> =
                    visible.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("|{} {} {shown}", all.len(), all.join(" "))
            }
        };
        let network = match run.network {
            None | Some(RunNetwork::Default) => self.inputs.options.network,
            Some(RunNetwork::None) => BuildNetwork::None,
            // The processes of this machine that listen on its loopback device are not for every Dockerfile.
            Some(RunNetwork::Host) if self.inputs.options.network != BuildNetwork::Host => {
                return Err(wrong(text("build.run.network")).into());
            }
            Some(RunNetwork::Host) => BuildNetwork::Host,
        };
        let of_mounts: Vec<_> = mounts.iter().map(|mount| mount.key.clone()).collect();
        let is_isolated = network == BuildNetwork::None;
        let key =
            self.key(stage, &created_by, json!(["RUN", arguments, visible, is_isolated, program, of_mounts]));
        if let Some(cached) = self.cached(stage, (&created_by, &shown), &key) {
            stage.current = cached;
            mounts.iter().filter_map(StepMount::files).for_each(|files| self.inputs.ingest.discard(files));
            return Ok(());
        }
        let layers = self.directories(&stage.current)?;
        if layers.is_empty() {
            return Err(wrong(text("build.run.scratch")).into());
        }
        let workspace = LayerWorkspace::make(self.inputs.store, self.inputs.options.maps.as_ref())?;
        let upper = workspace.make_directory("files", layers.first().map(|layer| layer.as_path()));
        let upper = upper.map_err(|error| self.inputs.ingest.unwritten(&error))?;
        let container = format!("{:08x}{:04x}", token(), token() & 0xffff);
        let mut env: BTreeMap<String, String> = environment(config);
        env.extend(visible);
        for (name, value) in stage.scope.proxies() {
            env.entry(name).or_insert(value);
        }
        let word = |name: &str| config["config"][name].as_str().unwrap_or_default().to_owned();
        let workdir = Some(word("WorkingDir")).filter(|path| !path.is_empty());
        let workdir = workdir.map(|path| Path::new("/").join(path));
        let placed = |error: Error| placed_at(self.source().0, &step.span, error);
        let inside = workdir.as_deref().unwrap_or(Path::new("/"));
        let mut made = self.make_mounts(&mounts, inside, &workspace).map_err(placed)?;
        if let Some((path, content)) = program {
            let scripts = workspace.make_directory("scripts", None);
            let source = scripts.and_then(|scripts| {
                let source = scripts.join("script");
                write_program(&source, content.as_bytes()).map(|()| source)
            });
            let source = source.map_err(|error| self.inputs.ingest.unwritten(&error))?;
            made.mounts.push(ExtraMount::bind(source, path, true));
        }
        let task = RunTask {
            layers: layers.clone(),
            upper: upper.clone(),
            arguments: arguments.iter().map(Into::into).collect(),
            env,
            workdir,
            user: word("User"),
            network,
            // A random name in a file would make two builds differ.
            hostname: match self.inputs.options.epoch {
                Some(_) => HOSTNAME.to_owned(),
                None => container.clone(),
            },
            mounts: std::mem::take(&mut made.mounts),
        };
        let described = container::describe(task).map_err(placed)?;
        if let Some(note) = described.note {
            self.event(BuildEvent::NoNetwork(note));
        }
        (self.tell)(&"execve(\"/proc/self/exe\", [\"sandbox\", \"__build-step\"])", "build.explain.run");
        self.inputs.tell_plan(&described.plan, self.tell);
        self.note_limit(stage);
        self.event(BuildEvent::Running(&container));
        let tail = OutputTail::default();
        let output = self.output();
        let output = |is_error: bool, bytes: &[u8]| {
            tail.add(bytes);
            output(is_error, bytes);
        };
        let ended = process::run(described.config, &made.env, &output, self.inputs.stops)
            .map_err(|error| placed_at(self.source().0, &step.span, error))?;
        if ended.status != 0 {
            let values = [("command", &*printed(arguments.join(" "))), ("status", &ended.status.to_string())];
            let mistake = self.source().0.mistake(&step.span, text("build.run.here"));
            let error =
                Error { mistakes: vec![mistake], ..Error::failed(text_with("build.run.failed", &values)) };
            let error = if ended.out_of_memory { error.why(text("build.run.memory")) } else { error };
            let uid = nix::unistd::geteuid().as_raw();
            let gid = nix::unistd::getegid().as_raw();
            let has_one_id =
                self.inputs.options.maps.as_ref().is_some_and(|maps| !maps.take_ranges(uid, gid));
            let error = match has_one_id && tail.names_refusal() {
                true => error
                    .why(text("build.run.oneid"))
                    .todo(text_with("build.run.oneid.todo", &[("uid", &uid.to_string())])),
                false => error,
            };
            return Err(BuildStop::Command(error, ended.status));
        }
        let directories: Vec<_> = [upper].into_iter().chain(layers).collect();
        (self.tell)(&"execve(\"/proc/self/exe\", [\"sandbox\", \"__unpack\", ...])", "build.explain.layer");
        let blob = self.inputs.ingest.blob()?;
        let (maps, epoch) = (self.inputs.options.maps.as_ref(), self.inputs.options.epoch);
        let stops = self.inputs.stops;
        let blob = layer::read_to(LayerReading::Layer, &directories, maps, |mut pipe| match epoch {
            Some(epoch) => {
                let pipe = StoppedRead { input: &mut pipe, stops };
                copy_limited(io::BufReader::new(pipe), blob, epoch)
            }
            None => {
                let mut blob = blob;
                let mut pipe = StoppedRead { input: &mut pipe, stops };
                io::copy(&mut pipe, &mut blob).map(|_| blob).map_err(ContextError::Unwritten)
            }
        })?;
        let blob = blob.map_err(|error| self.copy_error(step, "RUN", error))?;
        if self.inputs.options.explains {
            (self.tell)(&changed_files(&directories, maps)?, "build.explain.changed");
        }
        let top = self.unless(self.inputs.ingest.staged(blob), |top| top.size > EMPTY_ARCHIVE);
        self.check_layers(stage, step, top.as_ref())?;
        mounts.iter().filter_map(StepMount::files).for_each(|files| self.inputs.ingest.discard(files));
        drop(made);
        drop(workspace);
        self.event(BuildEvent::Removed(&container));
        let config = stage.current.config.clone();
        self.finish(stage, config, &created_by, &key, top)?;
        Ok(())
    }

    /// `COPY` and `ADD`.
    pub(super) fn copy(
        &mut self,
        stage: &mut StageState,
        step: &Placed<Instruction>,
        files: &CopyFiles,
        is_add: bool,
    ) -> Stopped<()> {
        let source = self.source().0.clone();
        let (mut sources, mut urls) = (Vec::new(), Vec::new());
        for written in &files.sources {
            let refused = |what: String| source.error(&step.place_of(written), what);
            let expanded = self.one(stage, step, written)?;
            match is_add {
                true if is_git(&expanded) => {
                    return Err(refused(text_with("build.add.git", &[("source", &printed(written))])).into());
                }
                true if is_url(&expanded) => urls.push(expanded),
                true if has_scheme(&expanded) => return Err(refused(text("build.copy.scheme")).into()),
                false if has_scheme(&expanded) => return Err(refused(text("build.copy.url")).into()),
                _ => sources.push(expanded),
            }
        }
        let checksum = self.flag(stage, step, files.checksum.as_deref())?.map(|(value, _)| value);
        let fetched = self.fetch_all(step, files, &urls, checksum.as_deref())?;
        let written = self.one(stage, step, &files.destination)?;
        let workdir = stage.current.config["config"]["WorkingDir"].as_str().unwrap_or("/").to_owned();
        let destination = match written.starts_with('/') {
            true => written,
            false => format!("{}/{written}", workdir.trim_end_matches('/')),
        };
        let layers = self.directories(&stage.current)?;
        let mut copied_as = self.copied_as();
        if let Some((owner, place)) = self.flag(stage, step, files.chown.as_deref())? {
            let found = owner_of(&owner, &Accounts::of_layers(&layers));
            let found = found.map_err(|error| placed_at(&source, &place, error))?;
            copied_as.owner = Some((found.ids.uid, found.ids.gid));
        }
        if let Some((mode, place)) = self.flag(stage, step, files.chmod.as_deref())? {
            let what = || text_with("build.copy.chmod", &[("mode", &printed(&mode))]);
            let read = CopiedMode::read(&mode).ok_or_else(|| source.error(&place, what()));
            copied_as.mode = Some(read?);
        }
        let from_layers = match &files.from {
            None => None,
            Some(from) => Some(self.layers_of(stage, step, from)?),
        };
        let maps = self.inputs.options.maps.as_ref();
        // As the reference of Docker says, the layer of --link does not depend on the files below: no link in them is followed.
        let target = LayerFiles { layers: if files.link { &[] } else { &layers }, maps };
        let mut texts = Vec::new();
        for heredoc in &files.heredocs {
            let content = match heredoc.expand {
                true => self.content(stage, heredoc)?,
                false => heredoc.content.clone(),
            };
            texts.push((heredoc.file_name().unwrap_or_default().to_owned(), content));
        }
        let mut patterns = Vec::new();
        for pattern in &files.exclude {
            patterns.push(self.one(stage, step, pattern)?);
        }
        let excluded = IgnoreRules::of(patterns.iter().map(String::as_str));
        let excluded = excluded.map_err(|what| source.error(&step.span, what))?;
        let request = CopyRequest {
            files: match &from_layers {
                Some(layers) => SourceFiles::Layers(LayerFiles { layers, maps }),
                None => SourceFiles::Context(self.inputs.context),
            },
            sources,
            parents: files.parents,
            fetched,
            texts,
            target,
            destination,
            copied_as,
            excluded,
            unpacks: is_add && files.unpack != Some(false),
            unpacks_fetched: files.unpack == Some(true),
            now: now(),
            stops: self.inputs.stops,
        };
        (self.tell)(&"openat2(<context>); write(<ingest>)", "build.explain.copy");
        let name = if is_add { "ADD" } else { "COPY" };
        let blob = self.inputs.ingest.blob()?;
        let (blob, content, has_files) =
            request.write(blob).map_err(|error| self.copy_error(step, name, error))?;
        let top = self.unless(self.inputs.ingest.staged(blob), |_| has_files);
        self.check_layers(stage, step, top.as_ref())?;
        let what = format!("{name} files:{} in {} ", content.hex(), request.destination);
        let created_by = configure::no_operation(&stage.current.config, &what);
        self.finish_files(stage, &created_by, &content, top, files.link)
    }

    /// The value of a flag, and its place. An empty value counts as no flag: the variable of `--chown=$OWNER` may be empty.
    fn flag(
        &self,
        stage: &StageState,
        step: &Placed<Instruction>,
        written: Option<&str>,
    ) -> Result<Option<(String, Span)>> {
        let Some(written) = written else { return Ok(None) };
        let value = self.one(stage, step, written)?;
        Ok((!value.is_empty()).then(|| (value, step.place_of(written))))
    }

    /// A blob, if it is needed. Otherwise it is removed.
    fn unless(&self, blob: StagedBlob, is_needed: impl Fn(&StagedBlob) -> bool) -> Option<StagedBlob> {
        if is_needed(&blob) {
            return Some(blob);
        }
        self.inputs.ingest.discard(&blob);
        None
    }

    /// The directories of the layers of what `--from` names.
    pub(super) fn layers_of(
        &mut self,
        stage: &StageState,
        step: &Placed<Instruction>,
        from: &str,
    ) -> Stopped<Vec<PathBuf>> {
        let source = self.source().0.clone();
        let found = stages::source_of(self.inputs.dockerfile, stage.number, from);
        let image = match found.map_err(|what| source.error(&step.place_of(from), what))? {
            StageBase::Stage(number) => Some(self.stage(number)?),
            StageBase::Image(name) => {
                let found = self.base(&name, None);
                Some(found.map_err(|error| placed_at(&source, &step.place_of(from), error))?)
            }
            StageBase::Scratch => None,
        };
        Ok(image.map(|image| self.directories(&image)).transpose()?.unwrap_or_default())
    }

    fn copied_as(&self) -> CopiedAs {
        CopiedAs { latest: self.inputs.options.epoch, ..CopiedAs::default() }
    }

    pub(super) fn copy_error<T>(&self, step: &Placed<T>, name: &str, error: ContextError) -> Error {
        let failed = |span: &Span, why: &str| {
            self.source().0.error(span, text_with("build.copy.failed", &[("name", name), ("why", why)]))
        };
        match error {
            ContextError::Wrong(why) => failed(&step.span, &why),
            ContextError::Source(source, why) => failed(&step.place_of(&source), &why),
            ContextError::Unread(path, error) => {
                let path = printed(OsStr::from_bytes(&path));
                let values = [("path", &*path), ("why", &io_text(&error))];
                failed(&step.span, &text_with("build.copy.unread", &values))
            }
            ContextError::Unwritten(error) => self.inputs.ingest.unwritten(&error),
        }
    }

    /// `WORKDIR`: the directory is made if it does not exist, and belongs to `USER`.
    pub(super) fn workdir(
        &mut self,
        stage: &mut StageState,
        step: &Placed<Instruction>,
        path: &str,
    ) -> Stopped<()> {
        let written = self.one(stage, step, path)?;
        let own = stage.current.config["config"]["WorkingDir"].as_str().unwrap_or("/").to_owned();
        let whole = if written.starts_with('/') { written } else { format!("{own}/{written}") };
        let path = clean_inside(whole.as_bytes());
        let shown = format!("/{}", String::from_utf8_lossy(&path));
        let created_by = configure::no_operation(&stage.current.config, &format!("WORKDIR {shown}"));
        let mut config = stage.current.config.clone();
        config["config"]["WorkingDir"] = shown.clone().into();
        let key = self.key(stage, &created_by, json!(["WORKDIR"]));
        if let Some(cached) = self.cached(stage, (&created_by, &created_by), &key) {
            stage.current = cached;
            return Ok(());
        }
        let layers = self.directories(&stage.current)?;
        let target = LayerFiles { layers: &layers, maps: self.inputs.options.maps.as_ref() };
        let reached = target.reach(&path).map_err(|error| self.copy_error(step, "WORKDIR", error))?;
        if reached.kind == layer::PlaceKind::Other {
            let what = text_with("build.workdir.file", &[("path", &printed(&shown))]);
            return Err(self.source().0.error(&step.span, what).into());
        }
        let mut top = None;
        if reached.kind == layer::PlaceKind::Nothing {
            let user = stage.current.config["config"]["User"].as_str().unwrap_or_default();
            let mut copied_as = self.copied_as();
            if !user.is_empty() {
                // A user that the image does not have gets nothing, as in BuildKit: a step that needs it reports that.
                let found = user_of(user.as_ref(), &Accounts::of_layers(&layers)).ok();
                // A number that the image has no account for is the group too, as in BuildKit and buildah.
                let is_number = user.bytes().all(|byte| byte.is_ascii_digit());
                copied_as.owner = found.map(|found| match found.ids.gid {
                    0 if is_number => (found.ids.uid, found.ids.uid),
                    gid => (found.ids.uid, gid),
                });
            }
            let mut made = CopiedLayer::new(self.inputs.ingest.blob()?, copied_as, now(), self.inputs.stops);
            let (existing, rest) = (reached.directory.as_os_str(), reached.rest.as_os_str());
            let written = made.directories(existing.as_bytes(), rest.as_bytes()).map_err(ContextError::from);
            let written = written.and_then(|()| made.finish().map_err(ContextError::Unwritten));
            let (blob, _) = written.map_err(|error| self.copy_error(step, "WORKDIR", error))?;
            top = Some(self.inputs.ingest.staged(blob));
            self.check_layers(stage, step, top.as_ref())?;
        }
        self.finish(stage, config, &created_by, &key, top)?;
        Ok(())
    }
}

/// The owner that `--chown` means. A user without a group has the group of the same name or number, as with Docker.
fn owner_of(written: &str, accounts: &Accounts) -> Result<NamedUser> {
    let mut found = user_of(written.as_ref(), accounts)?;
    let written = written.strip_suffix(':').unwrap_or(written);
    if !written.contains(':') && !written.is_empty() {
        let is_number = written.bytes().all(|byte| byte.is_ascii_digit());
        match accounts.group(written.as_bytes()) {
            _ if is_number => found.ids.gid = found.ids.uid,
            Ok(Some(gid)) => found.ids.gid = gid,
            _ => {}
        }
    }
    Ok(found)
}

/// The time of what is made now.
pub(super) fn now() -> (i64, u32) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or_default(), since.subsec_nanos())
}
