//! A small reader of HTML documents, for tests: tags are balanced and in their places, names are unique, and nothing is
//! loaded or run.

use std::collections::BTreeSet;

/// Elements without content.
const VOID: [&str; 5] = ["meta", "link", "br", "hr", "img"];

/// Elements that may not be in a paragraph, a heading or a line of code.
const BLOCKS: [&str; 21] = [
    "p",
    "div",
    "section",
    "pre",
    "ul",
    "ol",
    "table",
    "figure",
    "blockquote",
    "details",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "main",
    "footer",
    "nav",
    "form",
];

/// Elements that may contain only text and its marks.
const PHRASES: [&str; 13] =
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "code", "kbd", "samp", "figcaption", "a"];

/// A document that was read.
#[derive(Debug, Default)]
pub struct Document {
    /// How many pictures it has.
    pub pictures: usize,
    ids: BTreeSet<String>,
    links: Vec<String>,
    /// What other elements refer to by `url(#...)` and `aria-labelledby`.
    references: Vec<String>,
    heading: u32,
}

impl Document {
    /// Reads a document.
    pub fn read(page: &str) -> Result<Document, String> {
        let rest = page.strip_prefix("<!DOCTYPE html>\n").ok_or("no document type")?;
        let mut document = Document::default();
        let mut open: Vec<String> = Vec::new();
        let mut parts = rest.split('<');
        if !parts.next().unwrap_or_default().trim().is_empty() {
            return Err("text before the first element".into());
        }
        for part in parts {
            let (tag, text) = part.split_once('>').ok_or_else(|| format!("no end of the tag <{part}"))?;
            if let Some(name) = tag.strip_prefix('/') {
                let expected = open.pop();
                if expected.as_deref() != Some(name) {
                    return Err(format!("</{name}> closes {expected:?}"));
                }
            } else {
                let name = tag.split_whitespace().next().unwrap_or_default().trim_end_matches('/').to_owned();
                let inside = open.iter().find(|outer| PHRASES.contains(&outer.as_str()));
                if let Some(inside) = inside.filter(|_| BLOCKS.contains(&name.as_str())) {
                    return Err(format!("<{name}> in <{inside}>"));
                }
                document.element(&name, tag, &open)?;
                if !VOID.contains(&name.as_str()) && !tag.ends_with('/') {
                    open.push(name);
                }
            }
            if open.last().is_some_and(|name| name == "style") {
                let is_harmless = ["@import", "url(", "expression"].iter().all(|word| !text.contains(word));
                is_harmless.then_some(()).ok_or("the style loads something")?;
            } else {
                entities(text)?;
            }
        }
        if !open.is_empty() {
            return Err(format!("not closed: {open:?}"));
        }
        let missing = document.references.iter().find(|name| !document.ids.contains(*name));
        match missing {
            Some(name) => Err(format!("nothing has the name {name}")),
            None => Ok(document),
        }
    }

    /// Checks that each link leads to a part of this page, or to one of these pages.
    pub fn check_links(&self, pages: &[&str]) -> Result<(), String> {
        for link in &self.links {
            let leads = match link.strip_prefix('#') {
                Some(name) => self.ids.contains(name),
                None => link.starts_with("https://") || pages.contains(&link.as_str()),
            };
            leads.then_some(()).ok_or_else(|| format!("a link leads nowhere: {link}"))?;
        }
        Ok(())
    }

    fn element(&mut self, name: &str, tag: &str, open: &[String]) -> Result<(), String> {
        if ["script", "iframe", "object", "embed", "img", "image", "use", "form", "base", "audio", "video"]
            .contains(&name)
        {
            return Err(format!("<{name}>"));
        }
        let attributes = attributes(&tag[name.len()..])?;
        for (attribute, value) in &attributes {
            if attribute.starts_with("on")
                || ["src", "style", "srcset", "xlink:href"].contains(&attribute.as_str())
            {
                return Err(format!("<{tag}> has {attribute}"));
            }
            match (attribute.as_str(), value.strip_prefix("url(#").and_then(|rest| rest.strip_suffix(')'))) {
                ("id", _) if !self.ids.insert(value.clone()) => {
                    return Err(format!("two elements are called {value}"));
                }
                ("aria-labelledby", _) => self.references.extend(value.split(' ').map(str::to_owned)),
                (_, Some(reference)) => self.references.push(reference.to_owned()),
                _ if value.contains("url(") => return Err(format!("<{tag}>")),
                ("href", _) if name == "a" => self.links.push(value.clone()),
                ("href", _) if value != "data:," => return Err(format!("<{tag}> loads something")),
                _ => {}
            }
        }
        let has = |name: &str| attributes.iter().any(|(known, _)| known == name);
        match name {
            "svg" => {
                self.pictures += 1;
                let is_named = has("role") && has("aria-labelledby") && has("viewBox");
                is_named.then_some(()).ok_or("a picture without a name")?;
            }
            "title" | "desc" if open.last().is_some_and(|outer| outer == "svg") => {
                has("id").then_some(()).ok_or("the title of a picture has no name")?;
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = name[1..].parse::<u32>().unwrap();
                if level > self.heading + 1 || (level == 1) != (self.heading == 0) {
                    return Err(format!("<{name}> after a heading of level {}", self.heading));
                }
                self.heading = level;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The attributes of a tag. Each value has quotes.
fn attributes(mut rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start().trim_start_matches('/');
        if rest.is_empty() {
            return Ok(found);
        }
        let (name, after) =
            rest.split_once("=\"").ok_or_else(|| format!("an attribute without a value: {rest}"))?;
        let (value, after) = after.split_once('"').ok_or_else(|| format!("no end of a value: {rest}"))?;
        if name.contains([' ', '<', '>', '\'', '"']) || found.iter().any(|(known, _)| known == name) {
            return Err(format!("the attribute {name}"));
        }
        entities(value)?;
        found.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
}

/// Each `&` of a text begins a reference.
fn entities(text: &str) -> Result<(), String> {
    let known = ["amp;", "lt;", "gt;", "quot;", "#x27;"];
    for part in text.split('&').skip(1) {
        known
            .iter()
            .any(|name| part.starts_with(name))
            .then_some(())
            .ok_or_else(|| format!("a bare & in {text}"))?;
    }
    if text.contains('>') { Err(format!("a bare > in {text}")) } else { Ok(()) }
}
