//! Plots in text: a picture with bars, and a description in words.

mod frame;
mod number;
mod scale;
#[cfg(test)]
mod tests;
mod words;

use unicode_width::UnicodeWidthChar;

pub use self::frame::frame;
pub(super) use self::number::{short, with_unit};
pub(super) use self::words::description;
use super::paint;
use crate::teach::demo::plot::Plot;
use crate::text::wrap;

/// The maximum number of lanes that are drawn. The others are only counted.
const LANES: usize = 3;

/// A plot for a screen reader: its description, in lines of at most `width` columns.
pub fn spoken(plot: &Plot, width: usize) -> Vec<String> {
    wrap(&description(plot), width)
}

/// The text with `?` for every character that is not printable. Others could move the cursor.
fn plain(text: &str) -> String {
    let is_printable = |character: &char| character.width().is_some_and(|width| width > 0);
    text.chars().map(|character| if is_printable(&character) { character } else { '?' }).collect()
}
