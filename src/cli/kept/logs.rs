//! `sandbox logs`: what a container has printed.

use std::ffi::OsString;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::{as_docker, find, read_time, tell_reading};
use crate::cli::explain::ExplainArg;
use crate::container::log::read::{LogReader, Reading};
use crate::container::log::{LOG, LogEntry, OutputStream};
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, Result};
use crate::host::storage;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// The interval at which a log is read again.
const PAUSE: Duration = Duration::from_millis(50);

/// The flags of `logs`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct LogsArgs {
    /// Print what the container prints from now on too, until it ends
    #[arg(long, short)]
    follow: bool,
    /// Begin at this number of lines before the end; `all` begins at the first line
    #[arg(long, short = 'n', value_name = "LINES", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// Print the time before each line
    #[arg(long, short)]
    timestamps: bool,
    /// Leave out what is older: a time such as 2026-11-29T09:45:11Z, or a length of time such as 10m
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    since: Option<Timestamp>,
    /// Leave out what is newer
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until: Option<Timestamp>,
    /// Print the labels and variables that `--log-opt labels=` and `env=` of the container have named
    #[arg(long)]
    details: bool,
    #[command(flatten)]
    explain: ExplainArg,
    /// The container: its name, its ID, or the beginning of its ID
    #[arg(value_name = "CONTAINER")]
    container: OsString,
}

/// Prints a log.
pub(crate) fn run(color: Color, args: &LogsArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let store = ContainerStore::open().map_err(as_docker)?;
    let container = find(&store, &args.container).map_err(as_docker)?;
    // Docker takes what is no number, and a negative number, for `all`.
    let tail = args.tail.parse::<u64>().ok();
    let directory = &container.directory;
    let cannot = |error: io::Error| {
        let what = text_with("container.log.unread", &[("path", &printed(directory.path()))]);
        as_docker(storage::explain_io(Error::failed(what), &error, directory.path()))
    };
    let explain = args.explain.explainer();
    tell_reading(explain, &container);
    let log = printed(directory.path().join(LOG));
    explain.step(format!("read(<{log}>)"), "container.explain.log");
    if args.follow {
        explain.step(format!("read(<{log}>)  [every 50 ms]"), "container.explain.follow");
    }
    let mut reader = directory.try_clone().and_then(|copy| LogReader::open(copy, tail)).map_err(cannot)?;
    let mut printer = LogPrinter { args, at_line_start: [true; 2], out: Vec::new() };
    loop {
        // Asked before the log is read: what a container has printed before its end is in the log then.
        let is_over = !args.follow || !runs(&store, &container);
        while let Some(reading) = reader.read_next().map_err(cannot)? {
            match reading {
                Reading::Entry(entry) => {
                    if args.until.is_some_and(|until| entry.time > until) {
                        continue;
                    }
                    if args.since.is_none_or(|since| entry.time >= since) && printer.print(&entry).is_err() {
                        return Ok(0);
                    }
                }
                Reading::Damaged => notice("container.log.damaged"),
                Reading::Missed => notice("container.log.missed"),
            }
        }
        if printer.flush().is_err() {
            return Ok(0);
        }
        if is_over {
            tell_dropped(&store, &container);
        }
        if is_over || args.until.is_some_and(|until| Timestamp::now() > until) {
            return Ok(0);
        }
        thread::sleep(PAUSE);
    }
}

fn notice(key: &str) {
    render::note(&text(key));
}

/// Reports that the log has a gap: what could not be written is nowhere else.
fn tell_dropped(store: &ContainerStore, container: &KeptContainer) {
    let state = store.again(container).ok().flatten().map(|present| present.state);
    let dropped = state.map_or(0, |state| state.log_dropped);
    if dropped > 0 {
        let message = text_with("container.log.dropped", &[("bytes", &dropped.to_string())]);
        render::note(&message);
    }
}

fn runs(store: &ContainerStore, container: &KeptContainer) -> bool {
    matches!(store.again(container), Ok(Some(container)) if container.state.status.is_active())
}

/// Prints entries, each to its own stream.
struct LogPrinter<'a> {
    args: &'a LogsArgs,
    /// Whether the next entry begins a line, of standard output and of standard error.
    at_line_start: [bool; 2],
    /// What is not printed to standard output yet.
    out: Vec<u8>,
}

impl LogPrinter<'_> {
    fn print(&mut self, entry: &LogEntry) -> io::Result<()> {
        let at_line_start = &mut self.at_line_start[usize::from(entry.stream.number()) - 1];
        let mut line = Vec::new();
        if *at_line_start {
            line.extend_from_slice(entry.beginning(self.args.timestamps, self.args.details).as_bytes());
        }
        *at_line_start = entry.content.ends_with(b"\n");
        line.extend_from_slice(&entry.content);
        match entry.stream {
            OutputStream::Stdout => {
                self.out.extend_from_slice(&line);
                if self.out.len() >= 64 << 10 { self.flush() } else { Ok(()) }
            }
            OutputStream::Stderr => {
                // In the order in which they were printed.
                self.flush()?;
                io::stderr().write_all(&line)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = io::stdout().write_all(&self.out).and_then(|()| io::stdout().flush());
        self.out.clear();
        written
    }
}
