//! Markdown on a terminal: the texts of lessons. Headings are bold, and code keeps its backticks, so nothing is said by
//! colour alone. In plain mode, for screen readers, no table is drawn.

use colored::Colorize;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use unicode_width::UnicodeWidthStr;

use super::paint;
use crate::text::{gap, may_break, text};

/// How Markdown is printed.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The width of a line, in columns.
    pub width: usize,
    /// For a screen reader: a word says what is a heading or code, and a row of a table is a sentence.
    pub is_plain: bool,
}

/// The style of a part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Usual,
    Strong,
    Code,
    Heading,
}

/// A part of a paragraph that has one style.
type Span = (String, Style);

/// The lines of a Markdown text. Lines of code are not wrapped.
pub fn lines(markdown: &str, look: Look) -> Vec<String> {
    let mut printer = Printer {
        look,
        out: Vec::new(),
        spans: Vec::new(),
        styles: Vec::new(),
        lists: Vec::new(),
        marker: None,
        is_broken: false,
        table: Vec::new(),
        links: Vec::new(),
    };
    let (mut is_code, mut code) = (false, String::new());
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Text(text) if is_code => code.push_str(&text),
            event => {
                match &event {
                    Event::Start(Tag::CodeBlock(_)) => is_code = true,
                    Event::End(TagEnd::CodeBlock) => {
                        is_code = false;
                        printer.code(&std::mem::take(&mut code));
                    }
                    _ => {}
                }
                printer.take(event);
            }
        }
    }
    printer.flush();
    while printer.out.last().is_some_and(String::is_empty) {
        printer.out.pop();
    }
    printer.out
}

struct Printer {
    look: Look,
    out: Vec<String>,
    spans: Vec<Span>,
    styles: Vec<Style>,
    /// The number of the next item of each open list; none for a list with bullets.
    lists: Vec<Option<u64>>,
    /// Whether the source has a line break here.
    is_broken: bool,
    /// The marker before the first line of an item.
    marker: Option<String>,
    table: Vec<Vec<String>>,
    /// Where the open links lead.
    links: Vec<String>,
}

impl Printer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                self.styles.push(Style::Heading);
                if self.look.is_plain {
                    self.add(&(text("lesson.plain.heading") + " "));
                }
            }
            Event::Start(Tag::Strong | Tag::Emphasis) => self.styles.push(Style::Strong),
            Event::Start(Tag::List(first)) => {
                self.flush();
                self.lists.push(first);
            }
            Event::Start(Tag::Item) => {
                let marker = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".to_owned(),
                };
                self.marker = Some(marker);
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                self.flush();
                let words = match &kind {
                    CodeBlockKind::Fenced(words) => words.as_ref(),
                    CodeBlockKind::Indented => "",
                };
                if words.split_whitespace().any(|word| word == "recorded") {
                    self.out.push(paint::faint(&format!("   ({})", text("lesson.recorded"))).to_string());
                }
                if self.look.is_plain {
                    self.out.push(text("lesson.plain.code"));
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                self.flush();
                self.styles.pop();
            }
            Event::End(TagEnd::Strong | TagEnd::Emphasis) => drop(self.styles.pop()),
            Event::End(TagEnd::Paragraph) => {
                self.flush();
                if self.lists.is_empty() {
                    self.gap();
                }
            }
            Event::End(TagEnd::Item) => self.flush(),
            Event::End(TagEnd::List(_)) => {
                self.lists.pop();
                if self.lists.is_empty() {
                    self.gap();
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                if self.look.is_plain {
                    self.out.push(text("lesson.plain.code.end"));
                }
                self.gap();
            }
            Event::Start(Tag::TableHead | Tag::TableRow) => self.table.push(Vec::new()),
            Event::End(TagEnd::TableCell) => {
                let cell: String = self.spans.drain(..).map(|(text, _)| text).collect();
                if let Some(row) = self.table.last_mut() {
                    row.push(cell);
                }
            }
            Event::End(TagEnd::Table) => {
                self.put_table();
                self.gap();
            }
            Event::Start(Tag::Link { dest_url, .. }) => self.links.push(dest_url.into_string()),
            // A terminal cannot follow a link, so its address is printed, unless it is the text itself.
            Event::End(TagEnd::Link) => {
                if let Some(link) = self.links.pop()
                    && self.spans.last().is_none_or(|(text, _)| *text != link)
                {
                    self.add(&format!(" ({link})"));
                }
            }
            // The text equivalent of a picture follows as text.
            Event::Start(Tag::Image { title, .. }) => {
                self.add(&(crate::text::text_with("lesson.picture", &[("caption", &title)]) + " "));
            }
            Event::Text(text) => self.add(&text),
            Event::Code(code) => {
                let code = format!("`{code}`");
                self.join(&code);
                self.spans.push((code, Style::Code));
            }
            Event::SoftBreak => self.is_broken = true,
            Event::HardBreak => self.flush(),
            _ => {}
        }
    }

    /// Adds text.
    fn add(&mut self, text: &str) {
        let style = self.styles.last().copied().unwrap_or(Style::Usual);
        let text = self.join(text);
        self.spans.push((text.to_owned(), style));
    }

    /// Separates the last span from the next one, where the source has a line break or a blank between them. Between
    /// wide characters, such a blank is there only because Markdown needs one beside `**`. Returns the next text without
    /// the blanks at its start.
    fn join<'a>(&mut self, next: &'a str) -> &'a str {
        let is_broken = std::mem::take(&mut self.is_broken);
        let Some((last, _)) = self.spans.last_mut() else { return next };
        let (before, after) = (last.trim_end().chars().last(), next.trim_start().chars().next());
        if before.is_none() || after.is_none() || !(is_broken || last.ends_with(' ') || next.starts_with(' '))
        {
            return next;
        }
        last.truncate(last.trim_end().len());
        self.spans.push((gap(before, after).to_owned(), Style::Usual));
        next.trim_start()
    }

    /// Adds an empty line, if the last one is not empty.
    fn gap(&mut self) {
        if self.out.last().is_some_and(|line| !line.is_empty()) {
            self.out.push(String::new());
        }
    }

    /// Writes the paragraph that was read.
    fn flush(&mut self) {
        if self.spans.is_empty() {
            return;
        }
        let spans = std::mem::take(&mut self.spans);
        let indent = "  ".repeat(self.lists.len());
        let first = self.marker.take();
        let hang = if self.lists.is_empty() { String::new() } else { indent.clone() };
        let before = match &first {
            Some(marker) => format!("{}{marker}", "  ".repeat(self.lists.len().saturating_sub(1))),
            None => hang.clone(),
        };
        let rest = " ".repeat(before.width().max(hang.width()));
        for (index, line) in wrap(&spans, self.look.width.saturating_sub(rest.width())).iter().enumerate() {
            let start = if index == 0 { &before } else { &rest };
            self.out.push(format!("{start}{}", painted(line)));
        }
    }

    fn code(&mut self, text: &str) {
        // Output is as wide as the terminal. Then there is no place for an indent.
        let width = text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
        let indent = " ".repeat(self.look.width.saturating_sub(width).min(3));
        for line in text.lines() {
            // An empty line of a block is no empty line of the text: pages may end there.
            let line = if line.is_empty() { " ".to_owned() } else { format!("{indent}{line}") };
            let is_command = ["$ ", "> "].iter().any(|prompt| line.trim_start().starts_with(prompt));
            self.out.push(if is_command { line.bold().to_string() } else { line });
        }
    }

    fn put_table(&mut self) {
        let rows = std::mem::take(&mut self.table);
        let Some((head, body)) = rows.split_first() else { return };
        if self.look.is_plain {
            for row in body {
                let cells = head.iter().zip(row).map(|(name, cell)| match name.is_empty() {
                    true => cell.clone(),
                    false => format!("{name}: {cell}"),
                });
                let text = cells.collect::<Vec<_>>().join("; ");
                let lines = wrap(&[(text, Style::Usual)], self.look.width);
                self.out.extend(lines.iter().map(|line| painted(line)));
            }
            return;
        }
        let widths = column_widths(&rows, self.look.width);
        for (index, row) in rows.iter().enumerate() {
            let style = if index == 0 { Style::Strong } else { Style::Usual };
            let cells: Vec<Vec<Vec<Span>>> =
                row.iter().zip(&widths).map(|(cell, width)| wrap(&[(cell.clone(), style)], *width)).collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for number in 0..height {
                let mut line = String::new();
                for (cell, width) in cells.iter().zip(&widths) {
                    let part = cell.get(number).map(Vec::as_slice).unwrap_or_default();
                    let used: usize = part.iter().map(|(text, _)| text.width()).sum();
                    line.push_str(&painted(part));
                    line.push_str(&" ".repeat(width.saturating_sub(used) + 2));
                }
                self.out.push(line.trim_end().to_owned());
            }
        }
    }
}

/// The width of each column of a table. If the table is wider than `width`, the widest columns become narrower, down to
/// their longest words.
fn column_widths(rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let count = rows.first().map_or(0, Vec::len);
    let widest = |of: &dyn Fn(&String) -> usize| -> Vec<usize> {
        let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
        (0..count).map(|column| cells(column).map(of).max().unwrap_or(0)).collect()
    };
    let mut widths = widest(&|cell| cell.width());
    let longest_words = widest(&|cell| {
        let words = words(&[(cell.clone(), Style::Usual)]).into_iter();
        words.map(|(word, _)| word.iter().map(|(text, _)| text.width()).sum()).max().unwrap_or(0)
    });
    let place = width.saturating_sub(2 * count.saturating_sub(1));
    while widths.iter().sum::<usize>() > place {
        let can_shrink = (0..count).filter(|column| widths[*column] > longest_words[*column]);
        let Some(column) = can_shrink.max_by_key(|column| widths[*column]) else { break };
        widths[column] -= 1;
    }
    widths
}

/// A line with its colours.
fn painted(spans: &[Span]) -> String {
    let part = |(text, style): &Span| match style {
        Style::Usual => text.clone(),
        Style::Strong | Style::Heading => paint::heading(text).to_string(),
        Style::Code => paint::outside(text).to_string(),
    };
    spans.iter().map(part).collect()
}

/// The lines of a paragraph of at most `width` columns, each with its spans. (`text::wrap` does it without styles.)
fn wrap(spans: &[Span], width: usize) -> Vec<Vec<Span>> {
    let mut lines: Vec<Vec<Span>> = Vec::new();
    let mut line: Vec<Span> = Vec::new();
    let mut used = 0;
    for (word, is_blank) in words(spans) {
        let columns: usize = word.iter().map(|(text, _)| text.width()).sum();
        if is_blank && line.is_empty() {
            continue;
        }
        if used + columns > width && !line.is_empty() && !is_blank {
            lines.push(without_end(std::mem::take(&mut line)));
            used = 0;
        }
        used += columns;
        for (text, style) in word {
            match line.last_mut() {
                Some((last, known)) if *known == style => last.push_str(&text),
                _ => line.push((text, style)),
            }
        }
    }
    lines.push(without_end(line));
    lines
}

/// A line without the blanks at its end.
fn without_end(mut line: Vec<Span>) -> Vec<Span> {
    while let Some((text, _)) = line.last_mut() {
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        line.pop();
    }
    line
}

/// The words of a paragraph, each with its spans, and whether it is a blank. A word can have more than one style. A
/// line may end between two words.
fn words(spans: &[Span]) -> Vec<(Vec<Span>, bool)> {
    let mut words: Vec<(Vec<Span>, bool)> = Vec::new();
    let mut before = ' ';
    for (text, style) in spans {
        for character in text.chars() {
            match words.last_mut().filter(|_| !may_break(before, character)) {
                Some((word, _)) => match word.last_mut() {
                    Some((last, known)) if known == style => last.push(character),
                    _ => word.push((character.to_string(), *style)),
                },
                None => words.push((vec![(character.to_string(), *style)], character == ' ')),
            }
            before = character;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(markdown: &str, width: usize, is_plain: bool) -> Vec<String> {
        lines(markdown, Look { width, is_plain }).iter().map(crate::text::printed_lines).collect()
    }

    #[test]
    fn paragraphs_lists_and_code_are_printed() {
        let text = "## A heading\n\nTwo words and `some code`, *more* text.\n\n- first item\n  continued here\n- second\n\n```console\n$ ls\na  b\n```\n";
        let lines = plain(text, 20, false);
        assert_eq!(lines[0], "A heading");
        assert_eq!(lines[1], "Two words and `some");
        assert_eq!(lines[2], "code`, more text.");
        assert!(lines.contains(&"- first item".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"  continued here".to_owned()), "{lines:#?}");
        assert_eq!(&lines[lines.len() - 2..], ["   $ ls", "   a  b"]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let lines = plain("命名空间是对一种资源的视图。进程 ID、挂载。", 20, false);
        assert!(lines.iter().all(|line| line.width() <= 20), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.starts_with('。')), "{lines:#?}");
        assert_eq!(lines.concat().replace(' ', ""), "命名空间是对一种资源的视图。进程ID、挂载。");
    }

    #[test]
    fn a_line_break_between_wide_characters_is_no_blank() {
        assert_eq!(plain("命名\n空间 a\nb", 40, false), ["命名空间 a b"]);
        assert_eq!(
            plain("**信号。** 只有 *处理* 函数 `a`，**b** c\n`d`", 60, false),
            ["信号。只有处理函数 `a`，b c `d`"]
        );
    }

    #[test]
    fn a_table_is_aligned_or_spoken() {
        let table = "| kind | what |\n|---|---|\n| pid | process IDs |\n| net | devices |\n";
        assert_eq!(plain(table, 40, false), ["kind  what", "pid   process IDs", "net   devices"]);
        let wide = "| state | what exists | how |\n|---|---|---|\n| exited | its files, with the log | its command ends |\n";
        assert_eq!(
            plain(wide, 40, false),
            [
                "state   what exists      how",
                "exited  its files, with  its command",
                "        the log          ends"
            ]
        );
        assert_eq!(plain(table, 40, true), ["kind: pid; what: process IDs", "kind: net; what: devices"]);
    }

    #[test]
    fn the_address_of_a_link_is_printed() {
        let text = "See [the page](https://example.org/a) and <https://example.org/b>.";
        assert_eq!(
            plain(text, 80, false),
            ["See the page (https://example.org/a) and https://example.org/b."]
        );
    }
}
