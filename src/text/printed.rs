//! Text from outside the program, made safe to print: host names, process names, paths, arguments.
//!
//! Such text is bytes. A byte that is not UTF-8 cannot be printed. A control character could change the terminal, and a
//! newline could forge a line of the output. Both are written as escapes. A backslash stays as it is.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// The text with escapes: `\n`, `\t`, `\r`, `\xNN` for other bytes, and `\u{N}` for other characters.
pub(crate) fn printed(text: impl AsRef<OsStr>) -> String {
    escaped(text.as_ref().as_bytes(), |character| !is_unsafe(character))
}

/// As [`printed`], but lines stay lines: newlines and tabs are not escaped.
pub(crate) fn printed_lines(text: impl AsRef<OsStr>) -> String {
    escaped(text.as_ref().as_bytes(), |character| matches!(character, '\n' | '\t') || !is_unsafe(character))
}

/// As [`printed_lines`], for text that the program itself has coloured: sequences that select a colour stay.
pub(crate) fn printed_in_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut out = printed_lines(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|character: char| !character.is_ascii_digit() && character != ';');
        let is_colour = end.is_some_and(|end| part[end..].starts_with('m'));
        out.push_str(if is_colour { "\x1b[" } else { r"\x1b[" });
        out.push_str(&printed_lines(part));
    }
    out
}

/// JSON in which no string contains an unsafe character. serde_json escapes only those below U+0020.
pub(crate) fn printed_json(json: &str) -> String {
    if !json.contains(|character| is_unsafe(character) && character != '\n') {
        return json.to_owned();
    }
    let escape = |character: char| match character {
        '\n' => "\n".to_owned(),
        unsafe_one if is_unsafe(unsafe_one) => format!("\\u{:04x}", u32::from(unsafe_one)),
        other => other.to_string(),
    };
    json.chars().map(escape).collect()
}

/// Each byte that is not UTF-8 as `\xNN`. All characters stay as they are.
pub(crate) fn without_bad_bytes(bytes: &[u8]) -> String {
    escaped(bytes, |_| true)
}

/// Whether a character changes the terminal, the line, or the order in which characters are shown.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(bytes: &[u8], stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Writing to a string cannot fail.
            let _ = match character {
                safe if stays(safe) => out.write_char(safe),
                '\n' => out.write_str(r"\n"),
                '\t' => out.write_str(r"\t"),
                '\r' => out.write_str(r"\r"),
                ascii if ascii.is_ascii() => write!(out, "\\x{:02x}", u32::from(ascii)),
                other => write!(out, "\\u{{{:x}}}", u32::from(other)),
            };
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_change_the_terminal_is_escaped() {
        let hostile = OsStr::from_bytes(b"a\x1b[2J\n\t\x07\x7f\xff\xc2\x9b");
        assert_eq!(printed(hostile), r"a\x1b[2J\n\t\x07\x7f\xff\u{9b}");
        assert_eq!(printed("a\u{202e}b\u{2028}"), r"a\u{202e}b\u{2028}");
        assert_eq!(printed(r"Grün 数据 \d"), r"Grün 数据 \d");
        assert_eq!(printed_lines("a\n\tb\r"), "a\n\tb\\r");
    }

    #[test]
    fn only_colours_pass() {
        assert_eq!(printed_in_colour("\x1b[1;31mred\x1b[0m\n"), "\x1b[1;31mred\x1b[0m\n");
        assert_eq!(printed_in_colour("\x1b[2J\x1b]0;title\x07\x1b"), r"\x1b[2J\x1b]0;title\x07\x1b");
        assert_eq!(printed_in_colour("\x1b["), r"\x1b[");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a": "\u{7f}\u{9b}\u{202e}\n\u{1b}\\" });
        let json = printed_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!json.contains(|character| is_unsafe(character) && character != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }
}
