//! The messages of the course. The command lines in them name the same directories as the learner's own command line:
//! without `--dir`, the advised command would read another progress.

use std::path::Path;
use std::sync::OnceLock;

use crate::value::shell::quote;

/// What follows [`LESSON`] and [`DOCTOR`] in an advised command line.
#[derive(Debug, Default)]
struct Places {
    pack: String,
    directory: String,
}

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

/// The text, with the directories in each command line of the course.
pub fn advised(text: String) -> String {
    match PLACES.get() {
        Some(Places { pack, directory }) if !(pack.is_empty() && directory.is_empty()) => text
            .replace(LESSON, &[LESSON, pack, directory].concat())
            .replace(DOCTOR, &[DOCTOR, pack].concat()),
        _ => text,
    }
}

/// The message of a key, as [`crate::text::text`] gives it.
pub(crate) fn text(key: &str) -> String {
    advised(crate::text::text(key))
}

/// The message of a key with its values, as [`crate::text::text_with`] gives it.
pub(crate) fn text_with(key: &str, values: &[(&str, &str)]) -> String {
    advised(crate::text::text_with(key, values))
}
