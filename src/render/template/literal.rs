//! The constants of templates, as Go writes them: strings, characters and numbers.

use serde_json::Value;

/// The string between the quotes, with its escapes read. None: one of them is wrong.
pub(super) fn string(quoted: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    while !rest.is_empty() {
        let (one, after) = character(rest, '"')?;
        match one {
            Unit::Character(character) => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
        rest = after;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The number of the character between the quotes.
pub(super) fn rune(quoted: &str) -> Option<Value> {
    let inner = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    match character(inner, '\'')? {
        (Unit::Character(character), "") => Some(u32::from(character).into()),
        (Unit::Byte(byte), "") => Some(byte.into()),
        _ => None,
    }
}

/// The character that one escape means.
enum Unit {
    Character(char),
    Byte(u8),
}

/// The first character of a text in these quotes, and what follows it.
fn character(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut characters = text.chars();
    let first = characters.next()?;
    if first != '\\' {
        return (first != '\n').then_some((Unit::Character(first), characters.as_str()));
    }
    let letter = characters.next()?;
    let rest = characters.as_str();
    let number = |text: &str, length: usize, base: u32| {
        let digits = text.get(..length).filter(|digits| digits.chars().all(|digit| digit.is_digit(base)))?;
        u32::from_str_radix(digits, base).ok()
    };
    let plain = |character: char| Some((Unit::Character(character), rest));
    match letter {
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\u{b}'),
        '\\' => plain('\\'),
        other if other == quote => plain(other),
        'x' => Some((Unit::Byte(number(rest, 2, 16)?.try_into().ok()?), &rest[2..])),
        'u' => Some((Unit::Character(char::from_u32(number(rest, 4, 16)?)?), &rest[4..])),
        'U' => Some((Unit::Character(char::from_u32(number(rest, 8, 16)?)?), &rest[8..])),
        '0'..='7' => {
            let digits = &text[1..];
            Some((Unit::Byte(number(digits, 3, 8)?.try_into().ok()?), &digits[3..]))
        }
        _ => None,
    }
}

/// A number: `42`, `-1`, `0x1f`, `0b101`, `0o17`, `017`, `1_000`, `1.5e3`.
pub(super) fn number(word: &str) -> Option<Value> {
    let (is_negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let plain = digits.replace('_', "").to_lowercase();
    let (base, whole) = match plain.get(..2) {
        Some("0x") => (16, &plain[2..]),
        Some("0b") => (2, &plain[2..]),
        Some("0o") => (8, &plain[2..]),
        _ if plain.len() > 1 && plain.starts_with('0') && !plain.contains(['.', 'e']) => (8, &plain[1..]),
        _ => (10, plain.as_str()),
    };
    if let Ok(size) = i128::from_str_radix(whole, base) {
        let number = if is_negative { -size } else { size };
        return i64::try_from(number)
            .map(Value::from)
            .or_else(|_| u64::try_from(number).map(Value::from))
            .ok();
    }
    let is_float = base == 10 && whole.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let float = whole.parse::<f64>().ok().filter(|float| is_float && float.is_finite())?;
    Some(Value::from(if is_negative { -float } else { float }))
}

/// The length of the number at the start of a text.
pub(super) fn number_length(text: &str) -> usize {
    let is_hexadecimal = text.trim_start_matches(['+', '-']).to_lowercase().starts_with("0x");
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        let is_sign = "+-".contains(character);
        let begins = at == 0 || !is_hexadecimal && "eE".contains(before);
        if !(character.is_alphanumeric() || "_.".contains(character) || is_sign && begins) {
            return at;
        }
        before = character;
    }
    text.len()
}

/// The length of a constant in quotes. `quote` is the character at its start.
pub(super) fn quoted_length(text: &str, quote: char) -> Result<usize, String> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => break,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return Ok(at + 1),
            _ => {}
        }
    }
    Err(match quote {
        '"' => "unterminated quoted string".to_owned(),
        _ => "unterminated character constant".to_owned(),
    })
}
