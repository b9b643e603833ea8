//! Quoting for command lines that a user pastes into a shell.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use crate::text::is_unsafe;

/// A string as one word of a POSIX shell. It is quoted with single quotes, unless no character has a special meaning.
///
/// Control characters and bytes that are not UTF-8 must not reach the terminal. A string with them is written as
/// `"$(printf '...')"` with escapes. Every POSIX shell reads that, also dash, which does not know `$'...'`. A newline
/// alone is harmless in single quotes.
pub fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref();
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.chars().any(|character| is_unsafe(character) && character != '\n') => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => printed_by_shell(word.as_bytes()),
    }
}

/// As [`quote`], but on one line: a newline is escaped too. Newlines at the end of the string stay, in single quotes.
pub fn quote_on_one_line(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    if bytes.contains(&b'\n') { printed_by_shell(bytes) } else { quote(word) }
}

/// Whether a character has no special meaning in a shell.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "/._-+=:,@%".contains(character)
}

/// The string as the output of printf(1). A command substitution removes newlines at the end of the output, so these
/// are written after it.
///
/// An octal escape always has three digits, so a digit may follow it. Characters that have a meaning in double quotes,
/// in single quotes or in the history of bash are escaped too, and so is `-`, with which an option of printf begins.
fn printed_by_shell(word: &[u8]) -> String {
    let newlines = word.iter().rev().take_while(|byte| **byte == b'\n').count();
    let (word, newlines) = word.split_at(word.len() - newlines);
    let mut out = String::new();
    if !word.is_empty() {
        out.push_str("\"$(printf '");
        for chunk in word.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '%' => out.push_str("%%"),
                    '\n' => out.push_str(r"\n"),
                    '\t' => out.push_str(r"\t"),
                    special if is_unsafe(special) || "'\"\\!$`-".contains(special) => {
                        octal(&mut out, special.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    other => out.push(other),
                }
            }
            octal(&mut out, chunk.invalid());
        }
        out.push_str("')\"");
    }
    if !newlines.is_empty() {
        out.push_str(&format!("'{}'", "\n".repeat(newlines.len())));
    }
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

    /// The shells of this machine. The form of the words must not depend on one of them.
    fn shells() -> Vec<&'static str> {
        let is_there = |shell: &&str| Command::new(shell).args(["-c", ":"]).output().is_ok();
        let all: Vec<_> = ["sh", "dash", "bash", "zsh", "ksh", "mksh"].into_iter().filter(is_there).collect();
        assert!(all.contains(&"sh"), "{all:?}");
        all
    }

    /// Every shell reads back the exact bytes of all words, from both forms.
    fn arrive(words: &[Vec<u8>]) {
        let words: Vec<&OsStr> = words.iter().map(|word| OsStr::from_bytes(word)).collect();
        let wanted: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        let forms: [fn(&OsStr) -> String; 2] = [|word| quote(word), |word| quote_on_one_line(word)];
        for form in forms {
            let quoted: Vec<String> = words.iter().map(|word| form(word)).collect();
            let is_safe = |character| character == '\n' || !is_unsafe(character);
            assert!(quoted.iter().all(|quoted| quoted.chars().all(is_safe)), "{quoted:?}");
            let script = format!("printf '%s\\0' {}", quoted.join(" "));
            for shell in shells() {
                let read = Command::new(shell).args(["-c", &script]).output().expect("a shell").stdout;
                for (read, wanted) in read.split(|byte| *byte == 0).zip(wanted.split(|byte| *byte == 0)) {
                    assert_eq!(OsStr::from_bytes(read), OsStr::from_bytes(wanted), "{shell}");
                }
                assert_eq!(read, wanted, "{shell}: {script}");
            }
        }
    }

    #[test]
    fn a_word_is_quoted_only_if_necessary() {
        assert_eq!(quote("/usr/bin/env"), "/usr/bin/env");
        assert_eq!(quote("--map=0:1000"), "--map=0:1000");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote_on_one_line("a\nb"), r#""$(printf 'a\nb')""#);
        assert_eq!(quote_on_one_line("a\n\n"), "\"$(printf 'a')\"'\n\n'");
        assert_eq!(quote("数据"), "'数据'");
        assert_eq!(quote("\u{1b}[2J"), r#""$(printf '\033[2J')""#);
        assert_eq!(quote(OsStr::from_bytes(b"\xff1")), r#""$(printf '\3771')""#);
        assert_eq!(quote("-n\t100%'"), r#""$(printf '\055n\t100%%\047')""#);
    }

    #[test]
    fn shells_read_back_the_quoted_word() {
        let words = [
            "", " ", "'", "''", "it's", "\"", "\\", "\\n", "$HOME", "$(id)", "`id`", "~", "*", "a?b", "[a]",
            "{a,b}", "a;b", "a&b", "a|b", "<x>", "#", "!", "!!", "a\nb", "\n", "x\n'", "é", "数据", "-n",
            "%s", "a=b", "a\n", "\n\n\n", "\na\n\n",
        ];
        let mut all = Vec::new();
        for word in words {
            all.push(word.as_bytes().to_vec());
            // The same beside a character that must be escaped: before, after, and on both sides.
            for hostile in ["\u{1b}", "\u{7f}", "\t", "\u{9b}", "\u{202e}"] {
                all.push(format!("{hostile}{word}").into_bytes());
                all.push(format!("{word}{hostile}").into_bytes());
                all.push(format!("{word}{hostile}{word}").into_bytes());
            }
            all.push([word.as_bytes(), b"\xff"].concat());
            all.push([b"\x81\x88", word.as_bytes()].concat());
        }
        arrive(&all);
    }

    #[test]
    fn every_shell_reads_back_every_byte() {
        let mut all: Vec<u8> = (1..=255).collect();
        all.extend(b"\x011\t'\\ \xc2\x85\n");
        let reversed = all.iter().rev().copied().collect();
        let single = (1..=255).map(|byte| vec![byte]);
        arrive(&single.chain([all, reversed]).collect::<Vec<_>>());
    }
}
