//! A picture that is redrawn where it stands. No alternate screen and nothing hidden: whenever the run ends, however it
//! ends, the last picture stays and the terminal is as it was.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::paint::Stream;

/// More pictures than this a second nobody sees, and a slow terminal (a serial line, a distant shell) would lag behind.
const PAUSE: Duration = Duration::from_millis(100);

/// Redraws pictures in place on a terminal; draws nothing elsewhere.
///
/// The lines must fit into the terminal's width, for a line that wraps takes two, and the cursor would go up too little.
#[derive(Debug)]
pub struct Live {
    is_terminal: bool,
    stream: Stream,
    /// How many lines of ours stand above the cursor.
    drawn: usize,
    last: Option<Instant>,
}

impl Live {
    /// Nothing drawn yet. `is_terminal` is of `stream`, which is written to.
    pub fn new(is_terminal: bool, stream: Stream) -> Live {
        Live { is_terminal, stream, drawn: 0, last: None }
    }

    /// Replaces the picture, unless the one before is too fresh.
    pub fn draw(&mut self, lines: &[String]) {
        let now = Instant::now();
        if is_due(self.last, now) {
            self.last = Some(now);
            self.replace(lines);
        }
    }

    /// Draws the last picture in any case; it stays, and what comes next is drawn below it.
    pub fn finish(&mut self, lines: &[String]) {
        self.replace(lines);
        self.drawn = 0;
        self.last = None;
    }

    fn replace(&mut self, lines: &[String]) {
        if !self.is_terminal {
            return;
        }
        let text = redraw(self.drawn, lines);
        match self.stream {
            Stream::Out => super::out(&text),
            Stream::Err => super::err(&text),
        }
        self.drawn = lines.len();
    }
}

fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= PAUSE)
}

/// What draws `lines` over the `before` lines that stand above the cursor.
fn redraw(before: usize, lines: &[String]) -> String {
    let mut out = String::new();
    // "Up by 0" would go up by 1.
    if before > 0 {
        let _ = write!(out, "\x1b[{before}A");
    }
    for line in lines {
        // Cleared before it's written: after a line that fills the last column, clearing to the right takes that column.
        let _ = write!(out, "\r\x1b[2K{line}\r\n");
    }
    // Where the picture before had more lines.
    if before > lines.len() {
        out.push_str("\x1b[J");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// What a terminal shows after these characters: as much of one as is needed here.
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
    fn only_the_last_picture_stays_whatever_its_height() {
        let pictures = ["one two", "three", "four five six", "", "seven"].map(lines);
        let mut text = "before\r\n".to_owned();
        let mut drawn = 0;
        for picture in &pictures {
            text.push_str(&redraw(drawn, picture));
            drawn = picture.len();
            let expected = [lines("before"), picture.clone(), vec![String::new()]].concat();
            assert_eq!(screen(&text), expected);
        }
    }

    #[test]
    fn ten_pictures_a_second() {
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
