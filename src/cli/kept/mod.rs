//! The commands of kept containers. They have Docker's names, flags, output and exit statuses.

pub(super) mod arguments;
pub(super) mod create;
pub(super) mod events;
pub(super) mod inspect;
pub(super) mod life;
mod log_options;
pub(super) mod logs;
pub(super) mod noun;
pub(super) mod ps;
pub(super) mod start;
pub(super) mod stats;
mod stop_demo;
pub(super) mod top;
pub(super) mod update;
pub(super) mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::cli::explain::ExplainArg;
use crate::container::explain::Explainer;
use crate::container::refusal;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::supervisor;
use crate::error::{Error, ExitKind, Result};
use crate::host::zone;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, printed_lines, text, text_with};
use crate::value::timestamp::Timestamp;

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

/// The error of a wrong command line, with the exit status 125 of Docker's client.
pub(super) fn as_dockers_line(error: Error) -> Error {
    match error.kind {
        ExitKind::Usage => Error { kind: ExitKind::Failed, ..error },
        _ => error,
    }
}

/// Reads a filter, whose name must be one of these.
fn filter_of<'a>(filter: &'a str, known: &[&str]) -> Result<(&'a str, &'a str)> {
    match filter.split_once('=') {
        Some((name, value)) if known.contains(&name) => Ok((name, value)),
        _ => Err(as_docker(Error::failed(text_with("container.filter", &[("filter", filter)])))),
    }
}

/// Reads the value of `--format` of a list.
pub(in crate::cli) fn format_of(written: &str) -> Result<OutputFormat> {
    OutputFormat::parse(written, None).map_err(|why| no_template(written, &why))
}

/// The same for a list that has the word `raw` too: then each line of a row has a name and a value.
pub(in crate::cli) fn format_or_raw(written: &str, raw: &str) -> Result<OutputFormat> {
    OutputFormat::parse(written, Some(raw)).map_err(|why| no_template(written, &why))
}

/// The error of a template that cannot be read.
pub(in crate::cli) fn no_template(written: &str, why: &str) -> Error {
    let what = text_with("container.format", &[("format", written)]);
    as_docker(Error::failed(what).why(text_with("container.format.reason", &[("why", why)])))
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

/// A time as Docker reads it: RFC 3339, in the local zone if it names none, seconds since 1970, or a length of time before now.
pub(in crate::cli) fn read_time(written: &str) -> std::result::Result<Timestamp, String> {
    let seconds = || written.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let now = Timestamp::now();
    // Docker takes the present offset, also for a time at which the zone has another one.
    if let Some(moment) = Timestamp::read_in(written, zone::local(now).offset) {
        return Ok(moment);
    }
    if let Some(seconds) = seconds() {
        return Ok(Timestamp((seconds * 1e9) as i128));
    }
    match duration(written.strip_prefix('-').unwrap_or(written)) {
        Some(length) => Ok(now.before(length)),
        None => Err(text("container.time.form")),
    }
}

/// A length of time as Go writes it: `1h30m`, `1.5h`, `300ms`. Days are allowed too.
fn duration(written: &str) -> Option<Duration> {
    let (mut rest, mut nanoseconds) = (written, 0.0);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|next: char| !next.is_ascii_digit() && next != '.')?);
        let (unit, after) = after
            .split_at(after.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(after.len()));
        let factor = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            _ => return None,
        };
        nanoseconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    let is_one = !written.is_empty() && nanoseconds < u64::MAX as f64;
    is_one.then(|| Duration::from_nanos(nanoseconds as u64))
}

/// Does something with each container that is named, several at once, and prints the name as it was given, as Docker does.
fn each_named(
    color: Color,
    names: &[OsString],
    explain: &ExplainArg,
    act: impl Fn(&ContainerStore, &KeptContainer) -> Result<()> + Sync,
) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let mut has_failed = false;
    let show = |name: &OsString, done: Result<()>| has_failed |= !shown(done.map(|()| Some(printed(name))));
    let act = |name: &OsString| {
        let container = find(&store, name)?;
        act(&store, &container).map_err(|error| match store.again(&container) {
            // Another command has removed it meanwhile.
            Ok(None) => refusal::none(&printed(name)),
            _ => error,
        })
    };
    together(names, explain, act, show);
    Ok(u8::from(has_failed))
}

/// Does something with each container that is named, one after the other. What `act` returns is printed, one on each line. Each error
/// is printed, and the others are done all the same.
fn each(
    color: Color,
    names: &[OsString],
    mut act: impl FnMut(&ContainerStore, KeptContainer) -> Result<Option<String>>,
) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let mut has_failed = false;
    for name in names {
        let done = find(&store, name).and_then(|container| {
            let id = container.record.id.clone();
            act(&store, container).map_err(|error| match store.id_of(id.as_str()) {
                // Another command has removed it meanwhile.
                Ok(None) => refusal::none(&printed(name)),
                _ => error,
            })
        });
        has_failed |= !shown(done);
    }
    Ok(u8::from(has_failed))
}

/// Prints a result, or the error. Returns whether it is no error.
fn shown(done: Result<Option<String>>) -> bool {
    match done {
        Ok(line) => line.into_iter().for_each(|line| render::out(&(line + "\n"))),
        Err(error) => {
            render::err(&render::error::text(&error));
            return false;
        }
    }
    true
}

/// How many containers are acted on at once, as in Docker's client.
const AT_ONCE: usize = 50;

/// Calls `act` for each name, several at once, and `show` with each result, in the order of the names. The steps of --explain come one
/// after the other. So does a name that is given twice: the second time, the container is as the first one has left it.
fn together<T: Send>(
    names: &[OsString],
    explain: &ExplainArg,
    act: impl Fn(&OsString) -> T + Sync,
    mut show: impl FnMut(&OsString, T),
) {
    let count = match explain.is_on() || names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        true => 1,
        false => names.len().min(AT_ONCE),
    };
    if count <= 1 {
        return names.iter().for_each(|name| show(name, act(name)));
    }
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let work = || {
        while let place = next.fetch_add(1, Ordering::Relaxed)
            && let Some(name) = names.get(place)
        {
            let _ = sender.send((place, act(name)));
        }
    };
    thread::scope(|scope| {
        let threads = (0..count).filter(|_| thread::Builder::new().spawn_scoped(scope, work).is_ok()).count();
        if threads == 0 {
            work();
        }
        let (mut done, mut shown) = (BTreeMap::new(), 0);
        for (place, result) in receiver.iter().take(names.len()) {
            done.insert(place, result);
            while let Some(result) = done.remove(&shown) {
                show(&names[shown], result);
                shown += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_several_forms() {
        assert_eq!(read_time("1700000000"), Ok(Timestamp(1_700_000_000_000_000_000)));
        assert_eq!(read_time("1.5"), Ok(Timestamp(1_500_000_000)));
        assert_eq!(read_time("2026-11-29"), Ok("2026-11-29T00:00:00Z".parse().unwrap()));
        for (written, milliseconds) in [
            ("10m", 600_000),
            ("0s", 0),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("-2m", 120_000),
            ("1s500ms", 1_500),
            ("1d", 86_400_000),
            (".5s", 500),
        ] {
            assert_eq!(duration(written.trim_start_matches('-')), Some(Duration::from_millis(milliseconds)));
            assert!(read_time(written).unwrap() <= Timestamp::now(), "{written}");
        }
        for wrong in ["", "x", "10x", "nan", "-5", "-", "h", "1h30", "1..5h", "99999999999999h"] {
            assert!(read_time(wrong).is_err(), "{wrong}");
        }
    }
}
