//! The width of text on a terminal. A Chinese character takes two columns, and lines may break between two of them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with blanks after it, so that it takes `width` columns. `format!` counts characters instead.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{:1$}", "", width.saturating_sub(text.width()))
}

/// The text in at most `width` columns. If it is cut, it ends in `~`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |character: &char| {
        used += columns(*character);
        used <= width
    };
    text.chars().take_while(fits).collect::<String>() + "~"
}

/// The end of the text in at most `width` columns. If it is cut, it begins with `~`.
pub(crate) fn cut_start(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = 1 + text.width();
    let exceeds = |character: &char| {
        let is_cut = left > width;
        left -= columns(*character);
        is_cut
    };
    format!("~{}", text.chars().skip_while(exceeds).collect::<String>())
}

/// Breaks a text into lines of at most `width` columns: at its blanks, or beside a wide character. A longer word stays
/// whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        for (index, part) in parts(word).into_iter().enumerate() {
            let gap = if index == 0 { " " } else { "" };
            match lines.last_mut() {
                Some(line) if line.width() + gap.len() + part.width() <= width => {
                    line.push_str(gap);
                    line.push_str(part);
                }
                _ => lines.push(part.to_owned()),
            }
        }
    }
    lines
}

/// The parts of a word that may be on different lines.
fn parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for ((_, before), (at, after)) in word.char_indices().zip(word.char_indices().skip(1)) {
        if may_break(before, after) {
            parts.push(&word[start..at]);
            start = at;
        }
    }
    parts.push(&word[start..]);
    parts
}

/// Whether a line may end between two characters: at a blank, or beside a wide character. A line does not begin with a
/// closing mark, and does not end with an opening one. (UAX #14 has these rules for all scripts. It also breaks paths
/// and flags, which a reader copies.)
pub(crate) fn may_break(before: char, after: char) -> bool {
    if before == ' ' || after == ' ' {
        return true;
    }
    (is_wide(before) || is_wide(after)) && !CLOSING.contains(after) && !OPENING.contains(before)
}

/// What separates two lines of a source that become one: a blank, but nothing between two wide characters, nor beside
/// wide punctuation.
pub(crate) fn gap(before: Option<char>, after: Option<char>) -> &'static str {
    let is_wide_mark =
        |character| is_wide(character) && (CLOSING.contains(character) || OPENING.contains(character));
    match (before, after) {
        (Some(before), Some(after)) if is_wide(before) && is_wide(after) => "",
        (Some(before), _) if is_wide_mark(before) => "",
        (_, Some(after)) if is_wide_mark(after) => "",
        _ => " ",
    }
}

/// The sentences as one text.
pub(crate) fn join(sentences: &[String]) -> String {
    let add = |mut all: String, next: &String| {
        let gap = if all.is_empty() { "" } else { gap(all.chars().last(), next.chars().next()) };
        all.push_str(gap);
        all + next
    };
    sentences.iter().fold(String::new(), add)
}

const CLOSING: &str = "，。、；：？！）】》」』”’,.;:?!)]}";
const OPENING: &str = "（【《「『“‘([{";

fn is_wide(character: char) -> bool {
    columns(character) > 1
}

fn columns(character: char) -> usize {
    character.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_and_wide_characters_may_part() {
        assert_eq!(wrap("one two  three\nfour", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("a /proc/self/ns/pid_for_children", 9), ["a", "/proc/self/ns/pid_for_children"]);
        assert_eq!(wrap("命名空间 PID 与进程", 9), ["命名空间", "PID 与进", "程"]);
        for text in ["进程的编号，和（在里面的）进程。CPU，时间", "内核（the kernel）：「外面」和「里面」！"]
        {
            for width in 6..30 {
                let lines = wrap(text, width);
                assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""), "{lines:?}");
                for line in &lines {
                    assert!(line.width() <= width.max(10), "{width} {lines:?}");
                    assert!(!line.starts_with(|mark| CLOSING.contains(mark)), "{lines:?}");
                    assert!(!line.ends_with(|mark| OPENING.contains(mark)), "{lines:?}");
                }
            }
        }
    }

    #[test]
    fn lines_of_a_source_are_joined_by_a_blank_only_where_latin_text_needs_it() {
        let gap = |before: char, after: char| gap(Some(before), Some(after));
        assert_eq!(join(&["One.".into(), "Two.".into()]), "One. Two.");
        assert_eq!(join(&["一。".into(), "CPU。".into(), "二。".into()]), "一。CPU。二。");
        assert_eq!([gap('a', 'b'), gap('程', 'b'), gap('a', '程'), gap('.', '程')], [" "; 4]);
        assert_eq!(
            [gap('进', '程'), gap('，', 'C'), gap('C', '，'), gap('）', '程'), gap('a', '（')],
            [""; 5]
        );
    }

    #[test]
    fn columns_are_counted_not_characters() {
        assert_eq!(pad("进程", 6), "进程  ");
        assert_eq!(pad("进程", 3), "进程");
        assert_eq!(
            [cut("进程 PID", 8), cut("进程 PID", 7), cut("进程", 3), cut("进程", 2)],
            ["进程 PID", "进程 P~", "进~", "~"]
        );
        assert_eq!(
            [cut_start("/a/进程", 7), cut_start("/a/进程", 6), cut_start("/a/进程", 5)],
            ["/a/进程", "~/进程", "~进程"]
        );
        assert_eq!(cut_start("/usr/bin/env", 8), "~bin/env");
    }
}
