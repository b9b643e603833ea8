//! `printf` of templates: the verbs, flags, widths and precisions of Go.

use serde_json::Value;

use super::function::{MAX_PADDING, printed};

/// A verb, and what is between it and its `%`.
#[derive(Debug, Default)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// A text in which each verb is replaced by the next value.
pub(super) fn formatted(form: &str, values: &[Value]) -> String {
    let (mut out, mut values) = (String::new(), values.iter());
    let mut rest = form.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = rest.next_if(|next| "-+# 0".contains(*next)) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                ' ' => verb.space = true,
                _ => verb.zero = true,
            }
        }
        let mut number = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if rest.next_if_eq(&'*').is_some() {
                let value = values.next().and_then(Value::as_u64).unwrap_or_default();
                return usize::try_from(value).unwrap_or(MAX_PADDING);
            }
            let mut number = 0_usize;
            while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
                number = number.saturating_mul(10).saturating_add(digit as usize);
                rest.next();
            }
            number
        };
        verb.width = number(&mut rest).min(MAX_PADDING);
        if rest.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut rest).min(MAX_PADDING));
        }
        match rest.next() {
            Some('%') => out.push('%'),
            Some(letter) => match values.next() {
                Some(value) => out.push_str(&verb.padded(letter, value)),
                None => out.push_str(&format!("%!{letter}(MISSING)")),
            },
            None => out.push_str("%!(NOVERB)"),
        }
    }
    let extra: Vec<String> = values.map(|value| format!("{}={}", kind(value), printed(value))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// The type of a value, as Go names it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

impl Verb {
    /// The value as this verb prints it, in its width.
    fn padded(&self, letter: char, value: &Value) -> String {
        let text = self.text(letter, value);
        let missing = self.width.saturating_sub(text.chars().count());
        if self.minus {
            return text + &" ".repeat(missing);
        }
        if self.zero && value.is_number() {
            // The zeros are between the sign and the digits.
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+', ' '])));
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        " ".repeat(missing) + &text
    }

    fn text(&self, letter: char, value: &Value) -> String {
        let float = value.as_f64().unwrap_or_default();
        match (letter, value) {
            ('T', _) => kind(value).to_owned(),
            ('v', Value::String(_)) if self.sharp => format!("{:?}", printed(value)),
            ('v', Value::Number(number)) if self.plus && !number.is_f64() => self.integer(value, 10, ""),
            ('v', _) | ('t', Value::Bool(_)) | ('s', Value::Null | Value::Array(_) | Value::Object(_)) => {
                printed(value)
            }
            ('s', Value::String(text)) => self.cut(text),
            ('q', Value::String(text)) => format!("{:?}", self.cut(text)),
            ('q', Value::Array(all)) => {
                format!("[{}]", all.iter().map(|one| self.text('q', one)).collect::<Vec<_>>().join(" "))
            }
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('e', Value::Number(number)) if number.is_f64() => self.signed(float, &self.scientific(float)),
            ('f' | 'F', Value::Number(number)) if number.is_f64() => {
                self.signed(float, &format!("{:.*}", self.precision.unwrap_or(6), float.abs()))
            }
            ('g', Value::Number(number)) if number.is_f64() => self.signed(float, &float.abs().to_string()),
            ('d', Value::Number(number)) if !number.is_f64() => self.integer(value, 10, ""),
            ('b', Value::Number(number)) if !number.is_f64() => self.integer(value, 2, "0b"),
            ('o', Value::Number(number)) if !number.is_f64() => self.integer(value, 8, "0"),
            ('x', Value::Number(number)) if !number.is_f64() => self.integer(value, 16, "0x"),
            ('X', Value::Number(number)) if !number.is_f64() => self.integer(value, 16, "0x").to_uppercase(),
            ('c' | 'q' | 'U', Value::Number(number)) if !number.is_f64() => {
                let code = number.as_u64().and_then(|code| u32::try_from(code).ok());
                let character = code.and_then(char::from_u32).unwrap_or('\u{fffd}');
                match letter {
                    'U' => format!("U+{:04X}", code.unwrap_or_default()),
                    'q' => format!("{character:?}"),
                    _ => character.to_string(),
                }
            }
            _ => format!("%!{letter}({}={})", kind(value), printed(value)),
        }
    }

    /// As many characters as the precision allows.
    fn cut(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    /// The digits of a number with its sign.
    fn signed(&self, number: f64, digits: &str) -> String {
        let sign = match (number < 0.0, self.plus, self.space) {
            (true, _, _) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        format!("{sign}{digits}")
    }

    fn integer(&self, value: &Value, base: u8, prefix: &str) -> String {
        let number = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from)).unwrap_or_default();
        let size = number.unsigned_abs();
        let digits = match base {
            2 => format!("{size:b}"),
            8 => format!("{size:o}"),
            16 => format!("{size:x}"),
            _ => size.to_string(),
        };
        let digits =
            format!("{}{digits}", "0".repeat(self.precision.unwrap_or(0).saturating_sub(digits.len())));
        let prefix = if self.sharp { prefix } else { "" };
        self.signed(if number < 0 { -1.0 } else { 1.0 }, &format!("{prefix}{digits}"))
    }

    /// `1.500000e+03`: Rust writes the exponent without a sign and without a zero before it.
    fn scientific(&self, number: f64) -> String {
        let written = format!("{:.*e}", self.precision.unwrap_or(6), number.abs());
        let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}
