//! How it looks: text in 80 columns, every colour doubled by a sign, and JSON for programs.

pub mod card;
pub mod contrast;
pub mod equivalents;
pub mod error;
pub mod explain;
pub mod paint;
pub mod plan;
pub mod stable;
pub mod view;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// Writes a result to standard output. That the reader has gone away (a broken pipe) is no error.
pub fn out(text: &str) {
    write(&mut io::stdout().lock(), text);
}

/// Writes to standard error: what `sandbox` says while a command owns standard output.
pub fn err(text: &str) {
    write(&mut io::stderr().lock(), text);
}

fn write(stream: &mut dyn Write, text: &str) {
    let stable = if STABLE.load(Ordering::Relaxed) { stable::stable(text) } else { text.to_owned() };
    // There is nobody left to tell.
    let _ = stream.write_all(stable.as_bytes()).and_then(|()| stream.flush());
}

/// Whether what is printed is for a handout. One choice for the whole run, as colour is.
static STABLE: AtomicBool = AtomicBool::new(false);

/// Chooses that numbers which change on every run are named by relation.
pub fn set_stable(on: bool) {
    STABLE.store(on, Ordering::Relaxed);
}

/// A value as indented JSON, with the line's end.
pub fn json(value: &impl Serialize) -> String {
    // What we serialise are maps with string keys, lists and scalars; that can't fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
