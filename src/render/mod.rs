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
    // There is nobody left to tell.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

/// A value as indented JSON, with the line's end.
pub fn json(value: &impl Serialize) -> String {
    // What we serialise are maps with string keys, lists and scalars; that can't fail.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
