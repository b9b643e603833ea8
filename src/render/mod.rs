//! The output: text for people and JSON for programs. Text fits 80 columns. It never says anything by colour alone.

pub mod anatomy;
pub mod card;
pub mod columns;
pub mod compare;
pub mod contrast;
pub mod demonstration;
pub mod doctor;
pub mod equivalents;
pub mod error;
pub mod explain;
pub mod grade;
pub mod here;
pub mod ledger;
pub mod lesson;
pub mod live;
pub mod markdown;
mod mistakes;
pub mod page;
pub mod paint;
pub mod plan;
pub mod plot;

pub mod stable;
pub mod svg;
mod table;
pub mod template;
mod versions;
pub mod view;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Serialize;

use self::paint::Stream;
use crate::text::{printed_in_colour, printed_json, printed_lines};

/// Writes a result to standard output. A broken pipe is not an error: the reader has read enough.
///
/// Parts of the text may come from outside the program. Control characters in them are escaped here.
pub fn out(text: &str) {
    out_as_is(&safe(text));
}

/// Ends the line of a prompt on standard output. With colours, the terminal first erases what is on it.
pub fn end_prompt() {
    let in_colour = colored::control::SHOULD_COLORIZE.should_colorize();
    out_as_is(if in_colour { "\r\x1b[K\n" } else { "\n" });
}

/// Reserves standard output for JSON: what a command prints there later goes to standard error.
///
/// # Errors
/// Those of dup(2) and dup2(2).
pub fn reserve_output() -> io::Result<()> {
    let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let _ = RESERVED.set(File::from(kept));
    Ok(())
}

/// Where JSON is printed while a command runs: to standard output only if that is reserved for it.
pub fn json_stream() -> Stream {
    if RESERVED.get().is_some() { Stream::Out } else { Stream::Err }
}

/// The former standard output, if it is reserved for JSON.
static RESERVED: OnceLock<File> = OnceLock::new();

/// Writes a picture, which moves the cursor. Text from outside in it is escaped already.
fn out_as_is(text: &str) {
    note_lost(write(&mut io::stdout().lock(), text));
}

/// The error if a part of the result could not be written to standard output, for example because the disk is full. The
/// run then ends in an error, so that nobody takes an incomplete result for a complete one.
pub fn lost() -> Option<io::Error> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a message to standard error. Standard output belongs to the command that runs.
pub fn err(text: &str) {
    err_as_is(&safe(text));
}

/// Writes a note to standard error. A line of it that begins with a blank is a command to paste.
pub fn note(message: &str) {
    note_in(message, paint::width() - 9);
}

/// Writes a note about a command that runs. In a pipe, it is one line among those of the command: a script looks for it.
pub fn note_of_run(message: &str) {
    note_in(message, if io::stderr().is_terminal() { paint::width() - 9 } else { usize::MAX });
}

fn note_in(message: &str, width: usize) {
    let lines = plan::note_lines(&format!("sandbox: {message}"), width, 9);
    err(&(lines.join("\n         ") + "\n"));
}

/// Prints output of a command, as it is.
pub fn bytes(is_error: bool, bytes: &[u8]) {
    match is_error {
        false => {
            let mut output = io::stdout().lock();
            note_lost(output.write_all(bytes).and_then(|()| output.flush()));
        }
        true => drop(io::stderr().lock().write_all(bytes)),
    }
}

fn err_as_is(text: &str) {
    // If standard error fails, there is no way to report it.
    let _ = write(&mut io::stderr().lock(), text);
}

/// A text without control characters, except newlines, tabs and the colours of `paint`.
fn safe(text: &str) -> String {
    match colored::control::SHOULD_COLORIZE.should_colorize() {
        true => printed_in_colour(text),
        false => printed_lines(text),
    }
}

/// Writes a value as JSON to this stream. With `--stable`, strings and numbers that change on every run are named.
pub fn print_json(stream: Stream, value: &impl Serialize) {
    let text = match is_stable() {
        true => json(&stable::stable_json(serde_json::to_value(value).unwrap_or_default())),
        false => json(value),
    };
    let written = match stream {
        Stream::Out => match RESERVED.get() {
            Some(mut reserved) => put(&mut reserved, &text),
            None => put(&mut io::stdout().lock(), &text),
        },
        Stream::Err => put(&mut io::stderr().lock(), &text).or(Ok(())),
    };
    note_lost(written);
}

fn note_lost(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        *LOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

fn write(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    let stable = if is_stable() { stable::stable(text) } else { text.to_owned() };
    put(stream, &stable)
}

fn put(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
}

/// Whether the output is for a handout: `--stable`. It is the same for the whole run, as colour is.
static STABLE: AtomicBool = AtomicBool::new(false);

/// Sets whether numbers that change on every run are replaced by names.
pub fn set_stable(on: bool) {
    STABLE.store(on, Ordering::Relaxed);
}

/// Whether numbers that change on every run are replaced by names.
pub(crate) fn is_stable() -> bool {
    STABLE.load(Ordering::Relaxed)
}

/// Prints what `inspect` has found: as Docker does, a list with four spaces for each level.
pub fn print_described(all: &[serde_json::Value]) {
    let all = serde_json::Value::from(all.to_vec());
    let all = if is_stable() { stable::stable_json(all) } else { all };
    let mut written = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    // This cannot fail: it is written to memory.
    let _ = all.serialize(&mut serde_json::Serializer::with_formatter(&mut written, form));
    let text = printed_json(&String::from_utf8_lossy(&written)) + "\n";
    note_lost(put(&mut io::stdout().lock(), &text));
}

/// A value as indented JSON, with a newline at the end.
pub fn json(value: &impl Serialize) -> String {
    // This cannot fail: the values have only maps with string keys, lists and scalars.
    printed_json(&serde_json::to_string_pretty(value).unwrap_or_default()) + "\n"
}
