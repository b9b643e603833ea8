//! Compares the answer to a prediction with what is measured.

use super::advice::text_with;

/// How numbers are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum NumberBase {
    /// With the digits 0 to 9.
    Ten,
    /// With the digits 0 to 9 and a to f.
    Sixteen,
}

/// Whether two answers are the same, apart from how they are written.
pub(super) fn is_same(answer: &str, other: &str, base: NumberBase) -> bool {
    plain(answer, base) == plain(other, base)
}

/// An answer without what does not matter: blanks and what separates the items of a list, the case of letters, the wide
/// characters of a Chinese keyboard, zeros before and after a number.
fn plain(answer: &str, base: NumberBase) -> String {
    words(answer).iter().map(|word| plain_number(word, base)).collect::<Vec<_>>().join(" ")
}

/// The items of an answer, in small letters.
fn words(answer: &str) -> Vec<String> {
    let separates = |character: char| character.is_whitespace() || ",;、".contains(character);
    let narrow: String = answer.chars().map(narrow).collect();
    narrow.split(separates).filter(|word| !word.is_empty()).map(|word| bare(word).to_lowercase()).collect()
}

/// A word without what a sentence has around it: quotes on both sides, and what ends a sentence. What has nothing else
/// stays as it is.
fn bare(word: &str) -> &str {
    let is_quote = |character: char| "'\"`‘’“”「」『』".contains(character);
    let ends = |character: char| is_quote(character) || ".。!?:".contains(character);
    let found = word.trim_start_matches(is_quote).trim_end_matches(ends);
    if found.is_empty() { word } else { found }
}

/// The ASCII character of a wide one (U+FF01 to U+FF5E). Any other character as it is.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        _ => character,
    }
}

fn plain_number(word: &str, base: NumberBase) -> String {
    let digits = match base {
        NumberBase::Ten => {
            word.split_once('.').filter(|(_, after)| is_zeros(after)).map_or(word, |(all, _)| all)
        }
        NumberBase::Sixteen => word.strip_prefix("0x").unwrap_or(word),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| is_digit(byte, base)) {
        return word.to_owned();
    }
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        number => number.to_owned(),
    }
}

fn is_zeros(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte == b'0')
}

fn is_digit(byte: u8, base: NumberBase) -> bool {
    match base {
        NumberBase::Ten => byte.is_ascii_digit(),
        NumberBase::Sixteen => byte.is_ascii_hexdigit(),
    }
}

/// Why an answer cannot be right: numbers are measured, and it has something else. The sentence is no Markdown.
pub(super) fn not_a_number(answer: &str, measured: &str, base: NumberBase) -> Option<String> {
    let measured = words(measured);
    let is_number = |word: &String| word.bytes().all(|byte| is_digit(byte, base));
    // A number in another base is a wrong answer, not a slip of the keyboard.
    let may_be = |word: &String| {
        let has_digit = word.bytes().any(|byte| is_digit(byte, base));
        has_digit && word.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-+.x".contains(&byte))
    };
    let given = words(answer);
    if !measured.iter().all(is_number) || (!given.is_empty() && given.iter().all(may_be)) {
        return None;
    }
    let values = [("answer", answer), ("count", &*measured.len().to_string())];
    Some(text_with(
        if measured.len() == 1 { "lesson.answer.number" } else { "lesson.answer.numbers" },
        &values,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_an_answer_is_written_does_not_matter() {
        let same = |answer, measured| is_same(answer, measured, NumberBase::Ten);
        for list in
            ["4 11", "4, 11", "4,11", " 4;  11 ", "4，11", "4、11", "４，１１", "4；11", "04 11", "4.0, 11"]
        {
            assert!(same(list, "4 11"), "{list}");
        }
        for list in ["4 11.", "'4' '11'", "\"4, 11\"", "4, 11!", "「4、11」", "４，１１。", "`4` 11"]
        {
            assert!(same(list, "4 11"), "{list}");
        }
        assert!(same("m.", "m") && same("'m'", "m") && same("“RWM”?", "rwm") && same("6.", "6"));
        assert!(same(".", ".") && !same(".5", "5") && !same("/a/b", "a/b") && !same("-m", "m"));
        assert!(same("two-6ts, ONE-sta, one-sta", "two-6ts one-sta one-sta") && same("2.0", "2"));
        assert!(same("0", "0") && same("-", "-") && same("0.50", "0.50"));
        for other in ["411", "11 4", "4", "4 11 0", "4.5 11", "0x4 11", "-4 11"] {
            assert!(!same(other, "4 11"), "{other}");
        }
        for mask in ["1000000", "0x1000000", "0000000001000000", "0X1000000", "1000000"] {
            assert!(is_same(mask, "1000000", NumberBase::Sixteen), "{mask}");
        }
        assert!(
            is_same("1F", "0x1f", NumberBase::Sixteen) && !is_same("1000001", "1000000", NumberBase::Sixteen)
        );
    }

    #[test]
    fn a_word_is_no_number() {
        let is_slip = |answer, measured, base| not_a_number(answer, measured, base).is_some();
        for word in ["six", "abc", "x", "4 x", "-", ","] {
            assert!(is_slip(word, "4", NumberBase::Ten), "{word}");
        }
        for number in ["5", "-5", "5, 6", "1f", "0x10", "５", "2.5"] {
            assert!(!is_slip(number, "4", NumberBase::Ten), "{number}");
        }
        assert!(!is_slip("ff", "1f", NumberBase::Sixteen) && is_slip("six", "1f", NumberBase::Sixteen));
        assert!(!is_slip("six", "rwm", NumberBase::Ten));
    }
}
