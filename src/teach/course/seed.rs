//! The values of a student: numbers and words that differ from those of others, so that an answer cannot be copied. They
//! depend only on the seed and on their names.

use std::collections::BTreeMap;

use super::data::{Exercise, ValueSource};
use super::pack::Lesson;

/// The values of an exercise, by name.
pub type StudentValues = BTreeMap<String, String>;

/// The values of an exercise for the student with this seed, with those of the lesson.
pub fn values(seed: &str, lesson: &Lesson, name: &str, exercise: &Exercise) -> StudentValues {
    let of = |scope: &str, sources: &BTreeMap<String, ValueSource>| {
        let value = |(name, source): (&String, &ValueSource)| {
            (name.clone(), value(number(&[seed, &lesson.name, scope, name]), source))
        };
        sources.iter().map(value).collect::<Vec<_>>()
    };
    of("", &lesson.data.values).into_iter().chain(of(name, &exercise.values)).collect()
}

/// The values of a lesson that are not of an exercise.
pub fn lesson_values(seed: &str, lesson: &Lesson) -> StudentValues {
    let value = |(name, source): (&String, &ValueSource)| {
        (name.clone(), value(number(&[seed, &lesson.name, "", name]), source))
    };
    lesson.data.values.iter().map(value).collect()
}

/// The text with each `{name}` replaced by its value.
pub fn fill(text: &str, values: &StudentValues) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// A new seed: eight letters and digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn random() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(word(u64::from_le_bytes(bytes), 8))
}

/// Whether a text is a word as [`random`] makes it.
pub fn is_random(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|letter| LETTERS.contains(&letter))
}

/// The letters and digits of a word: those that are not mistaken for each other.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

fn word(mut number: u64, length: usize) -> String {
    let count = LETTERS.len() as u64;
    let mut word = String::new();
    for _ in 0..length {
        word.push(char::from(LETTERS[usize::try_from(number % count).unwrap_or(0)]));
        number /= count;
    }
    word
}

fn value(number: u64, source: &ValueSource) -> String {
    match source {
        ValueSource::Number([first, last]) => {
            let count = last.saturating_sub(*first).saturating_add(1);
            (first + number % count).to_string()
        }
        ValueSource::Word(beginning) => format!("{beginning}-{}", word(number, 3)),
        ValueSource::Choice(all) => {
            let index = number % all.len().max(1) as u64;
            all.get(usize::try_from(index).unwrap_or(0)).cloned().unwrap_or_default()
        }
    }
}

/// A number that depends on all parts: FNV-1a, whose bits are then mixed as splitmix64 does. It stays the same in every
/// version of this program.
fn number(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_the_seed_and_stay_in_their_range() {
        let source = ValueSource::Number([100, 199]);
        let of = |seed: &str| value(number(&[seed, "pid", "three", "seconds"]), &source);
        let all: Vec<String> = (0..200).map(|seed| of(&seed.to_string())).collect();
        assert!(all.iter().all(|value| (100..200).contains(&value.parse::<u32>().unwrap())));
        let mut different = all.clone();
        different.sort();
        different.dedup();
        assert!(different.len() > 60, "{}", different.len());
        assert_eq!(of("a"), of("a"));
        assert_eq!(value(7, &ValueSource::Choice(vec!["x".into(), "y".into()])), "y");
        assert_eq!(value(0, &ValueSource::Word("box".into())), "box-aaa");
    }

    #[test]
    fn names_in_braces_are_replaced() {
        let values = StudentValues::from([("n".into(), "5".into())]);
        assert_eq!(fill("{n} of {m}, {print $1}", &values), "5 of {m}, {print $1}");
    }
}
