//! `daemon run --trace`: prints each request, what it means, and the command line of `sandbox` that does the same.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use hyper::StatusCode;

use crate::text::{printed, text, text_with, wrap};

/// The number of hexadecimal digits of a whole ID, and of a short one.
const WHOLE_ID: usize = 64;
const SHORT_ID: usize = 12;

/// The minimum width of a sentence.
const MIN_WIDTH: usize = 20;

/// How many lines are kept for a terminal that does not take them. Further ones are dropped: no request waits for a reader.
const LINES: usize = 4096;

/// Where requests are printed.
#[derive(Debug)]
pub(super) struct Trace {
    /// The thread that prints. None: nothing is printed.
    lines: Option<SyncSender<String>>,
    /// The width of the terminal. None: the output is not a terminal, and no line is wrapped.
    width: Option<usize>,
    dropped: AtomicU64,
    last: AtomicU64,
}

/// Prints lines. A terminal may be stopped by Ctrl-S, and a pipe may be full.
fn print(lines: &Receiver<String>) {
    let mut out = std::io::stdout();
    for line in lines {
        // A reader that has gone must not end the daemon.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

impl Trace {
    pub(super) fn new(is_on: bool) -> Trace {
        let lines = is_on.then(|| {
            let (sender, lines) = sync_channel(LINES);
            let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(move || print(&lines));
            thread.ok().map(|_| sender)
        });
        let width = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
        let width = width.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
        Trace { lines: lines.flatten(), width, dropped: AtomicU64::new(0), last: AtomicU64::new(0) }
    }

    /// The number of a new request. It is printed with each of its lines: several requests are answered at the same time.
    pub(super) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A request, and what it means.
    pub(super) fn request(&self, number: u64, method: &str, path: &str, means: Option<&str>) {
        self.print(number, &format!("{} {}", printed(method), printed(path)));
        if let Some(means) = means {
            self.print_text(number, &text(means));
        }
    }

    /// A command that is executed, or that does the same.
    pub(super) fn command(&self, number: u64, line: &str) {
        self.print(number, &format!("  $ {}", printed(line)));
    }

    /// The answer.
    pub(super) fn answer(&self, number: u64, status: StatusCode, after: Duration) {
        self.print(number, &format!("  = {status}, after {} ms", after.as_millis()));
    }

    /// Why a request was refused.
    pub(super) fn refusal(&self, number: u64, message: &str) {
        self.print_text(number, &printed(message));
    }

    /// Sentences, wrapped at the width of the terminal. A command line is not: it can be pasted as it is.
    fn print_text(&self, number: u64, text: &str) {
        if self.lines.is_none() {
            return;
        }
        let width = self
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(format!("#{number}   ").len()).max(MIN_WIDTH));
        for line in wrap(text, width) {
            self.print(number, &format!("  {line}"));
        }
    }

    fn print(&self, number: u64, line: &str) {
        let Some(lines) = &self.lines else { return };
        let mut line = format!("#{number} {}\n", with_short_ids(line));
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            line =
                format!("{}\n{line}", text_with("daemon.trace.dropped", &[("count", &dropped.to_string())]));
        }
        if let Err(TrySendError::Full(_)) = lines.try_send(line) {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

/// The text with the beginning of each whole ID in place of it, as docker prints IDs.
fn with_short_ids(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|character: char| character.is_ascii_hexdigit()) {
        let length = rest[start..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let kept = if length == WHOLE_ID { SHORT_ID } else { length };
        out.push_str(&rest[..start + kept]);
        rest = &rest[start + length..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_ids_are_shortened() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(
            with_short_ids(&format!("GET /x/{id}/json?a={id}")),
            "GET /x/0123456789ab/json?a=0123456789ab"
        );
        assert_eq!(with_short_ids("sandbox ps abc é"), "sandbox ps abc é");
        assert_eq!(with_short_ids(&format!("{id}a")), format!("{id}a"));
    }
}
