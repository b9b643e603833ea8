//! `daemon run --trace`: prints each request, what it means, and the command line of `sandbox` that does the same.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use crate::text::{printed, text};

/// Where requests are printed.
#[derive(Debug)]
pub(super) struct Trace {
    is_on: bool,
    last: AtomicU64,
}

impl Trace {
    pub(super) fn new(is_on: bool) -> Trace {
        Trace { is_on, last: AtomicU64::new(0) }
    }

    /// The number of a new request. It is printed with each of its lines: several requests are answered at the same time.
    pub(super) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A request, and what it means.
    pub(super) fn request(&self, number: u64, method: &str, path: &str, means: Option<&str>) {
        self.print(number, &format!("{} {}", printed(method), printed(path)));
        if let Some(means) = means {
            self.print(number, &format!("  {}", text(means)));
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

    fn print(&self, number: u64, line: &str) {
        if self.is_on {
            // A reader that has gone must not end the daemon.
            let _ = writeln!(std::io::stdout().lock(), "#{number} {line}");
        }
    }
}
