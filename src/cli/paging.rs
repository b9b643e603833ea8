//! Pages for a terminal, and where they end.

use crate::render::paint;

/// Divides lines into pages of at most `height` rows, on a terminal of `width` columns. A page ends before a line that
/// `begins` a block, so a block is only divided if it is longer than a page. No page begins with an empty line.
pub(super) fn pages<L: AsRef<str>>(
    lines: &[L],
    height: usize,
    width: usize,
    begins: impl Fn(&str) -> bool,
) -> Vec<&[L]> {
    let rows = |lines: &[L]| -> usize {
        // A line that is longer than the terminal takes several rows.
        lines.iter().map(|line| paint::columns(line.as_ref()).div_ceil(width).max(1)).sum()
    };
    let (mut pages, mut rest) = (Vec::new(), lines);
    while rows(rest) > height {
        let most = (1..=rest.len()).take_while(|count| rows(&rest[..*count]) <= height).last().unwrap_or(1);
        let starts = |at: &usize| begins(rest[*at].as_ref());
        let last = (1..=most.min(rest.len() - 1)).rev().find(starts);
        // A block that is longer than a page begins on a page with other lines, unless that is nearly full.
        let fits = |at: &usize| {
            let next = (at + 1..rest.len()).find(starts).unwrap_or(rest.len());
            rows(&rest[*at..next]) <= height || *at > height / 3
        };
        let (page, after) = rest.split_at(last.filter(fits).unwrap_or(most));
        pages.push(page);
        let skipped = after.iter().take_while(|line| line.as_ref().is_empty()).count();
        rest = &after[skipped..];
    }
    pages.push(rest);
    pages
}

#[cfg(test)]
mod tests {
    use super::pages;

    /// The lengths of the pages of blocks with these lengths. An empty line is before each block but the first.
    fn lengths(blocks: &[usize], height: usize) -> Vec<usize> {
        let blocks = blocks.iter().map(|length| vec!["x"; *length].join("\n"));
        let text = blocks.collect::<Vec<_>>().join("\n\n");
        let lines: Vec<&str> = text.lines().collect();
        let pages = pages(&lines, height, 80, str::is_empty);
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
            pages(&lines, height, 80, str::is_empty).iter().map(|page| page.len()).collect::<Vec<_>>()
        };
        assert_eq!(
            (lengths(6), lengths(5), lengths(4), lengths(3)),
            (vec![5], vec![3, 1], vec![3, 1], vec![2, 3])
        );
        assert_eq!(lengths(1), [1, 1, 1, 1]);
    }

    #[test]
    fn a_longer_block_is_divided() {
        assert_eq!(lengths(&[2, 45], 20), [20, 20, 8]);
        assert_eq!(lengths(&[12, 45], 20), [12, 20, 20, 5]);
    }
}
