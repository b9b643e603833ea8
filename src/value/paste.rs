//! Command lines for a person to paste into a shell: made from words, and continued on several lines.

use std::ffi::OsStr;

use super::shell::quote;

/// Words as one command line. A shell reads back the same words, and runs the first one as a program.
pub fn command_line<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> String {
    let mut out = String::new();
    for word in words {
        let quoted = quote(&word);
        if out.is_empty() {
            // Without quotes, `a=b` at the beginning is an assignment, and `if` begins a statement.
            let is_special = quoted.contains('=') || RESERVED.contains(&&*quoted);
            out = if is_special && !quoted.contains(['\'', '"']) { format!("'{quoted}'") } else { quoted };
        } else {
            out.push(' ');
            // zsh replaces `=name` by the path of a program.
            out += &if quoted.starts_with('=') { format!("'{quoted}'") } else { quoted };
        }
    }
    out
}

/// The reserved words of POSIX shells, bash and zsh that consist of plain characters.
const RESERVED: [&str; 24] = [
    "if",
    "then",
    "else",
    "elif",
    "fi",
    "do",
    "done",
    "case",
    "esac",
    "while",
    "until",
    "for",
    "in",
    "function",
    "select",
    "time",
    "coproc",
    "repeat",
    "end",
    "foreach",
    "nocorrect",
    "noglob",
    "declare",
    "typeset",
];

/// Breaks a command line at its blanks outside of quotes into lines of at most `width` characters. Each line but the
/// last ends in a backslash, so the shell reads one line, and each but the first begins with `indent` blanks and 4 more.
/// A longer word stays whole.
pub fn wrapped(command: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in words(command) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length + 2 > width {
            out.push_str(" \\\n");
            out.push_str(&" ".repeat(indent + 4));
            column = 4;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column = match word.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => column + length,
        };
    }
    out
}

/// The words of a command line, with their quotes.
fn words(command: &str) -> Vec<&str> {
    pieces(command, |character| character == ' ')
}

/// The lines of a text. A line break inside quotes does not end a line: it belongs to a word.
pub fn lines(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // Only a command has quotes with a meaning. An apostrophe in a sentence has none.
        let end = if rest.starts_with(' ') { first_piece(rest, |one| one == '\n') } else { rest.find('\n') };
        let end = end.unwrap_or(rest.len());
        all.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    all
}

/// Splits at characters outside of quotes. Empty pieces are left out.
fn pieces(text: &str, is_end: impl Fn(char) -> bool) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    loop {
        let end = first_piece(rest, &is_end).unwrap_or(rest.len());
        if end > 0 {
            all.push(&rest[..end]);
        }
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return all,
        }
    }
}

/// The place of the first such character outside of quotes. Quotes are `'...'` and `"..."`.
fn first_piece(text: &str, is_end: impl Fn(char) -> bool) -> Option<usize> {
    let mut open = None;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else {
            match (open, character) {
                (None | Some('"'), '\\') => is_escaped = true,
                (None, quote @ ('\'' | '"')) => open = Some(quote),
                (Some(quote), end) if quote == end => open = None,
                (None, end) if is_end(end) => return Some(at),
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Values that are dangerous in a shell.
    const VALUES: [&str; 30] = [
        "",
        " ",
        "a b",
        "  a",
        "a;exit 9",
        "$(exit 9)",
        "`exit 9`",
        "$HOME",
        "a'b",
        "a\"b",
        "'",
        "\\",
        "a\\nb",
        "a\nb",
        "\n",
        "a\nexit 9\n",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "-n",
        "~",
        "#x",
        "!x",
        "!!",
        "&",
        "|",
        ">x",
        "=ls",
        "%s",
    ];

    fn read_by_sh(line: &str) -> Vec<u8> {
        Command::new("sh").args(["-c", line]).output().expect("a shell").stdout
    }

    #[test]
    fn a_shell_reads_back_the_words_of_a_line() {
        let hostile = VALUES.map(|value| format!("\u{1b}{value}\u{7f} {value}\t"));
        let values: Vec<&str> = VALUES.into_iter().chain(hostile.iter().map(String::as_str)).collect();
        for width in [12, 40, 80] {
            let all: Vec<&str> = ["printf", "%s\\0"].into_iter().chain(values.iter().copied()).collect();
            let line = wrapped(&command_line(&all), width, 8);
            let wanted: String = values.iter().map(|value| format!("{value}\0")).collect();
            assert_eq!(read_by_sh(&line), wanted.as_bytes(), "{line}");
        }
    }

    #[test]
    fn the_first_word_is_always_a_program() {
        for word in ["A=b", "if", "then", "a b", "=ls"] {
            let line = format!("{} 2>/dev/null; echo $?", command_line([word]));
            assert_eq!(read_by_sh(&line), b"127\n", "{line}");
        }
    }

    #[test]
    fn a_long_line_is_continued_at_its_blanks() {
        assert_eq!(
            wrapped("sandbox pid -- bash -c 'a b c d'", 20, 0),
            "sandbox pid -- \\\n    bash -c \\\n    'a b c d'"
        );
        assert_eq!(wrapped("short", 20, 0), "short");
    }

    #[test]
    fn a_line_break_in_quotes_belongs_to_the_word() {
        assert_eq!(lines("it's so:\n   a 'b\nc' d\n   e"), ["it's so:", "   a 'b\nc' d", "   e"]);
    }
}
