//! Colour and width. Whether to colour depends on the stream that is written to. The `colored` crate checks only
//! standard output, so the decision is made here and overrides its own.

use std::io::IsTerminal;

use colored::{ColoredString, Colorize};
use unicode_width::UnicodeWidthStr;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set, CLICOLOR is 0, or TERM is dumb or not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Switches colour on or off for all later output, which is written to `stream`.
pub fn decide(color: Color, stream: Stream) {
    let on = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            let is = |name, wanted: &str| std::env::var_os(name).is_some_and(|value| value == wanted);
            !is_set("NO_COLOR") && !is("CLICOLOR", "0") && !is_dumb() && is_terminal(stream)
        }
    };
    colored::control::set_override(on);
}

/// Whether the terminal has neither colour nor a cursor that can be moved.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

fn is_terminal(stream: Stream) -> bool {
    match stream {
        Stream::Out => std::io::stdout().is_terminal(),
        Stream::Err => std::io::stderr().is_terminal(),
    }
}

/// The width of the output: that of the terminal, at least 30 and at most 100. Without a terminal it is 80.
pub fn width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stderr()))
        .map_or(80, |size| usize::from(size.ws_col));
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    match asked.unwrap_or(terminal) {
        0 => 80,
        columns => columns.clamp(30, 100),
    }
}

/// Whether this number of lines of [`width`] fits into the terminal, with a line below them for the cursor.
pub fn fits_terminal(lines: usize) -> bool {
    // A size of 0 is not known.
    let is_enough = |has: u16, needed: usize| has == 0 || usize::from(has) >= needed;
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout());
    terminal.is_ok_and(|size| is_enough(size.ws_col, width()) && is_enough(size.ws_row, lines + 1))
}

/// The number of lines of the terminal, at least 10. Without a terminal it is 24.
pub fn height() -> usize {
    let terminal = rustix::termios::tcgetwinsize(std::io::stdout());
    match terminal.map_or(24, |size| usize::from(size.ws_row)) {
        0 => 24,
        rows => rows.max(10),
    }
}

/// The rows and the columns of the terminal, however small. None: they are not known.
pub fn terminal() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stderr()))
        .ok()?;
    Some((usize::from(size.ws_row), usize::from(size.ws_col)))
        .filter(|(rows, columns)| *rows > 0 && *columns > 0)
}

/// A heading.
pub fn heading(text: &str) -> ColoredString {
    text.bold()
}

/// Something outside: on the side of the user's shell.
pub fn outside(text: &str) -> ColoredString {
    text.cyan()
}

/// Something inside.
pub fn inside(text: &str) -> ColoredString {
    text.yellow()
}

/// Good: a claim that is true, an expected value.
pub fn good(text: &str) -> ColoredString {
    text.green()
}

/// Bad: a failure.
pub fn bad(text: &str) -> ColoredString {
    text.red().bold()
}

/// Different: a value to notice.
pub fn different(text: &str) -> ColoredString {
    text.magenta().bold()
}

/// Less important.
pub fn faint(text: &str) -> ColoredString {
    text.dimmed()
}

/// The columns that a text takes, without its colours.
pub fn columns(text: &str) -> usize {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().width();
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, after)| after.width())).sum::<usize>()
}

/// The text in at most `width` columns. If it is cut, it ends in `~`.
pub fn cut(text: &str, width: usize) -> String {
    crate::text::cut(text, width)
}
