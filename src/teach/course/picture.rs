//! A picture of a lesson: an SVG file in the directory `pictures` of the pack. A text names it by Markdown's own syntax,
//! `![TEXT](../pictures/NAME.svg "CAPTION")`. A terminal prints the text. A page has the picture inline, so a picture may
//! have only shapes and texts: nothing that runs, and nothing that is loaded.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use roxmltree::{Document, Node};

use super::text::mistake;
use crate::error::Mistake;
use crate::text::text_with;

/// How the path of a picture begins, seen from the text of a lesson.
const DIRECTORY: &str = "../pictures/";

/// The namespace of SVG.
const NAMESPACE: &str = "http://www.w3.org/2000/svg";

/// The maximum depth of a picture.
const DEPTH: usize = 32;

/// The elements of a picture.
const ELEMENTS: &[&str] = &[
    "svg", "g", "defs", "marker", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text",
    "tspan",
];

/// The attributes of elements. Others are left out.
const ATTRIBUTES: &[&str] = &[
    "class",
    "color",
    "cx",
    "cy",
    "d",
    "dominant-baseline",
    "dx",
    "dy",
    "fill",
    "fill-opacity",
    "fill-rule",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "height",
    "id",
    "letter-spacing",
    "marker-end",
    "marker-mid",
    "marker-start",
    "markerHeight",
    "markerUnits",
    "markerWidth",
    "opacity",
    "orient",
    "paint-order",
    "points",
    "r",
    "refX",
    "refY",
    "rx",
    "ry",
    "stroke",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-miterlimit",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
    "textLength",
    "transform",
    "vector-effect",
    "viewBox",
    "visibility",
    "width",
    "word-spacing",
    "writing-mode",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// An element of a picture. The first one is `svg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its name: `rect`.
    pub name: &'static str,
    /// Its attributes: the name and the value.
    pub attributes: Vec<(&'static str, String)>,
    /// What is in it.
    pub parts: Vec<ShapePart>,
}

/// What is in an element of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShapePart {
    /// Another element.
    Shape(Shape),
    /// Text.
    Text(String),
}

impl Shape {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a picture. `file` is its name in the mistakes.
///
/// # Errors
/// All mistakes: it is not XML, or it has an element or a reference that is not allowed.
pub fn read(content: &str, file: &str) -> Result<Shape, Vec<Mistake>> {
    let document = Document::parse(content).map_err(|error| {
        let what = text_with("lesson.lint.picture.xml", &[("why", &error.to_string())]);
        vec![mistake(content, file, error.pos().row as usize, what)]
    })?;
    let mut reader = PictureReader { content, file, document: &document, mistakes: Vec::new() };
    let root = document.root_element();
    let picture = reader.shape(root, 0).filter(|shape| shape.name == "svg");
    let has_size = picture.as_ref().is_some_and(|shape| shape.attribute("viewBox").is_some());
    match picture {
        Some(picture) if reader.mistakes.is_empty() && has_size => Ok(picture),
        _ => {
            if reader.mistakes.is_empty() {
                reader.wrong(root, "lesson.lint.picture.root", &[]);
            }
            Err(reader.mistakes)
        }
    }
}

struct PictureReader<'a> {
    content: &'a str,
    file: &'a str,
    document: &'a Document<'a>,
    mistakes: Vec<Mistake>,
}

impl PictureReader<'_> {
    fn wrong(&mut self, node: Node<'_, '_>, key: &str, values: &[(&str, &str)]) {
        let line = self.document.text_pos_at(node.range().start).row as usize;
        self.mistakes.push(mistake(self.content, self.file, line, text_with(key, values)));
    }

    fn shape(&mut self, node: Node<'_, '_>, depth: usize) -> Option<Shape> {
        let found = node.tag_name().name();
        let Some(name) = ELEMENTS.iter().copied().find(|known| *known == found) else {
            let values = [("name", found), ("all", &*ELEMENTS.join(", "))];
            self.wrong(node, "lesson.lint.picture.element", &values);
            return None;
        };
        if depth > DEPTH {
            self.wrong(node, "lesson.lint.picture.deep", &[("depth", &DEPTH.to_string())]);
            return None;
        }
        let mut shape = Shape { name, attributes: Vec::new(), parts: Vec::new() };
        for attribute in node.attributes().filter(|attribute| attribute.namespace().is_none()) {
            // The drawing programs write attributes as declarations of a style.
            if attribute.name() == "style" {
                for (name, value) in attribute.value().split(';').filter_map(|part| part.split_once(':')) {
                    self.attribute(node, &mut shape, name.trim(), value.trim());
                }
            } else {
                self.attribute(node, &mut shape, attribute.name(), attribute.value());
            }
        }
        for child in node.children() {
            if child.is_text() {
                shape.parts.extend(child.text().map(|text| ShapePart::Text(text.to_owned())));
            } else if child.is_element() && is_drawn(child) {
                shape.parts.extend(self.shape(child, depth + 1).map(ShapePart::Shape));
            }
        }
        Some(shape)
    }

    fn attribute(&mut self, node: Node<'_, '_>, shape: &mut Shape, name: &str, value: &str) {
        let Some(name) = ATTRIBUTES.iter().copied().find(|known| *known == name) else { return };
        if !is_harmless(name, value) {
            let values = [("name", name), ("value", value)];
            return self.wrong(node, "lesson.lint.picture.value", &values);
        }
        shape.attributes.retain(|(known, _)| *known != name);
        shape.attributes.push((name, value.to_owned()));
    }
}

/// Whether an element is a part of the picture. The title and the description of a page come from the text of the lesson,
/// and elements of other namespaces are notes of drawing programs.
fn is_drawn(node: Node<'_, '_>) -> bool {
    let name = node.tag_name();
    name.namespace().is_none_or(|namespace| namespace == NAMESPACE)
        && !["title", "desc", "metadata"].contains(&name.name())
}

/// Whether a value loads nothing: a function may occur only in `transform`, and a reference only to an element of the
/// same file. A backslash could hide a function.
fn is_harmless(name: &str, value: &str) -> bool {
    let is_plain = |value: &str| !value.contains(['(', ')', '\\', '<', '@']);
    let reference = value.strip_prefix("url(#").and_then(|rest| rest.strip_suffix(')'));
    match name {
        "transform" => !value.to_ascii_lowercase().contains("url") && !value.contains(['\\', '<', '@', '#']),
        _ => reference.map_or_else(|| is_plain(value), is_plain),
    }
}

/// A picture that a text names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedPicture {
    /// The line on which it begins; 0 is the first one of the text.
    pub line: usize,
    /// The path in the text.
    pub path: String,
    /// Its caption.
    pub caption: String,
    /// Its text equivalent.
    pub text: String,
    /// Whether it is a paragraph of its own.
    pub is_alone: bool,
}

impl NamedPicture {
    /// The name of the file in the directory `pictures`.
    pub fn file(&self) -> Option<&str> {
        file(&self.path)
    }
}

/// The name of the file in the directory `pictures` that a path in a text leads to.
pub fn file(path: &str) -> Option<&str> {
    path.strip_prefix(DIRECTORY).filter(|name| !name.contains('/'))
}

/// The pictures that a text names, in their order.
pub fn named_in(markdown: &str) -> Vec<NamedPicture> {
    let mut found: Vec<NamedPicture> = Vec::new();
    // Most texts have none, and reading Markdown takes time.
    if !markdown.contains("![") {
        return found;
    }
    // Whether a paragraph has just begun, and how many pictures are open.
    let (mut is_first, mut open) = (false, 0);
    let mut events = Parser::new_ext(markdown, Options::ENABLE_TABLES).into_offset_iter().peekable();
    while let Some((event, range)) = events.next() {
        match &event {
            Event::Start(Tag::Image { dest_url, title, .. }) => {
                open += 1;
                found.push(NamedPicture {
                    line: markdown[..range.start].matches('\n').count(),
                    path: dest_url.to_string(),
                    caption: title.to_string(),
                    text: String::new(),
                    is_alone: is_first,
                });
            }
            Event::End(TagEnd::Image) => {
                open -= 1;
                let is_last = matches!(events.peek(), Some((Event::End(TagEnd::Paragraph), _)));
                if let Some(picture) = found.last_mut() {
                    picture.is_alone &= is_last;
                }
            }
            Event::Text(text) | Event::Code(text) if open > 0 => {
                if let Some(picture) = found.last_mut() {
                    picture.text.push_str(text);
                }
            }
            _ => {}
        }
        is_first = matches!(event, Event::Start(Tag::Paragraph));
    }
    found
}
