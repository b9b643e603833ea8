//! What a terminal shows after the characters that were written to it.

use unicode_width::UnicodeWidthChar;

/// The rows that are on the screen after this output, without colours. It knows the escape sequences that `sandbox` uses, and
/// panics at any other. Each line feed begins a new row; a carriage return comes only before a sequence that clears the row.
pub fn rows(output: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut row, mut rest) = (vec![String::new()], 0, output);
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\n' => {
                row += 1;
                rows.resize(rows.len().max(row + 1), String::new());
            }
            '\r' => {}
            '\x1b' => {
                let end = rest.find(char::is_alphabetic).expect("the end of a sequence");
                let (sequence, after) = rest.split_at(end + 1);
                rest = after;
                match sequence.split_at(end) {
                    ("[" | "[2", "K") => rows[row].clear(),
                    ("[", "J") => {
                        rows.truncate(row + 1);
                        rows[row].clear();
                    }
                    (up, "A") => row -= up[1..].parse::<usize>().expect("a number of rows"),
                    (_, "m") => {}
                    _ => panic!("{sequence:?} is not known"),
                }
            }
            _ => {
                let width: usize = rows[row].chars().filter_map(UnicodeWidthChar::width).sum();
                // A line that is too long goes on in the next row.
                if width + first.width().unwrap_or(0) > columns {
                    row += 1;
                    rows.resize(rows.len().max(row + 1), String::new());
                }
                rows[row].push(first);
            }
        }
    }
    rows
}
