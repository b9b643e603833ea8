//! The commands of kept containers. They have Docker's names, flags, output and exit statuses.

pub(super) mod create;
pub(super) mod events;
pub(super) mod inspect;
pub(super) mod life;
pub(super) mod logs;
pub(super) mod noun;
pub(super) mod ps;
pub(super) mod start;
pub(super) mod stats;
mod stop_demo;
pub(super) mod top;
pub(super) mod update;
pub(super) mod volume;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::Args;

use crate::container::explain::Explainer;
use crate::container::refusal;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::supervisor;
use crate::error::{Error, ExitKind, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, printed_lines, text, text_with};
use crate::value::timestamp::Timestamp;
use crate::value::units::Length;

/// Tells how a container was found and read.
fn tell_reading(explain: Explainer, container: &KeptContainer) {
    if !container.name.is_empty() {
        explain.step(format!("readlinkat(<names>, \"{}\")", container.name), "container.explain.readname");
    }
    let file = |name: &str| printed(container.directory.path().join(name));
    explain.step(
        format!("read(<{}>); read(<{}>)", file("config.json"), file("state.json")),
        "container.explain.read",
    );
    if let Some(process) = container.state.supervisor.filter(|_| container.state.status.is_active()) {
        explain.step(format!("read(</proc/{}/stat>)", process.pid), "container.explain.alive");
    }
}

/// Containers that a command line names.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Names {
    /// The containers: names, IDs, or beginnings of IDs
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<OsString>,
}

/// The arguments of `__supervise`, which a command starts for a container.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct SuperviseArgs {
    /// The ID of the container
    id: String,
}

/// Becomes the supervisor of a container.
pub(super) fn supervise(args: &SuperviseArgs) -> Result<u8> {
    super::output::protect_program();
    let report = supervisor::leave_caller()?;
    supervisor::supervise(&args.id, report);
    Ok(0)
}

/// The container that is named.
pub(in crate::cli) fn find(store: &ContainerStore, name: &OsString) -> Result<KeptContainer> {
    match name.to_str() {
        Some(name) => store.find(name),
        None => Err(refusal::none(&printed(name))),
    }
}

/// The same error, with the exit status 1 of Docker's commands.
pub(super) fn as_docker(error: Error) -> Error {
    match error.kind {
        ExitKind::Usage | ExitKind::Interrupted(_) => error,
        _ => Error { kind: ExitKind::Refused, ..error },
    }
}

/// Reads a filter, whose name must be one of these.
fn filter_of<'a>(filter: &'a str, known: &[&str]) -> Result<(&'a str, &'a str)> {
    match filter.split_once('=') {
        Some((name, value)) if known.contains(&name) => Ok((name, value)),
        _ => Err(as_docker(Error::failed(text_with("container.filter", &[("filter", filter)])))),
    }
}

/// Reads the value of `--format`.
pub(in crate::cli) fn format_of(written: &str) -> Result<OutputFormat> {
    OutputFormat::parse(written).map_err(|why| {
        let what = text_with("container.format", &[("format", written)]);
        Error::usage(what).why(text_with("container.format.reason", &[("why", &why)]))
    })
}

/// The error of a template that cannot be filled in.
pub(in crate::cli) fn unfilled(why: &str) -> Error {
    as_docker(Error::failed(text_with("container.format.unfilled", &[("why", why)])))
}

/// Prints a part of a result that goes on. False: nobody reads it any more.
fn print_now(part: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(printed_lines(part).as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// A time as Docker reads it: RFC 3339, seconds since 1970, or a length of time before now.
fn read_time(written: &str) -> std::result::Result<Timestamp, String> {
    let seconds = || written.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let ago = || {
        let written = written.strip_prefix('-').unwrap_or(written);
        written
            .ends_with(|last: char| "smhd".contains(last))
            .then(|| written.parse::<Length>().ok())
            .flatten()
    };
    if let Ok(moment) = written.parse() {
        return Ok(moment);
    }
    if written.len() == 2 && written.starts_with('0') && written.ends_with(['s', 'm', 'h']) {
        return Ok(Timestamp::now());
    }
    if let Some(seconds) = seconds() {
        return Ok(Timestamp((seconds * 1e9) as i128));
    }
    match ago() {
        Some(length) => Ok(Timestamp::now().before(Duration::from_secs(length.0.into()))),
        None => Err(text("container.time.form")),
    }
}

/// Does something with each container that is named, and prints the name as it was given, as Docker does.
fn each_named(
    color: Color,
    names: &[OsString],
    mut act: impl FnMut(&ContainerStore, KeptContainer) -> Result<()>,
) -> Result<u8> {
    each_of(color, names, |store, name| {
        act(store, find(store, name)?)?;
        Ok(Some(printed(name)))
    })
}

/// Does something with each container that is named. What `act` returns is printed.
fn each(
    color: Color,
    names: &[OsString],
    mut act: impl FnMut(&ContainerStore, KeptContainer) -> Result<Option<String>>,
) -> Result<u8> {
    each_of(color, names, |store, name| act(store, find(store, name)?))
}

/// Does something for each name. Each error is printed, and the others are done all the same. What `act` returns is printed, one on
/// each line.
fn each_of(
    color: Color,
    names: &[OsString],
    mut act: impl FnMut(&ContainerStore, &OsString) -> Result<Option<String>>,
) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let mut has_failed = false;
    for name in names {
        match act(&store, name) {
            Ok(line) => line.into_iter().for_each(|line| render::out(&(line + "\n"))),
            Err(error) => {
                has_failed = true;
                render::err(&render::error::text(&error));
            }
        }
    }
    Ok(u8::from(has_failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_several_forms() {
        assert_eq!(read_time("1700000000"), Ok(Timestamp(1_700_000_000_000_000_000)));
        assert_eq!(read_time("1.5"), Ok(Timestamp(1_500_000_000)));
        assert_eq!(read_time("2026-11-29"), Ok("2026-11-29T00:00:00Z".parse().unwrap()));
        let ago = read_time("10m").unwrap().until(Timestamp::now()).as_secs();
        assert!((600..605).contains(&ago), "{ago}");
        for wrong in ["", "x", "10x", "nan", "-5"] {
            assert!(read_time(wrong).is_err(), "{wrong}");
        }
    }
}
