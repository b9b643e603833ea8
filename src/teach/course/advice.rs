//! The messages of the course. The command lines in them name the same directories as the learner's own command line:
//! without `--dir`, the advised command would read another progress.

use std::path::Path;
use std::sync::OnceLock;

use unicode_width::UnicodeWidthStr;

use crate::value::shell::quote;

/// What follows [`LESSON`] and [`DOCTOR`] in an advised command line.
#[derive(Debug, Default)]
struct Places {
    pack: String,
    directory: String,
}

/// The width of a terminal, in columns.
const WIDTH: usize = 80;

const LESSON: &str = "sandbox lesson";
const DOCTOR: &str = "sandbox doctor --lessons";

static PLACES: OnceLock<Places> = OnceLock::new();

/// The directories of `--pack` and `--dir`, for all advised command lines. The first call counts.
pub fn keep_places(pack: Option<&Path>, directory: Option<&Path>) {
    let flag = |name: &str, path: Option<&Path>| {
        path.map_or_else(String::new, |path| format!(" {name} {}", quote(path)))
    };
    let _ = PLACES.set(Places { pack: flag("--pack", pack), directory: flag("--dir", directory) });
}

/// The text, with the directories in each command line of the course. A command line that has no room behind its sentence
/// is on the next line.
pub fn advised(text: String) -> String {
    let Some(Places { pack, directory }) = PLACES.get() else { return text };
    if pack.is_empty() && directory.is_empty() {
        return text;
    }
    let full =
        text.replace(LESSON, &[LESSON, pack, directory].concat()).replace(DOCTOR, &[DOCTOR, pack].concat());
    let is_wide = |line: &str| line.width() > WIDTH;
    // Four blanks separate two sentences with a command each.
    let full = if full.lines().any(is_wide) { full.replace("    ", "\n") } else { full };
    let broken = full.lines().map(|line| match line.split_once(LESSON) {
        Some((sentence, rest)) if is_wide(line) && !sentence.trim().is_empty() => {
            format!("{}\n   {LESSON}{rest}", sentence.trim_end())
        }
        _ => line.to_owned(),
    });
    broken.collect::<Vec<_>>().join("\n")
}

/// The message of a key, as [`crate::text::text`] gives it.
pub(crate) fn text(key: &str) -> String {
    advised(crate::text::text(key))
}

/// The message of a key with its values, as [`crate::text::text_with`] gives it.
pub(crate) fn text_with(key: &str, values: &[(&str, &str)]) -> String {
    advised(crate::text::text_with(key, values))
}
