//! `sandbox create SPEC`, and what `run -d` and `run --keep` share with it: makes a container that stays.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde_json::Value;

use super::super::docker::DockerArgs;
use super::super::namespaces::NamespaceArgs;
use super::super::prepare::{self, Layered, Prepared};
use super::super::source::{MadeSpec, SourceFlags};
use super::log_options::{log_options, log_written};
use crate::cli::explain::ExplainArg;
use crate::cli::words;
use crate::config::container::Config;
use crate::config::spec::Spec;
use crate::container::explain::Explainer;
use crate::container::id::Id;
use crate::container::links::{self, ContainerLink};
use crate::container::record::{ContainerRecord, LogOptions, STOP_TIMEOUT, VERSION, VolumeMount};
use crate::container::restart::RestartPolicy;
use crate::container::store::ContainerStore;
use crate::container::upper;
use crate::error::{Error, Result};
use crate::host::run_lock::RunLock;
use crate::plan::call::terminal::TerminalSize;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::rootfs::Rootfs;
use crate::sys::signal;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;
use crate::value::timestamp::Timestamp;

/// The flags of `create`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct CreateArgs {
    /// The spec file, where `-` reads standard input, or the name of an image. A word that begins with `.` or `/`, or ends in
    /// .yaml, .yml or .json, is a spec
    #[arg(value_name = "SPEC|IMAGE")]
    source: OsString,
    /// Keep standard input open for clients. Without it, the command reads /dev/null
    #[arg(long, short)]
    interactive: bool,
    /// Give the command a new terminal, like `tty: true` in the spec
    #[arg(long, short)]
    tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Accepted because docker has it: print nothing about a download
    #[arg(long, short, hide = true)]
    quiet: bool,
    /// A file with what a client of the daemon has sent, which `inspect` shows to it
    #[arg(long, hide = true, value_name = "FILE")]
    client_settings: Option<PathBuf>,
    #[command(flatten)]
    kept: KeptArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    #[command(flatten)]
    docker: DockerArgs,
    #[command(flatten)]
    explain: ExplainArg,
    /// The command to run inside, instead of that of the spec or the image; behind a spec after `--`, behind an image as it is
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The flags of a container that stays.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Containers that stay")]
pub(crate) struct KeptArgs {
    /// The name of the container, instead of the spec's; without any, it gets a random one
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) name: Option<String>,
    /// Write the ID of the container to a new file
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    cidfile: Option<PathBuf>,
    /// The signal that asks the container to stop, by name or number; the default is SIGTERM
    #[arg(long, value_name = "SIGNAL", value_parser = read_stop_signal, allow_hyphen_values = true)]
    stop_signal: Option<i32>,
    /// How many seconds after that signal the container is killed; the default is 10, and -1 means never
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
    /// When to start it again after its end: no, on-failure[:MAX], always, unless-stopped
    #[arg(long, value_name = "POLICY", allow_hyphen_values = true)]
    restart: Option<RestartPolicy>,
    /// Options of the log: max-size=SIZE, max-file=NUMBER, labels=NAME,..., env=NAME,... (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
}

impl KeptArgs {
    /// The flags that have no key in a spec, as they are written.
    pub(crate) fn without_key(&self) -> Vec<String> {
        let KeptArgs { name: _, cidfile, stop_signal, stop_timeout, restart, log_opt } = self;
        let restart = restart.map(|policy| match policy.maximum_retry_count {
            0 => format!("--restart {}", policy.word()),
            count => format!("--restart {}:{count}", policy.word()),
        });
        let flags = [
            cidfile.as_ref().map(|file| format!("--cidfile {}", quote(file))),
            stop_signal
                .filter(|signal| *signal != USUAL_SIGNAL)
                .map(|signal| format!("--stop-signal {signal}")),
            stop_timeout.map(|seconds| format!("--stop-timeout {seconds}")),
            restart,
        ];
        let log = log_opt.iter().map(|option| format!("--log-opt {}", quote(option)));
        flags.into_iter().flatten().chain(log).collect()
    }

    /// The first flag that was given, if any.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let KeptArgs { name, cidfile, stop_signal, stop_timeout, restart, log_opt } = self;
        let flags = [
            ("--name", name.is_some()),
            ("--cidfile", cidfile.is_some()),
            ("--stop-signal", stop_signal.is_some()),
            ("--stop-timeout", stop_timeout.is_some()),
            ("--restart", restart.is_some()),
            ("--log-opt", !log_opt.is_empty()),
        ];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}

/// The same, where an empty value means the usual signal.
fn read_stop_signal(written: &str) -> std::result::Result<i32, String> {
    if written.is_empty() { Ok(USUAL_SIGNAL) } else { read_signal(written) }
}

/// No signal has this number.
const USUAL_SIGNAL: i32 = 0;

/// Reads a signal as kill(1) does: `TERM`, `SIGTERM`, `15`.
pub(super) fn read_signal(written: &str) -> std::result::Result<i32, String> {
    signal::of_word(written).ok_or_else(|| text_with("container.signal", &[("signal", &printed(written))]))
}

/// How a container is kept.
pub(crate) struct Keeping {
    /// Whether its standard input stays open.
    pub(crate) open_stdin: bool,
    /// Whether it is removed when it ends.
    pub(crate) auto_remove: bool,
    /// Whether this command shows the container when it runs, and so gives it its own terminal.
    pub(crate) is_shown: bool,
    /// Whether standard input stays open when the client that has sent it leaves.
    pub(crate) stdin_stays: bool,
    /// What a client of the daemon has sent.
    pub(crate) client: Option<Value>,
}

fn client_settings(path: &PathBuf) -> Result<Value> {
    let file = std::fs::File::open(path).map_err(|error| unread(path, &error))?;
    serde_json::from_reader(file).map_err(|error| unread(path, &error.into()))
}

/// The names of the variables of the image, and then those of the command line. One that was there already keeps its place.
fn ordered(of_image: Vec<String>, own: &[String]) -> Vec<String> {
    let mut all = of_image;
    for name in own {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// The size of the client's terminal: its lines and columns. Zeros mean that it has none.
fn console_size(client: &Value) -> Option<TerminalSize> {
    let size = &client["HostConfig"]["ConsoleSize"];
    let of = |index: usize| u16::try_from(size[index].as_u64()?).ok().filter(|length| *length > 0);
    Some(TerminalSize { height: of(0)?, width: of(1)? })
}

fn unread(path: &PathBuf, error: &std::io::Error) -> Error {
    Error::failed(text_with("exec.with.file", &[("path", &printed(path))])).why(crate::error::io_text(error))
}

/// Makes a container, and prints its ID. A wrong command line with an image returns what it returns in Docker. For a client of
/// the daemon, it stays a wrong request.
pub(crate) fn run(color: Color, args: CreateArgs) -> Result<u8> {
    let is_dockers = args.client_settings.is_none() && !words::is_spec(&args.source);
    perform(color, args).map_err(|error| if is_dockers { super::as_dockers_line(error) } else { error })
}

fn perform(color: Color, args: CreateArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let explain = args.explain.explainer();
    let flags = SourceFlags { namespaces: &args.namespaces, docker: &args.docker, tty: args.tty };
    let mut made = MadeSpec::of(&args.source, &flags, args.command.clone())?;
    made.ensure_image(explain)?;
    let client = args.client_settings.as_ref().map(client_settings).transpose()?;
    let stdin_stays = client.as_ref().is_some_and(|client| client["Config"]["StdinOnce"] == false);
    let keeping =
        Keeping { open_stdin: args.interactive, auto_remove: args.rm, is_shown: false, stdin_stays, client };
    let spec = std::mem::take(&mut made.spec);
    let (_, id, _) = create(spec, &made, &args.kept, &keeping, explain)?;
    render::out(&format!("{id}\n"));
    Ok(0)
}

/// Makes a container from a spec. Returns its ID and its name.
pub(crate) fn create(
    spec: Spec,
    made: &MadeSpec,
    args: &KeptArgs,
    keeping: &Keeping,
    explain: Explainer,
) -> Result<(ContainerStore, Id, String)> {
    let log = log_options(&args.log_opt)?;
    if keeping.is_shown && keeping.open_stdin && spec.tty {
        has_terminal()?;
    }
    let image = image_of(&spec);
    let id = Id::new()?;
    let mut layered = prepare::with_layers(spec, &made.wishes, explain)?;
    let lock = layered.lock.take();
    let mut spec = std::mem::take(&mut layered.spec);
    made.check_command(&spec)?;
    let volumes = made.volumes(&mut spec, &layered, explain)?;
    let parts = (id, image, log, (volumes.mounts.clone(), volumes.mount_flags.clone()));
    let created = create_layered((spec, layered), made, args, keeping, parts, explain);
    match created.is_ok() {
        true => volumes.release(),
        false => volumes.undo(),
    }
    // Now the container is known that has the layers.
    lock.into_iter().for_each(RunLock::release);
    created
}

/// Checks that standard input is a terminal, before something is made that a user with `-it` wants to type into.
pub(crate) fn has_terminal() -> Result<()> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Error::failed(text("run.notty.what")).why(text("run.notty.why")).todo(text("run.notty.todo")))
}

fn create_layered(
    (mut spec, mut layered): (Spec, Layered),
    made: &MadeSpec,
    args: &KeptArgs,
    keeping: &Keeping,
    (id, image, log, (volumes, mount_flags)): (Id, String, LogOptions, (Vec<VolumeMount>, Vec<PathBuf>)),
    explain: Explainer,
) -> Result<(ContainerStore, Id, String)> {
    made.complete(&mut spec, &layered, Some(id.short()))?;
    let spec = match std::env::current_dir() {
        Ok(directory) => absolute(spec, &directory),
        // Paths that do not begin there are right without it.
        Err(_) => spec,
    };
    let adjustments = made.adjustments(&layered);
    let mut prepared = made.plan(spec, &adjustments, prepare::kept_ending, false)?;
    made.locate(&mut prepared.plan);
    crate::exec::accept(&prepared.plan)?;
    let Prepared { config, left, notes, plan } = prepared;
    notes.iter().for_each(|(_, message)| render::note(message));
    plan.kept_notes.iter().for_each(|note| render::note(note));
    for (feature, why) in left {
        let message = text_with("run.left", &[("feature", feature.name()), ("why", &why)]);
        render::note(&message);
    }
    // As in Docker, an empty name is as none.
    let name = args.name.clone().filter(|name| !name.is_empty()).or_else(|| config.name.clone());
    let image_signal = layered.stop_signal.as_deref().map(read_signal).transpose().map_err(Error::failed)?;
    let stop_signal = args.stop_signal.filter(|signal| *signal != USUAL_SIGNAL).or(image_signal);
    let mut labels = std::mem::take(&mut layered.labels);
    labels.extend(made.wanted.labels.clone());
    let mut config = independent(config);
    if config.process.terminal {
        config.process.console_size = keeping.client.as_ref().and_then(console_size);
    }
    links::check(&config, &made.wanted.links)?;
    let links = match made.wanted.links.is_empty() {
        true => Vec::new(),
        false => ContainerLink::of(&ContainerStore::open()?, &made.wanted.links)?,
    };
    let mut record = ContainerRecord {
        version: VERSION,
        id,
        home: None,
        created: Timestamp::now(),
        image,
        image_id: layered.image_id.clone(),
        labels,
        exposed: made.exposed(&layered),
        lifted: made.wanted.lifted.clone(),
        volumes,
        mount_flags,
        config,
        entrypoint: layered.entrypoint,
        variables: Some(ordered(layered.variables, &made.variables)),
        links,
        user: layered.user,
        open_stdin: keeping.open_stdin,
        stop_signal: stop_signal.unwrap_or(libc::SIGTERM),
        has_stop_signal: stop_signal.is_some(),
        // Never is later than any time.
        stop_timeout: args
            .stop_timeout
            .map_or(STOP_TIMEOUT, |seconds| u64::try_from(seconds).unwrap_or(u64::MAX)),
        auto_remove: keeping.auto_remove,
        stdin_stays: keeping.stdin_stays,
        client: keeping.client.clone(),
        restart: args.restart.unwrap_or_default(),
        log,
        log_written: log_written(&args.log_opt),
    };
    if record.auto_remove && record.restart != RestartPolicy::default() {
        return Err(Error::failed(text("container.restart.rm")));
    }
    // A file that is in the way is reported before anything is made.
    let cidfile = args
        .cidfile
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| new_file(path).map(|file| (path, file)))
        .transpose()?;
    let made = ContainerStore::make().and_then(|(store, note)| {
        note.iter().for_each(|note| render::note(note));
        let unfinished = printed(store.path().join("containers").join(format!(".new-{}", record.id)));
        record.home = Some(store.path().to_owned());
        upper::give(&store, &mut record)?;
        explain.step(format!("mkdir(\"{unfinished}\")"), "container.explain.create");
        let name = store.create(&record, name.as_deref())?;
        // The name is known only now: it may be a random one.
        explain.step(
            format!("symlink(\"../containers/{}\", \"names/{name}\")", record.id),
            "container.explain.name",
        );
        explain.step("write(<config.json>); write(<state.json>)", "container.explain.files");
        if record.own_upper().is_some() {
            explain.step(format!("mkdir(\"{unfinished}/upper\")"), "container.explain.upper");
        }
        let renamed = format!("fsync(…); rename(\".new-{0}…\", \"{0}…\")", record.id.short());
        explain.step(renamed, "container.explain.complete");
        Ok((store, name))
    });
    match (made, cidfile) {
        (Ok((store, name)), None) => Ok((store, record.id, name)),
        (Ok((store, name)), Some((path, mut file))) => {
            file.write_all(record.id.as_str().as_bytes()).map_err(|error| unwritten(path, &error))?;
            Ok((store, record.id, name))
        }
        (Err(error), cidfile) => {
            cidfile.iter().for_each(|(path, _)| drop(std::fs::remove_file(path)));
            Err(error)
        }
    }
}

/// The spec with absolute paths: the supervisor, which makes the container, has another working directory.
fn absolute(mut spec: Spec, directory: &Path) -> Spec {
    spec.rootfs = spec.rootfs.map(|rootfs| rootfs.resolve(directory));
    if let Some(mnt) = &mut spec.mnt {
        mnt.root = mnt.root.take().map(|root| directory.join(root));
        mnt.bind.iter_mut().for_each(|bind| bind.source = directory.join(&bind.source));
        mnt.mounts = mnt.mounts.drain(..).map(|extra| extra.resolve(directory)).collect();
    }
    if let Some(blkio) = &mut spec.blkio {
        blkio.resolve(directory);
    }
    spec
}

/// The config, with what depends on the caller filled in: it is started later, by another process.
fn independent(mut config: Config) -> Config {
    config.name = None;
    let process = &mut config.process;
    if process.env.is_none() {
        let variables = std::env::vars_os();
        process.env = Some(variables.map(|(name, value)| [name, value].join("=".as_ref())).collect());
    }
    if process.cwd.is_none() {
        process.cwd = std::env::current_dir().ok().filter(|_| config.environment.root.is_none());
    }
    config
}

/// What the root filesystem is made from, for people.
fn image_of(spec: &Spec) -> String {
    match &spec.rootfs {
        None | Some(Rootfs::Host) => "host".to_owned(),
        Some(Rootfs::Dir(path)) => printed(path),
        Some(Rootfs::Image(name)) => name.clone(),
        Some(Rootfs::Layers(layers)) => layers.layers.first().map(printed).unwrap_or_default(),
    }
}

fn new_file(path: &PathBuf) -> Result<std::fs::File> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::failed(text_with("container.cidfile.exists", &[("path", &printed(path))]))
        }
        _ => unwritten(path, &error),
    })
}

fn unwritten(path: &PathBuf, error: &std::io::Error) -> Error {
    let what = text_with("container.cidfile", &[("path", &printed(path))]);
    Error::failed(what).why(crate::error::io_text(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_and_a_number() {
        for written in ["15", "TERM", "SIGTERM", "term", "sigterm"] {
            assert_eq!(read_signal(written), Ok(15), "{written}");
        }
        assert_eq!(read_signal("SIGRTMIN+3"), Ok(37));
        for wrong in ["", "0", "65", "-1", "TERMS", "SIG", "1x", "signal 33"] {
            assert!(read_signal(wrong).is_err(), "{wrong}");
        }
    }
}
