//! A value that a reader found, and when two values are equal.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::text::printed;

/// The value that a reader found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "ValueForm", from = "ValueForm")]
pub enum Value {
    /// This text.
    Is(String),
    /// A list: `3 mounts`.
    List(Listing),
    /// A clock: `7209 s`.
    Clock(ClockReading),
    /// A count that the kernel changes at any time: `4096 bytes`.
    Counter(CounterReading),
    /// There is no value, for this reason.
    Not(String),
}

/// A list that a reader found, such as the mounts of a mount table. Two lists are equal if they have the same items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The number of items.
    pub count: usize,
    /// What the items are, in the plural: `mounts`.
    pub of: String,
    /// The items, each as one line of text.
    pub items: Vec<String>,
    /// The parts of an item that are left out, because they differ for two equal items: `mount ID`.
    pub without: Vec<String>,
    /// The namespace of the items, if it is known. An item of another namespace is another item.
    pub within: Option<String>,
}

/// The seconds of a clock when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockReading {
    /// The whole seconds that it showed.
    pub seconds: i64,
    /// How far it is ahead of CLOCK_REALTIME, in microseconds. No namespace changes CLOCK_REALTIME, so this difference
    /// is the same at every reading of one clock.
    pub ahead: i64,
}

/// A counter in a file when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterReading {
    /// What the counter showed, with its unit if it has one.
    pub text: String,
    /// The file, as its device and inode number. Two readings of one file are of one counter, even if it has changed
    /// between them.
    pub file: String,
}

/// The items that only one of two lists has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unshared {
    /// The items that only the first list has.
    pub one: Vec<String>,
    /// The items that only the second list has.
    pub other: Vec<String>,
}

/// An item after this one is only counted and hashed: a machine can have a million sockets.
const MOST: usize = 10_000;

/// Two readings of one clock differ by less than this, in microseconds: the time between the two calls of a reading.
const CLOCK_TOLERANCE: i64 = 2000;

impl Listing {
    /// A list of these items, in their order.
    pub fn new(of: &str, items: impl IntoIterator<Item = String>) -> Listing {
        let (of, items_kept, without) = (of.to_owned(), Vec::new(), Vec::new());
        let mut list = Listing { count: 0, of, items: items_kept, without, within: None };
        let mut rest = DefaultHasher::new();
        for item in items {
            list.count += 1;
            if list.count <= MOST {
                list.items.push(item);
            } else {
                rest.write(item.as_bytes());
                rest.write_u8(b'\n');
            }
        }
        if list.count > MOST {
            list.items.push(format!("({} more, hash {:016x})", list.count - MOST, rest.finish()));
        }
        list
    }

    /// A list of these items, whose order has no meaning.
    pub fn sorted(of: &str, mut items: Vec<String>) -> Listing {
        items.sort_unstable();
        Listing::new(of, items)
    }

    /// Whether the items of both lists are of different namespaces.
    fn is_elsewhere(&self, other: &Listing) -> bool {
        matches!((&self.within, &other.within), (Some(one), Some(other)) if one != other)
    }

    /// The same list, of items that do not have these parts.
    pub fn without(self, parts: &[&str]) -> Listing {
        Listing { without: parts.iter().map(|part| (*part).to_owned()).collect(), ..self }
    }
}

impl Unshared {
    /// Whether both lists have the same items.
    pub fn is_empty(&self) -> bool {
        self.one.is_empty() && self.other.is_empty()
    }

    /// The lists that are not empty, as a map with these two names.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize_as<S: Serializer>(
        &self,
        names: [&'static str; 2],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, items) in names.into_iter().zip([&self.one, &self.other]) {
            if !items.is_empty() {
                map.serialize_entry(name, items)?;
            }
        }
        map.end()
    }
}

impl Value {
    /// What only one of two lists has. None if the values are not two lists.
    pub fn unshared(&self, other: &Value) -> Option<Unshared> {
        let (Value::List(one), Value::List(other)) = (self, other) else { return None };
        let is_elsewhere = one.is_elsewhere(other);
        let only = |of: &Listing, known: &Listing| {
            let mut known: Vec<&String> = known.items.iter().collect();
            known.sort_unstable();
            // An item that occurs twice in one list and once in the other is in one list only, once.
            let mut used = vec![false; known.len()];
            let mut is_new = |item: &&String| {
                let from = known.partition_point(|known| known < item);
                let equal = known[from..].iter().take_while(|known| *known == item).count();
                match (from..from + equal).find(|at| !used[*at]) {
                    Some(at) => {
                        used[at] = true;
                        false
                    }
                    None => true,
                }
            };
            of.items.iter().filter(|item| is_elsewhere || is_new(item)).cloned().collect()
        };
        Some(Unshared { one: only(one, other), other: only(other, one) })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Is(text) | Value::Counter(CounterReading { text, .. }) => f.pad(&printed(text)),
            Value::List(Listing { count: 1, of, .. }) => f.pad(&format!(
                "1 {}",
                of.strip_suffix("es").filter(|one| one.ends_with("ss")).unwrap_or(of.trim_end_matches('s'))
            )),
            Value::List(list) => f.pad(&format!("{} {}", list.count, list.of)),
            Value::Clock(clock) => f.pad(&format!("{} s", clock.seconds)),
            Value::Not(why) => f.pad(&format!("({why})")),
        }
    }
}

/// Whether two readers found the same value; none if one of them could not read it.
pub fn equal(one: &Value, other: &Value) -> Option<bool> {
    if is_refused(one) || is_refused(other) {
        return None;
    }
    Some(match (one, other) {
        (Value::Clock(one), Value::Clock(other)) => (one.ahead - other.ahead).abs() <= CLOCK_TOLERANCE,
        (Value::Counter(one), Value::Counter(other)) => one.file == other.file || one.text == other.text,
        (Value::List(one), Value::List(other)) => one.items == other.items && !one.is_elsewhere(other),
        _ => one == other,
    })
}

/// Whether the kernel refused to show the value. Then the reason ends with an errno. A missing file is a value that
/// can be compared.
fn is_refused(value: &Value) -> bool {
    let errno = |word: &str| word.starts_with('E') && word.bytes().all(|byte| byte.is_ascii_uppercase());
    matches!(value, Value::Not(why) if why.split_whitespace().last().is_some_and(errno))
}

/// A value as JSON: `{"is": "box"}`, `{"count": [3, "mounts"], "items": [...]}`, `{"not": "EACCES"}`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ValueForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<(usize, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead_of_realtime_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not: Option<String>,
}

impl From<Value> for ValueForm {
    fn from(value: Value) -> ValueForm {
        let none = ValueForm::default();
        match value {
            Value::Is(text) => ValueForm { is: Some(text), ..none },
            Value::List(Listing { count, of, items, without, within }) => {
                ValueForm { count: Some((count, of)), items: Some(items), without, within, ..none }
            }
            Value::Clock(ClockReading { seconds, ahead }) => {
                ValueForm { is: Some(format!("{seconds} s")), ahead_of_realtime_us: Some(ahead), ..none }
            }
            Value::Counter(CounterReading { text, file }) => {
                ValueForm { is: Some(text), counter_file: Some(file), ..none }
            }
            Value::Not(why) => ValueForm { not: Some(why), ..none },
        }
    }
}

impl From<ValueForm> for Value {
    fn from(form: ValueForm) -> Value {
        let seconds = |is: &str| is.strip_suffix(" s")?.parse().ok();
        match form {
            ValueForm { count: Some((count, of)), items, without, within, .. } => {
                Value::List(Listing { count, of, items: items.unwrap_or_default(), without, within })
            }
            ValueForm { is: Some(is), ahead_of_realtime_us: Some(ahead), .. } => match seconds(&is) {
                Some(seconds) => Value::Clock(ClockReading { seconds, ahead }),
                None => Value::Is(is),
            },
            ValueForm { is: Some(text), counter_file: Some(file), .. } => {
                Value::Counter(CounterReading { text, file })
            }
            ValueForm { is: Some(is), .. } => Value::Is(is),
            ValueForm { not, .. } => Value::Not(not.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Value {
        Value::List(Listing::new("mounts", items.iter().map(|item| (*item).to_owned())))
    }

    #[test]
    fn lists_of_one_length_are_equal_only_if_their_items_are() {
        assert_eq!(equal(&list(&["a", "b"]), &list(&["a", "b"])), Some(true));
        assert_eq!(equal(&list(&["a", "b"]), &list(&["a", "c"])), Some(false));
        assert_eq!(equal(&list(&["a", "b"]), &list(&["b", "a"])), Some(false));
        let unshared = list(&["a", "b", "b", "x"]).unshared(&list(&["b", "y", "a", "z"])).unwrap();
        assert_eq!(
            (unshared.one, unshared.other),
            (vec!["b".into(), "x".into()], vec!["y".into(), "z".into()])
        );
        let sorted = |items: [&str; 2]| Listing::sorted("files", items.map(str::to_owned).to_vec());
        assert_eq!(sorted(["b", "a"]), sorted(["a", "b"]));
    }

    #[test]
    fn equal_items_of_different_namespaces_are_different() {
        let within = |namespace: Option<&str>| {
            let list = Listing::new("processes", ["1 sleep".to_owned()]);
            Value::List(Listing { within: namespace.map(str::to_owned), ..list })
        };
        let of = |one, other| equal(&within(one), &within(other));
        assert_eq!(of(Some("pid:[1]"), Some("pid:[2]")), Some(false));
        assert_eq!(of(Some("pid:[1]"), Some("pid:[1]")), Some(true));
        assert_eq!(of(Some("pid:[1]"), None), Some(true));
        let unshared = within(Some("pid:[1]")).unshared(&within(Some("pid:[2]"))).unwrap();
        assert_eq!((unshared.one.len(), unshared.other.len()), (1, 1));
    }

    #[test]
    fn a_list_beyond_the_maximum_is_still_compared() {
        let long = |last: &str| {
            let items = (0..MOST + 5).map(|index| index.to_string()).chain([last.to_owned()]);
            Value::List(Listing::new("rows", items))
        };
        assert_eq!(long("x").to_string(), format!("{} rows", MOST + 6));
        assert_eq!(equal(&long("x"), &long("x")), Some(true));
        assert_eq!(equal(&long("x"), &long("y")), Some(false));
    }

    #[test]
    fn a_clock_is_compared_by_its_offset() {
        let clock = |seconds, ahead| Value::Clock(ClockReading { seconds, ahead });
        assert_eq!(equal(&clock(100, -5_000_000), &clock(101, -5_000_100)), Some(true));
        assert_eq!(equal(&clock(100, -5_000_000), &clock(101, -4_000_000)), Some(false));
    }

    #[test]
    fn a_counter_that_ran_on_is_the_same_counter() {
        let counter =
            |text: &str, file: &str| Value::Counter(CounterReading { text: text.into(), file: file.into() });
        assert_eq!(equal(&counter("4096 bytes", "35:7"), &counter("8192 bytes", "35:7")), Some(true));
        assert_eq!(equal(&counter("4096 bytes", "35:7"), &counter("8192 bytes", "35:8")), Some(false));
        assert_eq!(equal(&counter("0 bytes", "35:7"), &counter("0 bytes", "35:8")), Some(true));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_neither_equal_nor_different() {
        let not = |why: &str| Value::Not(why.into());
        let of = |one: &str, other: &str| equal(&not(one), &not(other));
        assert_eq!(of("EACCES", "EACCES"), None);
        assert_eq!(of("no such file", "mnt: EPERM"), None);
        assert_eq!(of("no such file", "no such file"), Some(true));
        assert_eq!(of("no such file", "absent"), Some(false));
        assert_eq!(equal(&Value::Is("100".into()), &Value::Is("101".into())), Some(false));
    }

    #[test]
    fn a_value_stays_the_same_as_json() {
        let clock = Value::Clock(ClockReading { seconds: 7, ahead: -3 });
        let mounts = Value::List(Listing::new("mounts", ["a".to_owned()]).without(&["mount ID"]));
        let counter = Value::Counter(CounterReading { text: "9".into(), file: "35:7".into() });
        for value in [Value::Is("7 s".into()), list(&[]), mounts, clock, counter, Value::Not("EACCES".into())]
        {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value, "{json}");
        }
        assert_eq!(serde_json::to_string(&list(&["a"])).unwrap(), r#"{"count":[1,"mounts"],"items":["a"]}"#);
    }
}
