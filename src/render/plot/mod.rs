//! Plots in text: a picture with bars for a terminal, and a table for a pipe.

mod frame;
mod number;
mod scale;
mod table;
#[cfg(test)]
mod tests;

pub use self::frame::frame;
pub(super) use self::number::short;
pub use self::table::table;

/// The maximum number of lanes that are drawn. The others are only counted.
const LANES: usize = 5;

/// The text with `?` for every character that is not printable ASCII. Others could move the cursor, or take two
/// columns.
fn plain(text: &str) -> String {
    let is_printable = |character: char| character.is_ascii_graphic() || character == ' ';
    text.chars().map(|character| if is_printable(character) { character } else { '?' }).collect()
}
