//! An error as text: what failed, the call, why, and what to do.

use std::fmt::Write;
use std::io::IsTerminal;

use unicode_width::UnicodeWidthStr;

use super::{mistakes, paint};
use crate::error::{Error, ExitKind};
use crate::text::wrap;
use crate::value::paste;

/// The lines of an error, for standard error.
pub fn text(error: &Error) -> String {
    // A script looks for one of Docker's sentences in a line. An error with a place in a file has several lines anyway.
    let is_searched =
        error.kind == ExitKind::Refused && error.mistakes.is_empty() && !std::io::stderr().is_terminal();
    lines(error, paint::width(), if is_searched { usize::MAX } else { paint::width() - 9 })
}

/// The same with this width.
pub fn text_in(error: &Error, width: usize) -> String {
    lines(error, width, width - 9)
}

/// The lines with this width, and the first sentence with its own.
fn lines(error: &Error, width: usize, first: usize) -> String {
    let mut out = String::new();
    let first = wrap(&error.what, first).join("\n         ");
    let _ = writeln!(out, "{} {first}", paint::bad("sandbox:"));
    out.push_str(&mistakes::text_in(&error.mistakes, width));
    parts(&mut out, error.call.as_deref(), &error.why, &error.todo, width);
    out
}

/// Adds the call, why it failed, and what to do.
pub(super) fn parts(out: &mut String, call: Option<&str>, why: &[String], todo: &[String], width: usize) {
    if let Some(call) = call {
        part(out, "call", &with_breaks(call, width - 8), width);
    }
    for (index, why) in why.iter().enumerate() {
        part(out, if index == 0 { "why" } else { "" }, why, width);
    }
    let count = todo.len();
    for (index, todo) in todo.iter().enumerate() {
        let number = if count > 1 { format!("{}. ", index + 1) } else { String::new() };
        // A command after the number is on a line of its own, so that it can be copied.
        let separator = if todo.starts_with(' ') && count > 1 { "\n  " } else { "" };
        part(out, if index == 0 { "do" } else { "" }, &format!("{number}{separator}{todo}"), width);
    }
}

/// A call whose long words are broken after a `|`, between flags.
fn with_breaks(call: &str, width: usize) -> String {
    let mut out = String::new();
    for line in wrap(call, width) {
        let mut rest = line.as_str();
        while rest.width() > width
            && let Some(end) =
                rest.match_indices('|').map(|(at, _)| at + 1).take_while(|at| *at <= width).last()
        {
            out.push_str(&rest[..end]);
            out.push('\n');
            rest = &rest[end..];
        }
        out.push_str(rest);
        out.push('\n');
    }
    out.pop();
    out
}

/// Adds a name and the text beside it. A line of the text that begins with a space is a command to paste: a line that is
/// too long is continued as a shell does it, and what is in quotes stays as it is.
fn part(out: &mut String, name: &str, text: &str, width: usize) {
    let mut name = name;
    let mut put = |line: &str| {
        let _ = writeln!(out, "  {:<6}{line}", paint::heading(name));
        name = "";
    };
    for (index, line) in paste::lines(text).into_iter().enumerate() {
        let command = line.trim_start_matches(' ');
        let indent = if index == 0 { 0 } else { line.len() - command.len() };
        if let Some((command, remark)) = line.split_once("   # ").filter(|_| command.len() == line.len()) {
            // A remark is a comment of the shell, so the line can be pasted as it is.
            if line.width() <= width - 8 {
                put(line);
            } else {
                put(&paste::wrapped(command, width - 8, 8));
                wrap(remark, width - 10).iter().for_each(|line| put(&format!("# {line}")));
            }
        } else if command.len() == line.len() {
            wrap(line, width - 8).iter().for_each(|line| put(line));
        } else {
            let command = paste::wrapped(command, width - 8 - indent, 8 + indent);
            put(&format!("{:indent$}{command}", ""));
        }
    }
}
