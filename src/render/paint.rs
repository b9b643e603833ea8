//! Colour and width. Colour is decided for the stream that is written to: the `colored` crate looks at standard output
//! only, so the decision is made here and forced on it.

use std::io::IsTerminal;

use colored::{ColoredString, Colorize};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
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

/// Decides for everything that is drawn from here on.
pub fn decide(color: Color, stream: Stream) {
    let on = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && is_terminal(stream)
        }
    };
    colored::control::set_override(on);
}

fn is_terminal(stream: Stream) -> bool {
    match stream {
        Stream::Out => std::io::stdout().is_terminal(),
        Stream::Err => std::io::stderr().is_terminal(),
    }
}

/// The columns to draw in: the terminal's, at most 100, and 80 where there is none.
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

/// A heading.
pub fn heading(words: &str) -> ColoredString {
    words.bold()
}

/// What is outside: your shell's side.
pub fn outside(words: &str) -> ColoredString {
    words.cyan()
}

/// What is inside.
pub fn inside(words: &str) -> ColoredString {
    words.yellow()
}

/// Good: holds, equal where it should be.
pub fn good(words: &str) -> ColoredString {
    words.green()
}

/// Bad, or different.
pub fn bad(words: &str) -> ColoredString {
    words.red().bold()
}

/// Different: worth a look.
pub fn different(words: &str) -> ColoredString {
    words.magenta().bold()
}

/// Beside the point, but there.
pub fn faint(words: &str) -> ColoredString {
    words.dimmed()
}

/// Cuts to at most `width` columns; what is cut shows as `~`.
pub fn cut(words: &str, width: usize) -> String {
    if words.chars().count() <= width {
        return words.to_owned();
    }
    let mut kept: String = words.chars().take(width.saturating_sub(1)).collect();
    kept.push('~');
    kept
}
