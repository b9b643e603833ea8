//! An error: the call, why, what to do.

use std::fmt::Write;

use super::paint;
use crate::error::Error;

/// The lines of an error, for standard error.
pub fn text(error: &Error) -> String {
    text_in(error, paint::width())
}

/// The same in so many columns.
pub fn text_in(error: &Error, width: usize) -> String {
    let mut out = String::new();
    let first = paint::wrap(&error.what, width - 9).join("\n         ");
    let _ = writeln!(out, "{} {first}", paint::bad("sandbox:"));
    if let Some(call) = &error.call {
        part(&mut out, "call", call, width);
    }
    for (index, why) in error.why.iter().enumerate() {
        part(&mut out, if index == 0 { "why" } else { "" }, why, width);
    }
    for (index, todo) in error.todo.iter().enumerate() {
        let number = if error.todo.len() > 1 { format!("{}. ", index + 1) } else { String::new() };
        part(&mut out, if index == 0 { "do" } else { "" }, &format!("{number}{todo}"), width);
    }
    out
}

/// A name in its column, the words beside it. A line of the words that begins with blanks is a command to paste: it is
/// never wrapped.
fn part(out: &mut String, name: &str, words: &str, width: usize) {
    let mut name = name;
    for line in words.lines() {
        let lines = if line.starts_with(' ') { vec![line.to_owned()] } else { paint::wrap(line, width - 8) };
        for line in lines {
            let _ = writeln!(out, "  {:<6}{line}", paint::heading(name));
            name = "";
        }
    }
}
