//! The lessons as HTML pages: one for each lesson, and one for the course. A page is complete: it loads nothing, and runs
//! no script. Learners get one edition, teachers another one with the solutions.

mod course;
mod exercise;
mod lesson;
mod markdown;
mod order;
mod picture;
mod schedule;

use crate::render::svg::escape;
use crate::teach::course::pack::{Lesson, Pack};
use crate::text::text;

/// What the pages are made from, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Edition<'a> {
    /// The lessons.
    pub pack: &'a Pack,
    /// The language.
    pub language: &'a str,
    /// Whether the pages have the solutions, the right answers and the notes for teachers.
    pub is_instructor: bool,
    /// The seed of the values of a student. Without one, values are examples.
    pub seed: Option<&'a str>,
    /// Whether there is a page for each lesson, so that pages can lead to each other.
    pub is_whole: bool,
}

/// A page: the name of its file, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The name of the file.
    pub name: String,
    /// The HTML document.
    pub content: String,
}

/// The name of the file with the page of the course.
const COURSE: &str = "index.html";

/// The seed of values that are examples.
const EXAMPLE: &str = "example";

const STYLE: &str = include_str!("style.css");

impl Edition<'_> {
    /// The page of the course, and those of all its lessons.
    pub fn pages(&self) -> Vec<Page> {
        let course = Page { name: COURSE.into(), content: course::page(self) };
        let lessons = self.pack.lessons.iter().map(|lesson| self.page(lesson));
        std::iter::once(course).chain(lessons).collect()
    }

    /// The page of one lesson.
    pub fn page(&self, lesson: &Lesson) -> Page {
        Page { name: file_name(lesson), content: lesson::page(self, lesson) }
    }

    /// The line of a page by which `lesson export` knows a page of this edition again.
    pub fn mark(&self) -> String {
        let edition = if self.is_instructor { "instructor's edition" } else { "learner's edition" };
        format!("<meta name=\"generator\" content=\"sandbox lesson export, {edition}\">")
    }

    fn seed(&self) -> &str {
        self.seed.unwrap_or(EXAMPLE)
    }

    /// A document. Its title and the text in `body` are escaped already.
    fn document(&self, title: &str, body: &str) -> String {
        let mark = self.mark();
        let class = if self.is_instructor { " class=\"instructor\"" } else { "" };
        format!(
            "<!DOCTYPE html>\n<html lang=\"{language}\"{class}>\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{mark}\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
             img-src data:\">\n<link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
            language = tag(self.language),
        )
    }
}

/// Writes the parts of one page. It knows what differs from part to part.
struct Writer<'a> {
    edition: &'a Edition<'a>,
    /// The level of the last heading.
    level: usize,
    /// How many pictures the page has.
    pictures: usize,
}

impl<'a> Writer<'a> {
    /// A page whose title is written.
    fn new(edition: &'a Edition<'a>) -> Writer<'a> {
        Writer { edition, level: 1, pictures: 0 }
    }

    /// A heading with the message of `key`.
    fn heading(&mut self, level: usize, key: &str) -> String {
        self.level = level;
        format!("<h{level}>{}</h{level}>\n", escape(&text(key)))
    }
}

/// The name of the file of a lesson. Characters with a meaning in an address are replaced.
fn file_name(lesson: &Lesson) -> String {
    let plain = |character: char| match character {
        '-' | '_' => character,
        character if character.is_alphanumeric() => character,
        _ => '-',
    };
    format!("{:02}-{}.html", lesson.number, lesson.name.chars().map(plain).collect::<String>())
}

/// The tag of a language in HTML.
fn tag(language: &str) -> &str {
    match language {
        "zh" => "zh-CN",
        other => other,
    }
}

/// A list of facts in one line. They are HTML already.
fn facts(facts: &[String]) -> String {
    let items = facts.iter().map(|fact| format!("<li>{fact}</li>"));
    format!("<ul class=\"facts\">{}</ul>\n", items.collect::<String>())
}

/// A message as text of a page.
fn message(key: &str) -> String {
    escape(&text(key))
}

#[cfg(test)]
mod tests {
    use super::STYLE;

    /// The luminance of a colour `#rrggbb`, as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    #[test]
    fn text_has_enough_contrast_in_every_scheme() {
        let schemes: Vec<Vec<(String, String)>> = STYLE
            .split(":root {")
            .skip(1)
            .map(|block| {
                let block = block.split('}').next().unwrap();
                let lines = block.split(';').filter_map(|line| line.split_once(':'));
                lines.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
            })
            .collect();
        assert_eq!(schemes.len(), 3, "light, dark, print");
        for scheme in schemes {
            let colour = |name: &str| {
                let found = scheme.iter().find(|(known, _)| known == &format!("--{name}"));
                luminance(&found.unwrap_or_else(|| panic!("{name}")).1)
            };
            for ink in ["ink", "soft", "link", "right", "wrong"] {
                for paper in ["paper", "block", "question", "exercise", "notes"] {
                    let (one, other) = (colour(ink), colour(paper));
                    let ratio = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                    assert!(ratio >= 4.5, "{ink} on {paper}: {ratio:.2}");
                }
            }
            for (ink, paper) in [
                ("ink", "outside"),
                ("ink", "inside"),
                ("ink", "kernel"),
                ("limit", "paper"),
                ("limit", "outside"),
                ("limit", "inside"),
                ("limit", "kernel"),
            ] {
                let (one, other) = (colour(ink), colour(paper));
                let ratio = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(ratio >= 4.5, "{ink} on {paper}: {ratio:.2}");
            }
        }
    }
}
