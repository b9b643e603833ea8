//! The error type of the reader: a value that cannot be read, with its place.

use std::fmt;

use serde::de;

use super::instead;
use super::tree::{Node, Place};
use crate::text::{text, text_with, word};
use crate::value::nearest::nearest;

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: String,
    /// The known name that was probably meant.
    pub(super) near: Option<String>,
    pub(super) place: Option<Place>,
    /// The unknown or missing key.
    pub(super) key: Option<String>,
    /// The names that the message lists, and the message without them.
    pub(super) listed: Option<Box<(String, String)>>,
    /// Whether it is only a consequence of a skipped value. Then it is not reported.
    pub(super) is_consequence: bool,
    /// Whether later reads skip the value with this fault.
    pub(super) is_skipped: bool,
}

impl Fault {
    pub(super) fn new(what: String) -> Fault {
        Fault {
            what,
            near: None,
            place: None,
            key: None,
            listed: None,
            is_consequence: false,
            is_skipped: false,
        }
    }

    /// A name that is none of the known ones.
    pub(super) fn unknown([key, key_of_all]: [&str; 2], name: &str, known: &[&str]) -> Fault {
        let all = known.join(", ");
        let near = instead::synonym(name, known).or_else(|| nearest(name, known.iter().copied()));
        let near = near.map(str::to_owned);
        let shown = word(name);
        let short = text_with(key, &[("word", &shown)]);
        let what = match &near {
            Some(_) => short.clone(),
            None => text_with(key_of_all, &[("word", &shown), ("all", &all)]),
        };
        let listed = near.is_none().then(|| Box::new((all, short)));
        Fault { near, key: Some(name.into()), listed, ..Fault::new(what) }
    }

    pub(super) fn at(mut self, place: Place) -> Fault {
        self.place = self.place.or(Some(place));
        self
    }

    /// The fault is in a value that later reads can skip: an entry of a map, or an item of a list.
    pub(super) fn skip(mut self, value: &Node<'_>) -> Fault {
        if !self.is_skipped {
            value.is_reported.set(true);
            self.is_skipped = true;
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::new(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Fault {
        // Only the spec itself has this key.
        if expected.contains(&"rootfs")
            && let Some(instead) = instead::of_key(field)
        {
            let what = format!("{}: {instead}", text_with("spec.key.unknown", &[("word", field)]));
            // A name that is only spelled alike would contradict the form.
            let near = nearest(field, expected.iter().copied()).filter(|near| instead.contains(near));
            return Fault { key: Some(field.into()), near: near.map(str::to_owned), ..Fault::new(what) };
        }
        if field == "<<" {
            let what = text_with("spec.key.unknown", &[("word", field)]);
            return Fault {
                key: Some(field.into()),
                ..Fault::new(format!("{what}: {}", text("spec.instead.merge")))
            };
        }
        if expected.is_empty() {
            return Fault {
                key: Some(field.into()),
                ..Fault::new(text_with("spec.key.none", &[("word", &word(field))]))
            };
        }
        Fault::unknown(["spec.key.unknown", "spec.key.unknown.of"], field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Fault {
        // The variant is a value, not a key of the map around it.
        Fault { key: None, ..Fault::unknown(["spec.choice", "spec.choice.of"], variant, expected) }
    }

    fn missing_field(field: &'static str) -> Fault {
        Fault { key: Some(field.into()), ..Fault::new(text_with("spec.key.missing", &[("word", field)])) }
    }

    fn invalid_type(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Fault {
        let found = match found {
            de::Unexpected::Unit => text("spec.is.nothing"),
            de::Unexpected::Seq => text("spec.is.many"),
            de::Unexpected::Map => text("spec.is.map"),
            de::Unexpected::Str(string) => word(string),
            de::Unexpected::Unsigned(number) => number.to_string(),
            de::Unexpected::Signed(number) => number.to_string(),
            other => other.to_string(),
        };
        Fault::new(text_with("spec.wrong", &[("wanted", &wanted.to_string()), ("found", &found)]))
    }

    fn invalid_value(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Fault {
        Fault::invalid_type(found, wanted)
    }
}
