//! Compares a fact with what an exercise asks for.

use super::data::Predicate;
use super::fact::FactValue;
use super::seed::{StudentValues, fill};
use crate::value::units::Size;

/// Whether a value is what it must be. `other` is the same fact of the process that the predicate names.
pub(super) fn holds(
    predicate: &Predicate,
    seen: &FactValue,
    other: Option<&FactValue>,
    values: &StudentValues,
) -> bool {
    let text = seen.text();
    let filled = |text: &String| fill(text, values);
    let compared = |expected: &String, is: fn(f64, f64) -> bool| {
        number(&text).zip(number(&filled(expected))).is_some_and(|(seen, expected)| is(seen, expected))
    };
    let can_be_read = seen.refused.is_none();
    match predicate {
        // See `Standpoint::expectation`.
        Predicate::ByVersion(_) => false,
        Predicate::Exists(wanted) => can_be_read == *wanted,
        // A reason why it cannot be read is a value of `is` only: `ENOENT`.
        Predicate::Is(expected) => text == filled(expected),
        Predicate::OneOf(all) => all.iter().any(|expected| text == filled(expected)),
        _ if !can_be_read => false,
        Predicate::IsNot(expected) => text != filled(expected),
        Predicate::Has(item) => seen.items.contains(&filled(item)),
        Predicate::HasNot(item) => !seen.items.contains(&filled(item)),
        Predicate::HasOnly(all) => {
            seen.items.iter().all(|item| all.iter().any(|known| *item == filled(known)))
        }
        Predicate::BeginsWith(start) => {
            let start = filled(start);
            seen.items.iter().any(|item| item.starts_with(&start) && is_whole(item, 0, &start))
        }
        Predicate::EndsWith(end) => {
            let end = filled(end);
            let is_end =
                |item: &String| item.strip_suffix(&*end).is_some_and(|rest| is_whole(item, rest.len(), &end));
            seen.items.iter().any(is_end)
        }
        Predicate::Contains(part) => contains(&text, &filled(part)),
        Predicate::ContainsNot(part) => !contains(&text, &filled(part)),
        Predicate::Count(count) => seen.items.len() == *count,
        Predicate::Equals(expected) => compared(expected, |seen, expected| seen == expected),
        Predicate::AtLeast(expected) => compared(expected, |seen, expected| seen >= expected),
        Predicate::AtMost(expected) => compared(expected, |seen, expected| seen <= expected),
        Predicate::SameAs(_) => {
            other.is_some_and(|other| other.refused.is_none() && other.items == seen.items)
        }
        Predicate::DiffersFrom(_) => {
            other.is_some_and(|other| other.refused.is_none() && other.items != seen.items)
        }
    }
}

/// Whether a text has another one in it. A number in it is a whole one: `1024` is not in `10240`.
fn contains(text: &str, part: &str) -> bool {
    text.match_indices(part).any(|(at, _)| is_whole(text, at, part))
}

/// Whether no digit follows a digit at either end of `part`, which is in `text` at this byte.
fn is_whole(text: &str, at: usize, part: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + part.len()..]);
    let part = part.as_bytes();
    !(is_digit(before.last()) && is_digit(part.first()) || is_digit(part.last()) && is_digit(after.first()))
}

/// The value that a message names as expected.
pub(super) fn expected(predicate: &Predicate, values: &StudentValues) -> String {
    let text = match predicate {
        Predicate::Is(text)
        | Predicate::IsNot(text)
        | Predicate::Has(text)
        | Predicate::HasNot(text)
        | Predicate::BeginsWith(text)
        | Predicate::EndsWith(text)
        | Predicate::Contains(text)
        | Predicate::ContainsNot(text)
        | Predicate::AtLeast(text)
        | Predicate::AtMost(text)
        | Predicate::Equals(text)
        | Predicate::SameAs(text)
        | Predicate::DiffersFrom(text) => text.clone(),
        Predicate::OneOf(all) | Predicate::HasOnly(all) => all.join(", "),
        Predicate::Count(count) => count.to_string(),
        Predicate::Exists(exists) => exists.to_string(),
        Predicate::ByVersion(_) => String::new(),
    };
    fill(&text, values)
}

/// How cgroup v1 writes that there is no limit of memory: the greatest number of whole pages that fits into 63 bits.
const NO_LIMIT: &str = "9223372036854771712";

/// A number, a size or `max`.
fn number(text: &str) -> Option<f64> {
    match text {
        "max" | "unlimited" | NO_LIMIT => Some(f64::INFINITY),
        // As /proc/PID/status writes sizes.
        _ if text.ends_with(" kB") => {
            text.trim_end_matches(" kB").parse().ok().map(|size: f64| size * 1024.0)
        }
        _ => text.parse::<f64>().ok().or_else(|| text.parse::<Size>().ok().map(|size| size.0 as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::hierarchy::Version;
    use crate::teach::course::cgroup::value_of;

    fn is(predicate: &str, seen: &FactValue) -> bool {
        let predicate: serde_yaml::Value = serde_yaml::from_str(predicate).unwrap();
        let predicate: Predicate = serde_yaml::with::singleton_map::deserialize(predicate).unwrap();
        let values = StudentValues::from([("mib".into(), "48".into())]);
        holds(&predicate, seen, None, &values)
    }

    #[test]
    fn predicates_compare_texts_items_and_numbers() {
        let depth = FactValue::words("4711\t2 1");
        assert!(is("{count: 3}", &depth) && !is("{count: 2}", &depth));
        assert!(is("{is: 4711 2 1}", &depth) && is("{has: '2'}", &depth) && !is("{has: '47'}", &depth));
        assert!(is("{has_not: '3'}", &depth) && is("{contains: '2 1'}", &depth));
        assert!(is("{has_only: ['1', '2', '4711', '5']}", &depth) && !is("{has_only: ['1', '2']}", &depth));
        // A number in a text is a whole one.
        assert!(!is("{contains: '47'}", &depth) && !is("{contains: '711 2'}", &depth));
        assert!(is("{contains_not: '11'}", &depth) && !is("{begins_with: '47'}", &FactValue::one("4711")));
        assert!(
            !is("{ends_with: '11'}", &FactValue::one("4711"))
                && is("{ends_with: '11'}", &FactValue::one("x11"))
        );
        let rates = FactValue::lines("8:0 rbps=max wbps=1351006 riops=max\n8:16 wbps=13510061\n");
        assert!(is("{contains: wbps=1351006}", &rates) && !is("{contains: wbps=135100}", &rates));
        let map = FactValue::lines("         0      12345          1\n");
        assert!(is("{ends_with: ' 1'}", &map) && !is("{ends_with: ' 12345'}", &map));
        assert!(is("{begins_with: '0 '}", &map) && !is("{begins_with: '12345 '}", &map));
        let limit = FactValue::lines("50331648\n");
        assert!(is("{equals: '{mib}MiB'}", &limit) && !is("{equals: 49MiB}", &limit));
        assert!(is("{at_most: max}", &limit) && !is("{at_least: max}", &limit));
        assert!(is("{at_least: max}", &FactValue::lines("max\n")));
        assert!(
            is("{at_least: 16MiB}", &FactValue::words("16384 kB"))
                && !is("{at_least: 17MiB}", &FactValue::words("16384 kB"))
        );
        assert!(!is("{equals: '1'}", &FactValue::lines("none\n")));
        // Without a limit, v1 has a number.
        assert!(is("{at_least: max}", &FactValue::lines("9223372036854771712\n")));
    }

    #[test]
    fn of_two_versions_that_of_the_machine_counts() {
        let both: serde_yaml::Value =
            serde_yaml::from_str("{by_version: {v1: {is: '30000'}, v2: {is: 30000 100000}}}").unwrap();
        let both: Predicate = serde_yaml::with::singleton_map::deserialize(both).unwrap();
        let values = StudentValues::new();
        let holds =
            |version, text: &str| holds(both.in_version(version), &FactValue::lines(text), None, &values);
        assert!(holds(Version::V1, "30000\n") && holds(Version::V2, "30000 100000\n"));
        assert!(!holds(Version::V2, "30000\n") && !holds(Version::V1, "30000 100000\n"));
    }

    #[test]
    fn a_key_is_a_whole_word() {
        let stat = "nr_periods 12\nnr_throttled 11\nthrottled_time 5\n";
        let seen = value_of(stat, "nr_throttled");
        assert!(is("{at_least: '10'}", &seen) && !is("{at_least: '12'}", &seen));
        assert!(!is("{at_least: '0'}", &value_of(stat, "nr")) && !is("{at_least: '0'}", &value_of("", "nr")));
    }

    #[test]
    fn what_cannot_be_read_is_nothing_but_its_reason() {
        let missing = FactValue::refused("ENOENT");
        for never in [
            "{count: 0}",
            "{is_not: x}",
            "{has_not: x}",
            "{has_only: [x]}",
            "{contains_not: x}",
            "{at_most: max}",
        ] {
            assert!(!is(never, &missing), "{never}");
        }
        assert!(
            is("{is: ENOENT}", &missing)
                && is("{exists: false}", &missing)
                && !is("{exists: true}", &missing)
        );
    }
}
