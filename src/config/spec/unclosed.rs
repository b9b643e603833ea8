//! A bracket or a quote that is not closed. The parser reports such a mistake far behind it, often at the end of the
//! document, or as another mistake in the next line.

use super::escapes;
use super::flaw::Flaw;
use super::tree::Place;
use crate::text::text_with;

/// The flaw that explains a syntax error better than the parser, if there is one. `place` and `error` are the parser's.
pub(super) fn instead_of(place: Place, document: &str, error: &str) -> Option<Flaw> {
    let at =
        document.lines().nth(place.line.saturating_sub(1)).and_then(|line| line.chars().nth(place.column));
    if at == Some('"')
        && error.contains("quoted scalar")
        && let Some(flaw) = escapes::wrong(document, place)
    {
        return Some(flaw);
    }
    if let Some(quote @ ('"' | '\'')) = at
        && error.contains("quoted scalar")
        && !error.contains("trailing")
    {
        return Some(Flaw::at(place, text_with("spec.unclosed.quote", &[("quote", &quote.to_string())])));
    }
    // At the end of the document, the parser does not name the place of this error.
    let is_at_end = error.contains("did not find expected node content");
    let of_brackets = ["flow", "illegal placement", "invalid indentation"];
    if !is_at_end && !of_brackets.iter().any(|of_brackets| error.contains(of_brackets)) {
        return None;
    }
    let open = last_open(document)?;
    let is_before = is_at_end || (open.place.line, open.place.column) < (place.line, place.column);
    let (bracket, other) = (open.bracket.to_string(), open.closing().to_string());
    let values = [("bracket", bracket.as_str()), ("other", &other)];
    is_before.then(|| match open.wrong {
        None => Flaw::at(open.place, text_with("spec.unclosed", &values)),
        Some((wrong, found)) => {
            let (line, column) = (open.place.line.to_string(), (open.place.column + 1).to_string());
            let found = found.to_string();
            let more = [("found", &*found), ("line", &line), ("column", &column)];
            Flaw::at(wrong, text_with("spec.unclosed.wrong", &[&values[..], &more].concat()))
        }
    })
}

/// A bracket that is open at the end of the document, or at a bracket that does not fit.
struct Open {
    bracket: char,
    place: Place,
    wrong: Option<(Place, char)>,
}

impl Open {
    fn closing(&self) -> char {
        if self.bracket == '[' { ']' } else { '}' }
    }
}

/// The innermost bracket of a list or map that is not closed. A bracket in a string or a comment is none.
fn last_open(document: &str) -> Option<Open> {
    let mut open: Vec<Open> = Vec::new();
    for (index, text) in document.lines().enumerate() {
        let mut quote = None;
        // The last character that is not a blank, and whether a blank follows it.
        let (mut before, mut is_apart) = (None, true);
        let mut characters = text.chars().enumerate();
        while let Some((column, character)) = characters.next() {
            // A value begins here: at the beginning of the line, after `- ` or `: `, or inside brackets after each mark.
            let begins = match before {
                None => true,
                Some('-' | ':' | '?') => is_apart,
                Some('[' | '{' | ',') => !open.is_empty(),
                Some(_) => false,
            };
            let place = Place { line: index + 1, column, length: 1 };
            match (quote, character) {
                (Some('"'), '\\') => drop(characters.next()),
                (Some(open), end) if open == end => quote = None,
                (Some(_), _) => {}
                (None, '#') if is_apart => break,
                (None, '"' | '\'') if begins => quote = Some(character),
                (None, '[' | '{') if begins => open.push(Open { bracket: character, place, wrong: None }),
                (None, ']' | '}') => {
                    if let Some(last) = open.pop()
                        && last.closing() != character
                    {
                        return Some(Open { wrong: Some((place, character)), ..last });
                    }
                }
                _ => {}
            }
            is_apart = character.is_whitespace();
            before = if is_apart { before } else { Some(character) };
        }
    }
    open.pop()
}

#[cfg(test)]
mod tests {
    use super::super::yaml;

    /// The place and the message of the first mistake.
    fn mistake(spec: &str) -> String {
        let mistakes = yaml::read(spec, "f").expect_err(spec);
        format!("{}:{} {}", mistakes[0].line, mistakes[0].column, mistakes[0].what)
    }

    /// Of this kind: each bracket and each quote; alone, in another one, in the last line; with strings, comments and other
    /// brackets between; the wrong closing bracket.
    #[test]
    fn the_place_is_that_of_the_opening() {
        let list = "`[` is not closed: the closing `]` is missing";
        let map = "`{` is not closed: the closing `}` is missing";
        for (spec, place, what) in [
            ("command: [sh\npid:\n", "1:10", list),
            ("command: [sh\n", "1:10", list),
            ("command: [sh", "1:10", list),
            ("uts:\ncommand: [sh, [a, b]\n", "2:10", list),
            ("pid: { init: true\nnet:\n", "1:6", map),
            ("net:\npid: {init: true\n", "2:6", map),
            ("command: [\"]\", ']', \"\\\"]\" # ]\nnet:\n", "1:10", list),
            ("command: [it's]\npid: {init: true\nuts: {hostname: box}\nnet:\n", "2:6", map),
            ("mnt: { mounts: [{ type: tmpfs, target: /a }]\nnet:\n", "1:6", map),
            (
                "net: { publish: [\"80:80\" }\n",
                "1:26",
                "found `}`, but the `[` in line 1, column 17 needs `]`",
            ),
            ("pid: { init: true ]\n", "1:19", "found `]`, but the `{` in line 1, column 6 needs `}`"),
            ("command: \"sh\npid:\n", "1:10", "`\"` is not closed in this line"),
            ("command: 'sh\npid:\n", "1:10", "`'` is not closed in this line"),
            ("command: [a, \"b]\n", "1:14", "`\"` is not closed in this line"),
        ] {
            assert_eq!(mistake(spec), format!("{place} {what}"), "{spec}");
        }
    }

    #[test]
    fn other_mistakes_stay_where_they_are() {
        for (spec, place) in [
            ("a: b: c\n", "1:5"),
            ("pid:\n  init: true\n mount_proc: true\n", "3:2"),
            ("name: \"a\" b\n", "1:11"),
            ("command: |\nfoo\n", "2:1"),
            ("command: [a]\nfoo", "2:1"),
            ("pid:\n\tinit: true\n", "2:2"),
        ] {
            assert!(mistake(spec).starts_with(&format!("{place} ")), "{spec}: {}", mistake(spec));
        }
    }
}
