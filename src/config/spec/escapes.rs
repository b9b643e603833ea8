//! Escapes in a string with double quotes. JSON writes a character above U+FFFF as two escapes, `\ud83d\ude00`, which YAML does not
//! know. The parser reports each wrong escape at the beginning of its string.

use std::borrow::Cow;

use saphyr_parser::Parser;

use super::flaw::Flaw;
use super::tree::Place;
use crate::text::text_with;

/// The maximum number of strings in which escapes are joined. In JSON, all are joined at once.
const MAX_STRINGS: usize = 64;

/// The document with one escape for each pair of surrogates. Only a string with double quotes has escapes.
pub(super) fn joined(document: &str) -> Cow<'_, str> {
    let mut joined = Cow::Borrowed(document);
    if !["\\ud", "\\uD"].iter().any(|half| document.contains(half)) {
        return joined;
    }
    if serde_json::from_str::<serde::de::IgnoredAny>(document).is_ok() {
        return Cow::Owned(in_strings(document, usize::MAX));
    }
    for _ in 0..MAX_STRINGS {
        let Some(Err(error)) = Parser::new_from_str(&joined).find(Result::is_err) else { break };
        let mark = error.marker();
        let start = offset(&joined, Place { line: mark.line(), column: mark.col(), length: 1 });
        let Some((before, string)) = start.map(|start| joined.split_at(start)) else { break };
        let string = in_strings(string, 1);
        let next = format!("{before}{string}");
        if next == *joined {
            break;
        }
        joined = Cow::Owned(next);
    }
    joined
}

/// Joins the pairs in the first `most` strings with double quotes.
fn in_strings(text: &str, most: usize) -> String {
    let (mut out, mut rest, mut count, mut is_string) = (String::new(), text, 0, false);
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match character {
            '"' => {
                count += usize::from(is_string);
                is_string = !is_string;
            }
            '\\' if is_string => {
                if let Some(pair) = pair(rest) {
                    out.push_str(&format!("\\U{pair:08X}"));
                    rest = &rest[PAIR..];
                    continue;
                }
                length += rest[1..].chars().next().map_or(0, char::len_utf8);
            }
            _ => {}
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
        if count == most {
            break;
        }
    }
    out + rest
}

/// The length of a pair of surrogates.
const PAIR: usize = 12;

/// The character of a pair of surrogates at the beginning of a text.
fn pair(text: &str) -> Option<u32> {
    let half = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (high, low) = (half(0)?, half(6)?);
    let is_pair = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    is_pair.then(|| 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

/// Where a place is in a text, in bytes.
fn offset(text: &str, place: Place) -> Option<usize> {
    let line: usize = text.split_inclusive('\n').take(place.line.checked_sub(1)?).map(str::len).sum();
    let column = text.get(line..)?.chars().take(place.column).map(char::len_utf8).sum::<usize>();
    Some(line + column)
}

/// The flaw of the first wrong escape in the string with double quotes that begins at a place.
pub(super) fn wrong(document: &str, start: Place) -> Option<Flaw> {
    let mut rest = document.get(offset(document, start)? + 1..)?;
    let mut place = Place { column: start.column + 1, ..start };
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match character {
            '"' => return None,
            '\n' => place = Place { line: place.line + 1, column: 0, ..place },
            '\\' => {
                let next = rest[1..].chars().next()?;
                let (taken, key, count) = escape(rest, next);
                if let Some(key) = key {
                    let escape = rest.chars().take(taken).collect::<String>();
                    let values = [("escape", &*escape), ("count", &count.to_string())];
                    return Some(Flaw::at(Place { length: taken, ..place }, text_with(key, &values)));
                }
                if next != '\n' {
                    length += next.len_utf8();
                    place.column += 2;
                } else {
                    place.column += 1;
                }
            }
            _ => place.column += 1,
        }
        rest = &rest[length..];
    }
    None
}

/// The number of characters of an escape, the message if it is wrong, and how many digits it needs.
fn escape(text: &str, letter: char) -> (usize, Option<&'static str>, usize) {
    let count = match letter {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        letter if "0abt\tnvfre \"/\\N_LP\n\r".contains(letter) => return (2, None, 0),
        _ => return (2, Some("spec.escape.unknown"), 0),
    };
    let digits: String = text.chars().skip(2).take(count).take_while(char::is_ascii_hexdigit).collect();
    let key = match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
        _ if digits.len() < count => Some("spec.escape.digits"),
        None => Some("spec.escape.character"),
        Some(_) => None,
    };
    (2 + digits.len(), key, count)
}

#[cfg(test)]
mod tests {
    use super::super::yaml;

    #[test]
    fn pairs_are_joined_in_strings_only() {
        for spec in [
            "{\"command\":[\"a\\ud83d\\ude00\",\"\\uD83D\\uDE00b\\\"\\\\ud83d\\\\ude00\"]}",
            "# \"\ncommand:\n- \"a\\ud83d\\ude00\"\n- \"\\uD83D\\uDE00b\\\"\\\\ud83d\\\\ude00\"\n",
        ] {
            let spec = yaml::read(spec, "f").unwrap();
            assert_eq!(spec.command, ["a\u{1f600}", "\u{1f600}b\"\\ud83d\\ude00"]);
        }
        let spec = yaml::read("command: ['\\ud83d\\ude00', \\ud83d\\ude00]\n", "f").unwrap();
        assert_eq!(spec.command, ["\\ud83d\\ude00"; 2]);
    }

    #[test]
    fn a_wrong_escape_is_named_at_its_place() {
        for (spec, place, escape) in [
            ("command: [\"a\\q\"]\n", (1, 13), "unknown escape `\\q`"),
            ("command: [\"\\x4\"]\n", (1, 12), "`\\x4` needs 2 hexadecimal digits"),
            ("command: [\"\\\"\n   b\\ud800\"]\n", (2, 5), "`\\ud800`"),
            ("command: [\"\\ude00\\ud83d\"]\n", (1, 12), "`\\ude00`"),
            ("command: [\"\\U00110000\"]\n", (1, 12), "`\\U00110000`"),
            ("{\"command\": [\"\\u12\"]}\n", (1, 15), "`\\u12` needs 4"),
        ] {
            let mistakes = yaml::read(spec, "f").expect_err(spec);
            assert!(mistakes[0].what.contains(escape), "{spec}: {mistakes:?}");
            assert_eq!((mistakes[0].line, mistakes[0].column), place, "{spec}");
        }
        // Nothing is closed here.
        let mistakes = yaml::read("command: [\"a\\\n", "f").expect_err("open");
        assert!(!mistakes[0].what.contains("escape"), "{mistakes:?}");
    }
}
