//! How it looks: text in 80 columns, every colour doubled by a sign, and JSON for programs.

pub mod card;
pub mod compare;
pub mod contrast;
pub mod doctor;
pub mod equivalents;
pub mod error;
pub mod explain;
pub mod live;
mod mistakes;
pub mod paint;
pub mod plan;
pub mod plot;
mod spellings;
pub mod stable;
pub mod svg;
mod table;
pub mod view;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Writes a result to standard output. That the reader has gone away (a broken pipe) is no error.
pub fn out(text: &str) {
    if let Err(error) = write(&mut io::stdout().lock(), text)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Why a part of the result could not be written to standard output: a full disk, say. The run ends in an error then, for
/// whoever keeps the result must not take it for whole.
pub fn lost() -> Option<io::Error> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes to standard error: what `sandbox` says while a command owns standard output.
pub fn err(text: &str) {
    // There is nobody left to tell.
    let _ = write(&mut io::stderr().lock(), text);
}

fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    let stable = if STABLE.load(Ordering::Relaxed) { stable::stable(text) } else { text.to_owned() };
    stream.write_all(stable.as_bytes()).and_then(|()| stream.flush())
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
