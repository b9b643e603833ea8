//! Pages for a terminal, and where they end.

use crate::render::paint;

/// Whether a page may end before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PageEnd {
    /// Only if no other place is left.
    Bad,
    /// A command begins with the line, in a block of commands and their output.
    Command,
    /// A block begins with the line, but it belongs to the lines before it.
    Possible,
    /// A block begins with the line.
    Good,
}

/// Divides lines into pages of at most `height` rows, on a terminal of `width` columns. `end` says how well a page can end
/// between two lines. So a block is only divided if it is longer than a page. No page begins with an empty line.
pub(super) fn pages<L: AsRef<str>>(
    lines: &[L],
    height: usize,
    width: usize,
    end: impl Fn(&str, &str) -> PageEnd,
) -> Vec<&[L]> {
    let rows = |lines: &[L]| -> usize {
        // A line that is longer than the terminal takes several rows.
        lines.iter().map(|line| paint::columns(line.as_ref()).div_ceil(width).max(1)).sum()
    };
    let (mut pages, mut rest) = (Vec::new(), lines);
    while rows(rest) > height {
        let most = (1..=rest.len()).take_while(|count| rows(&rest[..*count]) <= height).last().unwrap_or(1);
        let best = |least: PageEnd| {
            let starts = |at: &usize| end(rest[at - 1].as_ref(), rest[*at].as_ref()) >= least;
            // A block that is longer than a page begins on a page with other lines, unless that is nearly full.
            let fits = |at: &usize| {
                let from = at + rest[*at..].iter().take_while(|line| line.as_ref().is_empty()).count();
                let next = (from + 1..rest.len()).find(starts).unwrap_or(rest.len());
                from == rest.len() || rows(&rest[from..next]) <= height || *at > height / 3
            };
            (1..=most.min(rest.len() - 1)).rev().find(starts).filter(fits)
        };
        let at = best(PageEnd::Good)
            // A page must have more than a heading and a sentence. So the block below is divided between two commands.
            .or_else(|| best(PageEnd::Possible).filter(|at| *at > height / 3))
            .or_else(|| best(PageEnd::Command))
            .or_else(|| best(PageEnd::Possible))
            .unwrap_or(most);
        let (page, after) = rest.split_at(at);
        pages.push(page);
        let skipped = after.iter().take_while(|line| line.as_ref().is_empty()).count();
        rest = &after[skipped..];
    }
    pages.push(rest);
    pages
}

/// Where the pages of a text end: at an empty line. A sentence with a colon at its end belongs to the block below it.
pub(super) fn between_paragraphs(before: &str, line: &str) -> PageEnd {
    match (line.is_empty(), before.trim_end().ends_with([':', '\u{ff1a}'])) {
        (false, _) if is_command(line) => PageEnd::Command,
        (false, _) => PageEnd::Bad,
        (true, true) => PageEnd::Possible,
        (true, false) => PageEnd::Good,
    }
}

/// Whether a line of a lesson is a command with its prompt. It can be bold.
fn is_command(line: &str) -> bool {
    line.trim_start_matches("\x1b[1m").trim_start().starts_with("$ ")
}

#[cfg(test)]
mod tests {
    use super::{between_paragraphs, pages};

    /// The lengths of the pages of blocks with these lengths. An empty line is before each block but the first.
    fn lengths(blocks: &[usize], height: usize) -> Vec<usize> {
        let blocks = blocks.iter().map(|length| vec!["x"; *length].join("\n"));
        let text = blocks.collect::<Vec<_>>().join("\n\n");
        let lines: Vec<&str> = text.lines().collect();
        let pages = pages(&lines, height, 80, between_paragraphs);
        let kept = pages.iter().flat_map(|page| page.iter()).filter(|line| !line.is_empty()).count();
        assert_eq!(kept, lines.iter().filter(|line| !line.is_empty()).count());
        assert!(pages.iter().all(|page| page.first().is_none_or(|line| !line.is_empty())));
        pages.iter().map(|page| page.len()).collect()
    }

    #[test]
    fn a_page_ends_between_blocks() {
        assert_eq!(lengths(&[6; 7], 20), [20, 20, 6]);
        assert_eq!(lengths(&[20], 20), [20]);
        assert_eq!(lengths(&[], 20), [0]);
    }

    #[test]
    fn a_block_that_fits_on_a_page_is_never_divided() {
        assert_eq!(lengths(&[2, 19, 3], 20), [2, 19, 3]);
        for height in 4..30 {
            for length in 1..=height {
                let pages = lengths(&[3, length, 1, length, 2], height);
                assert!(pages.iter().all(|page| *page <= height), "{height} {length} {pages:?}");
                assert!(pages.iter().filter(|page| **page >= length).count() >= 1, "{height} {pages:?}");
            }
        }
    }

    #[test]
    fn a_line_longer_than_the_terminal_takes_rows() {
        let lines = ["x".repeat(81), "y".into(), "z".into(), String::new(), "\x1b[1mz\x1b[0m".into()];
        let lengths = |height| {
            pages(&lines, height, 80, between_paragraphs).iter().map(|page| page.len()).collect::<Vec<_>>()
        };
        assert_eq!(
            (lengths(6), lengths(5), lengths(4), lengths(3)),
            (vec![5], vec![3, 1], vec![3, 1], vec![2, 3])
        );
        assert_eq!(lengths(1), [1, 1, 1, 1]);
    }

    #[test]
    fn a_sentence_with_a_colon_stays_with_its_block() {
        let lines = ["one", "", "this is printed:", "", "$ ls", "a", "b"];
        let lengths = |height| -> Vec<usize> {
            pages(&lines, height, 80, between_paragraphs).iter().map(|page| page.len()).collect()
        };
        assert_eq!((lengths(6), lengths(5)), (vec![1, 5], vec![1, 5]));
        // Both do not fit on a page, but the block does.
        assert_eq!(lengths(4), [3, 3]);
    }

    #[test]
    fn a_longer_block_is_divided_between_two_commands() {
        let lengths = |lines: &[&str], height| -> Vec<usize> {
            pages(lines, height, 80, between_paragraphs).iter().map(|page| page.len()).collect()
        };
        let block = ["$ a", "1", "2", "   $ b", "3", "\x1b[1m   $ c\x1b[0m", "4"];
        assert_eq!(
            (lengths(&block, 6), lengths(&block, 5), lengths(&block, 3)),
            (vec![5, 2], vec![5, 2], vec![3, 2, 2])
        );
        // A sentence alone is not a page.
        let lines = [&["printed:", ""], &block[..]].concat();
        assert_eq!(lengths(&lines, 7), [7, 2]);
    }

    #[test]
    fn a_longer_block_is_divided() {
        assert_eq!(lengths(&[2, 45], 20), [20, 20, 8]);
        assert_eq!(lengths(&[12, 45], 20), [12, 20, 20, 5]);
    }
}
