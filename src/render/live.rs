//! A picture that is redrawn in place. It uses no alternate screen, and does not hide the cursor. Therefore the
//! terminal stays usable however the run ends.

use std::fmt::Write;
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthChar;

use super::paint::{self, Stream};

/// The minimum time between two pictures. A slow terminal, such as a serial line, could not draw more in time.
const PAUSE: Duration = Duration::from_millis(100);

/// Redraws pictures in place on a terminal. It draws nothing if the stream is not a terminal.
///
/// What does not fit into the terminal is left out: the ends of lines, and the last lines. If a line wrapped, or the first line left
/// the screen, the cursor would not move up far enough.
#[derive(Debug)]
pub struct Live {
    is_terminal: bool,
    stream: Stream,
    /// The number of lines of the last picture, above the cursor.
    drawn: usize,
    last: Option<Instant>,
}

impl Live {
    /// Draws to `stream`. `is_terminal` says whether that is a terminal.
    pub fn new(is_terminal: bool, stream: Stream) -> Live {
        Live { is_terminal, stream, drawn: 0, last: None }
    }

    /// Replaces the picture, unless the last one is too recent.
    pub fn draw(&mut self, lines: &[String]) {
        let now = Instant::now();
        if is_due(self.last, now) {
            self.last = Some(now);
            self.replace(lines);
        }
    }

    /// Removes the picture. Later output is in its place.
    pub fn erase(&mut self) {
        self.replace(&[]);
        self.last = None;
    }

    fn replace(&mut self, lines: &[String]) {
        if !self.is_terminal || (lines.is_empty() && self.drawn == 0) {
            return;
        }
        let lines = lines.iter().map(|line| super::safe(line));
        let lines: Vec<String> = match paint::terminal() {
            Some((rows, columns)) => lines.take(rows - 1).map(|line| cut_painted(&line, columns)).collect(),
            None => lines.collect(),
        };
        let text = redraw(self.drawn, &lines);
        match self.stream {
            Stream::Out => super::out_as_is(&text),
            Stream::Err => super::err_as_is(&text),
        }
        self.drawn = lines.len();
    }
}

/// The beginning of a line that takes this number of columns. Colours take none, and end with the line.
fn cut_painted(line: &str, columns: usize) -> String {
    let (mut used, mut is_color, mut has_color) = (0, false, false);
    let mut out = String::new();
    for next in line.chars() {
        if next == '\x1b' {
            (is_color, has_color) = (true, true);
        } else if is_color {
            is_color = next != 'm';
        } else {
            used += next.width().unwrap_or(0);
            if used > columns {
                return out + if has_color { "\x1b[0m" } else { "" };
            }
        }
        out.push(next);
    }
    out
}

fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= PAUSE)
}

/// The characters that draw `lines` over the `before` lines above the cursor.
fn redraw(before: usize, lines: &[String]) -> String {
    let mut out = String::new();
    // The terminal moves up one line for a count of 0.
    if before > 0 {
        let _ = write!(out, "\x1b[{before}A");
    }
    for line in lines {
        // The row is cleared before the line is written. After a line that fills the last column, clearing to the right
        // would also clear that column.
        let _ = write!(out, "\r\x1b[2K{line}\r\n");
    }
    // The last picture had more lines: clear the rest.
    if before > lines.len() {
        out.push_str("\x1b[J");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The rows of a terminal after these characters. It knows only the escape sequences that are used here.
    fn screen(text: &str) -> Vec<String> {
        let (mut rows, mut row, mut rest) = (vec![String::new()], 0, text);
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            match first {
                '\r' => {}
                '\n' => {
                    row += 1;
                    rows.resize(rows.len().max(row + 1), String::new());
                }
                '\x1b' => {
                    let end = rest.find(char::is_alphabetic).expect("an end");
                    let (sequence, after) = rest.split_at(end + 1);
                    rest = after;
                    match sequence {
                        "[2K" => rows[row].clear(),
                        "[J" => {
                            rows.truncate(row + 1);
                            rows[row].clear();
                        }
                        _ => {
                            let up = sequence.strip_prefix('[').and_then(|up| up.strip_suffix('A'));
                            row -= up.and_then(|up| up.parse::<usize>().ok()).expect("up");
                        }
                    }
                }
                _ => rows[row].push(first),
            }
        }
        rows
    }

    #[test]
    fn a_picture_is_drawn_over_the_one_before() {
        assert_eq!(redraw(0, &lines("a b")), "\r\x1b[2Ka\r\n\r\x1b[2Kb\r\n");
        assert_eq!(redraw(2, &lines("c d")), "\x1b[2A\r\x1b[2Kc\r\n\r\x1b[2Kd\r\n");
        assert_eq!(redraw(2, &lines("e")), "\x1b[2A\r\x1b[2Ke\r\n\x1b[J");
    }

    #[test]
    fn only_the_last_picture_stays_for_any_heights() {
        let pictures = ["one two", "three", "four five six", "", "seven"].map(lines);
        let mut text = "before\r\n".to_owned();
        let mut drawn = 0;
        for picture in pictures.iter().chain([&vec![]]) {
            text.push_str(&redraw(drawn, picture));
            drawn = picture.len();
            let expected = [lines("before"), picture.clone(), vec![String::new()]].concat();
            assert_eq!(screen(&text), expected);
        }
    }

    #[test]
    fn a_line_ends_at_the_last_column() {
        assert_eq!(cut_painted("abcd", 4), "abcd");
        assert_eq!(cut_painted("abcde", 4), "abcd");
        assert_eq!(cut_painted("一二三", 5), "一二");
        assert_eq!(cut_painted("\x1b[2mabcde\x1b[0m", 4), "\x1b[2mabcd\x1b[0m");
    }

    #[test]
    fn at_most_ten_pictures_a_second() {
        let start = Instant::now();
        assert!(is_due(None, start));
        assert!(!is_due(Some(start), start + PAUSE / 2));
        assert!(is_due(Some(start), start + PAUSE));
    }

    #[test]
    fn a_pipe_gets_no_pictures() {
        let mut live = Live::new(false, Stream::Out);
        live.draw(&lines("a"));
        assert_eq!(live.drawn, 0);
    }
}
