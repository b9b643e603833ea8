//! Markdown as HTML. A pack can come from anyone, so its text never becomes markup: HTML in it is shown as text, and a
//! link leads only to a page.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::Writer;
use crate::render::svg::escape;
use crate::teach::course::picture;
use crate::text::{gap, text, text_with};

impl Writer<'_> {
    /// A Markdown text as HTML.
    pub(super) fn html(&mut self, markdown: &str) -> String {
        let source: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
        let mut events: Vec<Event<'_>> = Vec::new();
        // Whether each open link is kept.
        let mut links: Vec<bool> = Vec::new();
        let mut at = 0;
        while let Some(event) = source.get(at) {
            at += 1;
            if let Event::Start(Tag::Paragraph) = event
                && let Some((figure, end)) = self.picture_at(&source, at)
            {
                events.push(Event::Html(figure.into()));
                self.pictures += 1;
                at = end;
                continue;
            }
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let words = match kind {
                        CodeBlockKind::Fenced(words) => words.as_ref(),
                        CodeBlockKind::Indented => "",
                    };
                    let end = end_of(&source, at, |event| matches!(event, Event::End(TagEnd::CodeBlock)));
                    let code = plain(&source[at..end]);
                    events.push(Event::Html(block(words, &code).into()));
                    at = end + 1;
                }
                // A picture inside a paragraph, which is refused when a pack is read: its text.
                Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {}
                Event::Start(Tag::Link { dest_url, .. }) => {
                    links.push(is_page(dest_url));
                    events.extend(is_page(dest_url).then(|| event.clone()));
                }
                Event::End(TagEnd::Link) => {
                    events.extend(links.pop().unwrap_or(false).then(|| event.clone()));
                }
                Event::Start(Tag::Heading { level, .. }) => {
                    let level = self.next_level(*level as usize);
                    let tag = Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() };
                    events.push(Event::Start(tag));
                }
                Event::End(TagEnd::Heading(_)) => {
                    let level = HeadingLevel::try_from(self.level).unwrap_or(HeadingLevel::H6);
                    events.push(Event::End(TagEnd::Heading(level)));
                }
                Event::Html(markup) | Event::InlineHtml(markup) => events.push(Event::Text(markup.clone())),
                Event::Start(Tag::HtmlBlock) => events.push(Event::Start(Tag::Paragraph)),
                Event::End(TagEnd::HtmlBlock) => events.push(Event::End(TagEnd::Paragraph)),
                Event::Start(Tag::Table(_)) => {
                    events.push(Event::Html("<div class=\"wide\">".into()));
                    events.push(event.clone());
                }
                Event::End(TagEnd::Table) => {
                    events.push(event.clone());
                    events.push(Event::Html("</div>\n".into()));
                }
                Event::SoftBreak if gap(before(&source[..at - 1]), after(&source[at..])).is_empty() => {}
                event => events.push(event.clone()),
            }
        }
        let mut out = String::new();
        html::push_html(&mut out, events.into_iter());
        out
    }

    /// The level of a heading: below the title of the page, and at most one below the heading before it.
    fn next_level(&mut self, level: usize) -> HeadingLevel {
        self.level = level.clamp(2, self.level + 1);
        HeadingLevel::try_from(self.level).unwrap_or(HeadingLevel::H6)
    }

    /// The picture that is the whole paragraph, and the place after the paragraph.
    fn picture_at(&self, source: &[Event<'_>], at: usize) -> Option<(String, usize)> {
        let Event::Start(Tag::Image { dest_url, title, .. }) = source.get(at)? else { return None };
        let end = end_of(source, at + 1, |event| matches!(event, Event::End(TagEnd::Image)));
        let Event::End(TagEnd::Paragraph) = source.get(end + 1)? else { return None };
        let shape = self.edition.pack.pictures.get(picture::file(dest_url)?)?;
        let figure = super::picture::figure(shape, self.pictures, title, &plain(&source[at + 1..end]));
        Some((figure, end + 2))
    }
}

/// The place of the first event that ends a part.
pub(super) fn end_of(source: &[Event<'_>], from: usize, is_end: impl Fn(&Event<'_>) -> bool) -> usize {
    source[from..].iter().position(is_end).map_or(source.len().saturating_sub(1), |place| from + place)
}

/// The text of events, without its marks.
pub(super) fn plain(events: &[Event<'_>]) -> String {
    let mut out = String::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Text(text) | Event::Code(text) => out.push_str(text),
            Event::SoftBreak if gap(before(&events[..at]), after(&events[at + 1..])).is_empty() => {}
            Event::SoftBreak | Event::HardBreak => out.push(' '),
            _ => {}
        }
    }
    out
}

/// The last character before a line break, if it is text.
fn before(events: &[Event<'_>]) -> Option<char> {
    match events.iter().rev().find(|event| !matches!(event, Event::Start(_) | Event::End(_)))? {
        Event::Text(text) => text.chars().last(),
        _ => None,
    }
}

/// The first character after a line break, if it is text.
fn after(events: &[Event<'_>]) -> Option<char> {
    match events.iter().find(|event| !matches!(event, Event::Start(_) | Event::End(_)))? {
        Event::Text(text) => text.chars().next(),
        _ => None,
    }
}

/// Whether a link leads to a page: by http or https, or relative to this one. Other schemes can run a script.
fn is_page(address: &str) -> bool {
    let first = address.split(['/', '?', '#']).next().unwrap_or_default();
    let scheme = first.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_known = scheme.is_none_or(|scheme| ["http", "https"].contains(&scheme.as_str()));
    is_known && !address.chars().any(|character| character.is_control() || character.is_whitespace())
}

/// A code block. The commands of a console are marked apart from what they print.
pub(super) fn block(words: &str, code: &str) -> String {
    let mut words = words.split_whitespace();
    let is_console = words.next() == Some("console");
    let labels: Vec<String> = words
        .filter_map(|word| match word {
            "recorded" => Some(text("lesson.recorded")),
            "root" => Some(text("lesson.page.block.root")),
            "user" => Some(text("lesson.page.block.user")),
            word => {
                let feature = word.strip_prefix("needs=")?;
                Some(text_with("lesson.page.block.needs", &[("feature", feature)]))
            }
        })
        .collect();
    let mut out = String::new();
    if is_console && !labels.is_empty() {
        out.push_str(&format!("<p class=\"label\">{}</p>\n", escape(&labels.join(", "))));
    }
    let code = match is_console {
        true => console(code),
        false => format!("<code>{}</code>", escape(code)),
    };
    let class = if is_console { " class=\"console\"" } else { "" };
    // The code is in no language of a reader.
    out.push_str(&format!("<pre{class} lang=\"en\">{code}</pre>\n"));
    out
}

/// The lines of a console: prompts, commands and output.
fn console(code: &str) -> String {
    let mut out = String::new();
    let mut is_command = false;
    for line in code.lines() {
        let prompt = ["$ ", "> "].into_iter().find(|prompt| line.starts_with(prompt));
        match prompt.filter(|prompt| *prompt == "$ " || is_command) {
            Some(prompt) => {
                is_command = true;
                let (prompt, command) = (escape(prompt), escape(&line[prompt.len()..]));
                out.push_str(&format!(
                    "<span class=\"prompt\">{prompt}</span><kbd class=\"command\">{command}</kbd>\n"
                ));
            }
            None if line.is_empty() => out.push('\n'),
            None => {
                is_command = false;
                out.push_str(&format!("<samp class=\"output\">{}</samp>\n", escape(line)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::render::page::{Edition, Writer};
    use crate::teach::course::pack::{Pack, PackHead};

    fn converted(markdown: &str) -> String {
        let head = PackHead { format: 1, name: "test".into(), title: BTreeMap::new(), parts: Vec::new() };
        let pack = Pack { head, lessons: Vec::new(), pictures: BTreeMap::new() };
        let edition =
            Edition { pack: &pack, language: "en", is_instructor: false, seed: None, is_whole: true };
        Writer::new(&edition).html(markdown)
    }

    #[test]
    fn text_of_a_pack_never_becomes_markup() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div onclick='x'>\n\ntext\n\n</div>",
            "[a](javascript:alert(1)) <javascript:alert(1)> [b](JaVaScRiPt:x) [c](data:text/html,x) [d](java&#10;script:x)",
            "![a](http://example.org/a.svg \"b\")",
            "![a](javascript:alert(1))",
            "```console \"><script>\n$ <script>\n</pre><script>\n```",
            "| <b onload=x> | b |\n|---|---|\n| <script> | c |",
            "# <svg/onload=alert(1)>",
        ] {
            let html = converted(hostile);
            for markup in [
                "<script",
                "<img",
                "<svg",
                "<b ",
                "<div o",
                "javascript:\"",
                "href=\"j",
                "href=\"J",
                "href=\"d",
            ] {
                assert!(!html.contains(markup), "{hostile}\n{html}");
            }
        }
        assert!(converted("<b>").contains("&lt;b&gt;"));
    }

    #[test]
    fn links_lead_to_pages() {
        let html =
            converted("[a](https://example.org/?a=1&b=2) [b](03-init.html#x) [c](#part-2) [d](mailto:a@b)");
        assert!(html.contains("<a href=\"https://example.org/?a=1&amp;b=2\">a</a>"), "{html}");
        assert!(html.contains("<a href=\"03-init.html#x\">b</a> <a href=\"#part-2\">c</a> d"), "{html}");
    }

    #[test]
    fn commands_and_output_of_a_console_are_apart() {
        let html = converted("```console recorded\n$ a &\n> b\n> not a command\nout\n> out\n$ c\n```");
        assert!(html.contains("<kbd class=\"command\">b</kbd>"), "{html}");
        assert!(html.contains("<samp class=\"output\">&gt; out</samp>"), "{html}");
        assert!(html.contains("<p class=\"label\">recorded on another machine</p>"), "{html}");
    }

    #[test]
    fn a_line_break_between_wide_characters_is_no_blank() {
        assert_eq!(converted("命名\n**空间** a\nb"), "<p>命名<strong>空间</strong> a\nb</p>\n");
    }

    #[test]
    fn headings_are_in_order() {
        assert_eq!(converted("# a\n#### b\n## c").matches("<h2>").count(), 2);
        assert!(converted("# a\n#### b").contains("<h3>b</h3>"));
    }
}
