//! Quoting for command lines that a user pastes into a shell.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use crate::text::is_unsafe;

/// A string as one word of a POSIX shell. It is quoted with single quotes, unless no character has a special meaning.
///
/// Control characters and bytes that are not UTF-8 must not reach the terminal. A string with them is written as
/// `$'...'` with escapes, which bash, ksh and zsh read (POSIX since 2024). A newline alone is harmless in single
/// quotes.
pub fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref();
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.chars().any(|character| is_unsafe(character) && character != '\n') => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => escaped(word.as_bytes()),
    }
}

/// As [`quote`], but on one line: a newline is escaped too.
pub fn quote_on_one_line(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    if bytes.contains(&b'\n') { escaped(bytes) } else { quote(word) }
}

/// Whether a character has no special meaning in a shell.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "/._-+=:,@%".contains(character)
}

/// The string as `$'...'`. An octal escape always has three digits, so a digit may follow it.
fn escaped(word: &[u8]) -> String {
    let mut out = String::from("$'");
    for chunk in word.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' | '\\' => out.extend(['\\', character]),
                '\n' => out.push_str(r"\n"),
                '\t' => out.push_str(r"\t"),
                control if is_unsafe(control) => {
                    octal(&mut out, control.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(other),
            }
        }
        octal(&mut out, chunk.invalid());
    }
    out.push('\'');
    out
}

fn octal(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The word that a shell reads from the quoted form.
    fn read_by(shell: &str, word: &OsStr) -> Vec<u8> {
        let script = format!("printf %s {}", quote(word));
        Command::new(shell).args(["-c", &script]).output().expect("a shell").stdout
    }

    #[test]
    fn a_word_is_quoted_only_if_necessary() {
        assert_eq!(quote("/usr/bin/env"), "/usr/bin/env");
        assert_eq!(quote("--map=0:1000"), "--map=0:1000");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote_on_one_line("a\nb"), r"$'a\nb'");
        assert_eq!(quote("数据"), "'数据'");
        assert_eq!(quote("\u{1b}[2J"), r"$'\033[2J'");
        assert_eq!(quote(OsStr::from_bytes(b"\xff1")), r"$'\3771'");
    }

    #[test]
    fn shells_read_back_the_quoted_word() {
        let words = [
            "", " ", "'", "''", "it's", "\"", "\\", "\\n", "$HOME", "$(id)", "`id`", "~", "*", "a?b", "[a]",
            "{a,b}", "a;b", "a&b", "a|b", "<x>", "#", "!", "!!", "a\nb", "\n", "x\n'", "é", "数据", "-n",
            "%s", "a=b",
        ];
        for word in words {
            for shell in ["sh", "bash"] {
                assert_eq!(read_by(shell, word.as_ref()), word.as_bytes(), "{shell}: {word:?}");
            }
        }
    }

    #[test]
    fn bash_reads_back_every_byte() {
        let mut all: Vec<u8> = (1..=255).collect();
        all.extend(b"\x011\t'\\ \xc2\x85\n");
        assert_eq!(read_by("bash", OsStr::from_bytes(&all)), all);
        let quoted = quote(OsStr::from_bytes(&all));
        assert!(!quoted.chars().any(char::is_control), "{quoted:?}");
    }
}
