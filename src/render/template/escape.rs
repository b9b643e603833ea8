//! The functions of templates that write a text for another language: HTML, JavaScript, the query of a URL.

/// A text in HTML.
pub(super) fn html(text: &str) -> String {
    let each = |character: char| match character {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        '\0' => "\u{fffd}".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(each).collect()
}

/// A text in a string of JavaScript.
pub(super) fn js(text: &str) -> String {
    let each = |character: char| match character {
        '\\' | '\'' | '"' => format!("\\{character}"),
        '<' | '>' | '&' | '=' => format!("\\u{:04X}", u32::from(character)),
        control if control.is_control() => format!("\\u{:04X}", u32::from(control)),
        other => other.to_string(),
    };
    text.chars().map(each).collect()
}

/// A text in the query of a URL.
pub(super) fn urlquery(text: &str) -> String {
    let each = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        plain if plain.is_ascii_alphanumeric() || b"-_.~".contains(&plain) => char::from(plain).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(each).collect()
}
