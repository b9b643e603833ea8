//! `sandbox run SPEC.yaml`: a whole container.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::telling::{self, Telling};
use super::watch::Narrator;
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::host::{Host, command};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::spec::compose::{self, Ending};
use crate::spec::{Spec, yaml};
use crate::text::{text, text_with};

/// The flags of `run`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RunArgs {
    /// The spec; `-` reads standard input
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Leave one key of the spec out, and see what comes back (may be repeated)
    #[arg(long, value_name = "KEY")]
    without: Vec<String>,
    /// A terminal of the command's own, as the spec's `tty: true`
    #[arg(long, short)]
    tty: bool,
    /// Accepted, as docker has it: standard input is the command's anyway
    #[arg(long, short)]
    interactive: bool,
    /// Accepted, as docker has it: nothing is kept of a container anyway
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    telling: Telling,
    /// The command to run in it, after `--`, in place of the spec's
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs it.
pub(super) fn run(color: Color, args: RunArgs) -> Result<u8> {
    let telling = &args.telling;
    decide(color, if telling.dry_run || telling.print_spec { Stream::Out } else { Stream::Err });
    let mut spec = read(&args.spec)?;
    for key in &args.without {
        spec = yaml::without(&spec, key)
            .map_err(|keys| Error::usage(text_with("run.without", &[("key", key)])).todo(keys.join(", ")))?;
    }
    if !args.command.is_empty() {
        spec.command.clone_from(&args.command);
    }
    spec.tty |= args.tty;
    if telling.print_spec {
        render::out(&yaml::print(&spec));
        return Ok(0);
    }
    let host = compose::gather(&spec);
    let ending = ending(&spec, &host)?;
    let plan = compose::plan(&spec, &host, Feature::Run, ending, telling.show_proc);
    if telling.dry_run {
        telling::print_plan(&plan, telling);
        return Ok(0);
    }
    telling::run_command(&plan, telling, &mut Narrator::new(telling, &spec))
}

/// The spec in a file.
pub(super) fn read(file: &Path) -> Result<Spec> {
    let name = file.display().to_string();
    let unread = |error: std::io::Error| {
        let told = Error::failed(text_with("run.unread", &[("file", &name)])).why(error.to_string());
        told.todo(super::habits::SPEC)
    };
    let words = if file == Path::new("-") {
        let mut words = String::new();
        std::io::stdin().read_to_string(&mut words).map(|_| words)
    } else {
        std::fs::read_to_string(file)
    };
    let mut spec = yaml::read(&words.map_err(unread)?)
        .map_err(|why| Error::failed(text_with("run.wrong", &[("file", &name)])).why(why))?;
    // Relative paths are relative to the spec's file.
    spec.rootfs = spec.rootfs.map(|rootfs| rootfs.resolve(file.parent().unwrap_or(Path::new("."))));
    Ok(spec)
}

/// The command of a spec.
pub(super) fn ending(spec: &Spec, host: &Host) -> Result<Ending> {
    let Some(name) = spec.command.first() else {
        return Err(Error::failed(text("run.nocommand.what")).todo(text("run.nocommand.todo")));
    };
    let ending = |path: String| Ending::Command { path, arguments: spec.command.clone() };
    command::resolve(name, &compose::tree(spec))
        .map(|path| ending(path.to_string_lossy().into_owned()))
        .or_else(|error| {
            // What is wrong with the root hides every command: that goes first.
            let plan = compose::plan(spec, host, Feature::Run, ending(name.clone()), false);
            if plan.problems.is_empty() { Err(error) } else { Ok(ending(name.clone())) }
        })
}
