//! Reads a tree as a `Spec`, or reports all its faults at once.
//!
//! serde stops at its first error. So a tree with a fault is read several times. Each time, the innermost value with a
//! fault is reported, and later reads skip it, until no fault is left. The keys and types come from the structs that
//! are read, so there is no second list of them. A document without faults is read only once.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::fault::Fault;
use super::flaw::Flaw;
use super::instead;
use super::tree::{Node, NodeKind};
use crate::error::MAX_MISTAKES;
use crate::text::{text, text_with, word};

/// Reads the document as a `T`.
///
/// # Errors
/// All flaws of the document.
pub(super) fn read<'t, T: Deserialize<'t>>(root: &'t Node<'t>) -> Result<T, Vec<Flaw>> {
    let mut flaws = Vec::new();
    let mut listed = Vec::new();
    while flaws.len() < MAX_MISTAKES {
        let fault = match T::deserialize(root) {
            Ok(value) if flaws.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(fault) => fault,
        };
        if !fault.is_consequence {
            // The same names are listed once.
            let what = match fault.listed.map(|listed| *listed) {
                Some((all, short)) if listed.contains(&all) => short,
                Some((all, _)) => {
                    listed.push(all);
                    fault.what
                }
                None => fault.what,
            };
            flaws.push(Flaw { place: fault.place.unwrap_or(root.place), what, near: fault.near });
        }
        if !fault.is_skipped {
            break;
        }
    }
    Err(flaws)
}

impl Node<'_> {
    /// The value, as a message names it.
    fn found(&self) -> String {
        match &self.kind {
            _ if self.is_null() => text("spec.is.nothing"),
            // With quotes, 64 is no number, and true no boolean.
            NodeKind::Scalar { text, is_plain: false }
                if text.parse::<f64>().is_ok() || ["true", "false"].contains(&&**text) =>
            {
                text_with("spec.is.string", &[("text", text)])
            }
            NodeKind::Scalar { text, .. } => word(text),
            NodeKind::List(_) => text("spec.is.many"),
            NodeKind::Map(_) => text("spec.is.map"),
        }
    }

    /// The fault that this value has another type than the wanted one.
    fn wrong(&self, wanted: &str) -> Fault {
        Fault::new(text_with("spec.wrong", &[("wanted", wanted), ("found", &self.found())])).at(self.place)
    }

    /// The same, with what to write instead, if that is known.
    fn wrong_with(&self, wanted: &str, instead: Option<String>) -> Fault {
        let fault = self.wrong(wanted);
        let Some(instead) = instead else { return fault };
        Fault { what: format!("{}: {instead}", fault.what), ..fault }
    }

    /// The text of a plain scalar. With quotes, a scalar is always a string.
    fn plain(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, is_plain: true } => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.plain(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    fn boolean(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    fn whole(&self) -> Option<i128> {
        let number = self.plain()?;
        let (sign, digits) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
        let digits = digits.strip_prefix('+').filter(|_| sign > 0).unwrap_or(digits);
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
        let number =
            match radix.iter().find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, *radix))) {
                Some((digits, radix)) => i128::from_str_radix(digits, radix).ok(),
                // 0755 would be the octal number 493 in YAML 1.1. It is read as a string, so that neither is taken
                // silently.
                None if digits.len() > 1 && digits.starts_with('0') => None,
                None if !digits.starts_with(|first: char| first.is_ascii_digit()) => None,
                None => digits.parse::<i128>().ok(),
            };
        number.map(|number| sign * number)
    }

    /// A whole number from `least` to `most`.
    fn within<N: TryFrom<i128>>(&self, least: i128, most: i128) -> Result<N, Fault> {
        self.whole().and_then(|number| N::try_from(number).ok()).ok_or_else(|| {
            let values = [("least", &*least.to_string()), ("most", &*most.to_string())];
            let wanted = text_with("spec.wants.whole", &values);
            let digits = self.plain().filter(|plain| plain.bytes().any(|byte| byte.is_ascii_digit()));
            let reason = digits.and_then(|plain| match plain.as_bytes() {
                all if !all.iter().all(|byte| byte.is_ascii_digit() || *byte == b'_') => None,
                all if all.contains(&b'_') => Some(text("spec.number.underscore")),
                [b'0', _, ..] => Some(text("spec.number.zero")),
                _ => None,
            });
            self.wrong_with(&wanted, reason)
        })
    }

    /// Gives a fault of this map its place: that of the key, if the map has the key.
    fn with_place(&self, mut fault: Fault) -> Fault {
        if let (NodeKind::Map(entries), Some(key), None) = (&self.kind, &fault.key, fault.place) {
            match entries.iter().find(|(own, _)| own.scalar() == Some(key)) {
                // The key is there, but its value was skipped. Only therefore serde reports it as missing.
                Some((_, value)) if value.is_reported.get() => fault.is_consequence = true,
                Some((own, value)) => return fault.at(own.place).skip(value),
                None => {}
            }
        }
        fault.at(self.place)
    }
}

/// A floating-point number. In YAML, "inf" and "nan" are strings, and ".inf" is a number that no key accepts.
fn finite(number: &str) -> Option<f64> {
    number.parse().ok().filter(|number: &f64| number.is_finite())
}

macro_rules! whole_numbers {
    ($($deserialize:ident $visit:ident $number:ident),*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = self.within::<$number>($number::MIN.into(), $number::MAX.into())?;
            visitor.$visit(number).map_err(|fault: Fault| fault.at(self.place))
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match &self.kind {
            NodeKind::List(items) => visitor.visit_seq(Items(items.iter())),
            NodeKind::Map(entries) => visitor.visit_map(Entries { left: entries.iter(), value: None }),
            NodeKind::Scalar { text, .. } => match (self.boolean(), self.whole()) {
                _ if self.is_null() => visitor.visit_unit(),
                (Some(is), _) => visitor.visit_bool(is),
                (_, Some(number)) => match (u64::try_from(number), i64::try_from(number)) {
                    (Ok(number), _) => visitor.visit_u64(number),
                    (_, Ok(number)) => visitor.visit_i64(number),
                    _ => visitor.visit_str(text),
                },
                _ => match self.plain().and_then(finite) {
                    Some(number) => visitor.visit_f64(number),
                    None => visitor.visit_str(text),
                },
            },
        };
        result.map_err(|fault| self.with_place(fault))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Some(is) = self.boolean() else {
            let meant = match self.scalar().map(str::to_ascii_lowercase).as_deref() {
                Some("yes" | "on" | "y" | "true") => Some("true"),
                Some("no" | "off" | "n" | "false") => Some("false"),
                _ => None,
            };
            let wanted = if meant.is_some() { "spec.wants.truth" } else { "spec.wants.boolean" };
            return Err(Fault { near: meant.map(str::to_owned), ..self.wrong(&text(wanted)) });
        };
        visitor.visit_bool(is).map_err(|fault: Fault| fault.at(self.place))
    }

    whole_numbers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.plain().and_then(finite);
        let number = number.ok_or_else(|| self.wrong(&text("spec.wants.number")))?;
        visitor.visit_f64(number).map_err(|fault: Fault| fault.at(self.place))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // A number is accepted as a string: `command: [sleep, 10]`.
        let string = self.scalar().ok_or_else(|| self.wrong(&text("spec.wants.text")))?;
        visitor.visit_borrowed_str(string).map_err(|fault: Fault| fault.at(self.place))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            NodeKind::List(_) => self.deserialize_any(visitor),
            _ => Err(self.wrong_with(&text("spec.wants.many"), instead::of_list(self))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            NodeKind::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.wrong_with(&text("spec.wants.map"), instead::of_map(self))),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.kind {
            NodeKind::Map(_) => self.deserialize_any(visitor),
            _ => {
                let wanted = match fields {
                    [] => text("spec.wants.nothing"),
                    fields => text_with("spec.wants.keys", &[("all", &fields.join(", "))]),
                };
                Err(self.wrong_with(&wanted, instead::of_value(name, self.scalar())))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Some(name) = self.scalar().filter(|_| !self.is_null()) else {
            return Err(self.wrong(&text_with("spec.wants.choice", &[("all", &variants.join(", "))])));
        };
        visitor.visit_enum(Choice(name)).map_err(|fault| fault.at(self.place))
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct ignored_any }
}

/// The items of a list that have not been read.
struct Items<'t>(std::slice::Iter<'t, Node<'t>>);

impl<'t> SeqAccess<'t> for Items<'t> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let item = self.0.by_ref().find(|item| !item.is_reported.get());
        item.map(|item| seed.deserialize(item).map_err(|fault| item.with_place(fault).skip(item))).transpose()
    }
}

/// The entries of a map that have not been read.
struct Entries<'t> {
    left: std::slice::Iter<'t, (Node<'t>, Node<'t>)>,
    value: Option<&'t Node<'t>>,
}

impl<'t> MapAccess<'t> for Entries<'t> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let entry = self.left.by_ref().find(|(_, value)| !value.is_reported.get());
        self.value = entry.map(|(_, value)| value);
        entry
            .map(|(key, value)| seed.deserialize(key).map_err(|fault| fault.at(key.place).skip(value)))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value without a key"))?;
        seed.deserialize(value).map_err(|fault| value.with_place(fault).skip(value))
    }
}

/// The name of a variant of an enum.
struct Choice<'t>(&'t str);

impl Choice<'_> {
    /// The fault of a variant that needs values.
    fn alone(&self) -> Fault {
        Fault::new(text_with("spec.choice.alone", &[("word", self.0)]))
    }
}

impl<'t> EnumAccess<'t> for Choice<'t> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'t>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        Ok((seed.deserialize(StrDeserializer::new(self.0))?, self))
    }
}

impl<'t> VariantAccess<'t> for Choice<'t> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'t>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(StrDeserializer::new(self.0))
    }

    fn tuple_variant<V: Visitor<'t>>(self, _: usize, _: V) -> Result<V::Value, Fault> {
        Err(self.alone())
    }

    fn struct_variant<V: Visitor<'t>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Fault> {
        Err(self.alone())
    }
}
