//! A picture inside a page: inline SVG with a text equivalent.

use crate::render::svg::escape;
use crate::teach::course::picture::{Shape, ShapePart};

/// The attributes of an element that name another element of the picture, or itself.
const NAMES: [&str; 7] = ["id", "marker-start", "marker-mid", "marker-end", "fill", "stroke", "clip-path"];

/// A picture with its caption. `number` makes the names in it differ from those of other pictures of the page.
pub(super) fn figure(shape: &Shape, number: usize, caption: &str, description: &str) -> String {
    let mut inner = String::new();
    shape.parts.iter().for_each(|part| write(&mut inner, part, number));
    let attributes = attributes(shape, number);
    drawn(&format!("<svg{attributes}"), &inner, number, caption, description)
}

/// A figure of an SVG element: `start` is its tag without the end.
pub(super) fn drawn(start: &str, inner: &str, number: usize, caption: &str, description: &str) -> String {
    let (caption, description) = (escape(caption), escape(description));
    format!(
        "<figure>\n{start} role=\"img\" aria-labelledby=\"p{number}-title p{number}-desc\">\n\
         <title id=\"p{number}-title\">{caption}</title>\n<desc id=\"p{number}-desc\">{description}</desc>{inner}</svg>\n\
         <figcaption>{caption}</figcaption>\n</figure>\n"
    )
}

fn write(out: &mut String, part: &ShapePart, number: usize) {
    match part {
        ShapePart::Text(text) => out.push_str(&escape(text)),
        ShapePart::Shape(shape) => {
            out.push_str(&format!("<{}{}>", shape.name, attributes(shape, number)));
            shape.parts.iter().for_each(|part| write(out, part, number));
            out.push_str(&format!("</{}>", shape.name));
        }
    }
}

fn attributes(shape: &Shape, number: usize) -> String {
    let mut out = String::new();
    for (name, value) in &shape.attributes {
        let value = match (*name, value.strip_prefix("url(#")) {
            ("id", _) => format!("p{number}-{value}"),
            (name, Some(rest)) if NAMES.contains(&name) => format!("url(#p{number}-{rest}"),
            _ => value.clone(),
        };
        out.push_str(&format!(" {name}=\"{}\"", escape(&value)));
    }
    out
}
