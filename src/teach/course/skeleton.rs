//! The skeleton of a new lesson, for authors: `sandbox lesson new`. It is complete and works, so that an author changes
//! it step by step, and `lesson lint` and `lesson test` say after each step what is still right.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::pack::{LANGUAGES, split_stem};
use super::place::unwritten;
use crate::error::{Error, Result, io_text};
use crate::text::{printed, text, text_with};

/// The text in each language.
const TEXTS: [&str; LANGUAGES.len()] =
    [include_str!("../../../lessons/skeleton/en.md"), include_str!("../../../lessons/skeleton/zh.md")];

const EXERCISES: &str = include_str!("../../../lessons/skeleton/exercises.yaml");
const PACK: &str = include_str!("../../../lessons/skeleton/pack.yaml");

/// The JSON Schemas to which the files of the skeleton refer, so that an editor completes keys.
const SCHEMAS: [(&str, &str); 2] = [
    ("lesson", include_str!("../../../docs/schema/lesson.json")),
    ("pack", include_str!("../../../docs/schema/pack.json")),
];

/// The longest name of a lesson. The list of lessons has no room for a longer one.
const MAX_NAME: usize = 24;

/// Writes the skeleton of a lesson into a pack. A directory that is new or empty becomes a pack first. No file is
/// overwritten. Returns the paths of the files that were written.
///
/// # Errors
/// The name is no name of a lesson, or another lesson has it. The directory is not a pack. A file cannot be written.
pub fn create(root: &Path, name: &str, title: Option<&str>) -> Result<Vec<PathBuf>> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins_with_letter = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !begins_with_letter || name.len() > MAX_NAME || !name.bytes().all(is_letter) {
        let values = [("name", name), ("max", &MAX_NAME.to_string())];
        return Err(Error::usage(text_with("lesson.new.name", &values)).paste("sandbox lesson new my-lesson"));
    }
    let is_new = is_new(root, name)?;
    let number = next_number(root, name)?;
    let stem = format!("{number:02}-{name}");
    let absolute = fs::canonicalize(root).or_else(|_| std::path::absolute(root)).unwrap_or_default();
    let pack = absolute.file_name().map(printed).unwrap_or_default();
    let fill = |template: &str| {
        let title = title.map_or_else(|| name.to_owned(), str::to_owned);
        let filled = template.replace("@TITLE@", &scalar(&title)).replace("@NAME@", name);
        filled.replace("@PACK@", &scalar(&pack))
    };
    let mut files = vec![(format!("exercises/{stem}.yaml"), fill(EXERCISES))];
    for (language, text) in LANGUAGES.iter().zip(TEXTS) {
        files.push((format!("{language}/{stem}.md"), fill(text)));
    }
    if is_new {
        files.push(("pack.yaml".to_owned(), fill(PACK)));
    }
    for (schema, text) in SCHEMAS {
        let file = format!("schema/{schema}.json");
        if !root.join(&file).exists() {
            files.push((file, text.to_owned()));
        }
    }
    let mut written = Vec::new();
    for (file, content) in files {
        let path = root.join(file);
        put(&path, &content).map_err(|error| unwritten(&path, error))?;
        written.push(path);
    }
    written.sort();
    Ok(written)
}

/// Writes a file that must not exist.
fn put(path: &Path, content: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(content.as_bytes())
}

/// A string of YAML in double quotes. JSON's strings are such strings too.
fn scalar(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Whether a directory does not exist yet, or is empty. A directory with other files is refused, unless it is a pack.
fn is_new(root: &Path, name: &str) -> Result<bool> {
    let path = printed(root);
    let unread = |error: &io::Error| {
        Error::failed(text_with("lesson.pack.unread", &[("path", &path)])).why(io_text(error))
    };
    let mut entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(unread(&error)),
    };
    if root.join("pack.yaml").exists() {
        return Ok(false);
    }
    match entries.next() {
        None => Ok(true),
        Some(_) => Err(Error::failed(text_with("lesson.new.nopack", &[("path", &path)]))
            .why(text("lesson.new.nopack.reason"))
            .paste(format!("sandbox lesson new {name} --pack my-pack"))),
    }
}

/// The number of the next lesson of a pack: one more than the greatest one.
fn next_number(root: &Path, name: &str) -> Result<u32> {
    let mut next = 1;
    for directory in LANGUAGES.iter().copied().chain(["exercises"]) {
        for entry in fs::read_dir(root.join(directory)).into_iter().flatten().flatten() {
            let file = entry.file_name();
            let stem = Path::new(&file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let Some((number, known)) = split_stem(stem) else { continue };
            if known == name {
                let path = printed(entry.path());
                let values = [("name", name), ("path", &*path)];
                return Err(Error::failed(text_with("lesson.new.exists", &values)));
            }
            next = next.max(number.saturating_add(1));
        }
    }
    match next {
        1..=99 => Ok(next),
        _ => Err(Error::failed(text("lesson.new.full"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teach::course::pack::Pack;

    #[test]
    fn a_new_lesson_has_no_mistake_and_the_next_number() {
        let root = tempfile::tempdir().unwrap();
        let pack = root.path().join("a \"pack\": of #1");
        let written = create(&pack, "first", Some("Title: with 'quotes' # and \"more\"")).unwrap();
        assert_eq!(written.len(), 6);
        let read = Pack::in_directory(&pack).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(read.lessons[0].text("en").front.title, "Title: with 'quotes' # and \"more\"");
        assert_eq!(read.head.name, "a \"pack\": of #1");
        fs::rename(pack.join("en/01-first.md"), pack.join("en/07-first.md")).unwrap();
        let written = create(&pack, "second", None).unwrap();
        assert!(written.contains(&pack.join("zh/08-second.md")) && written.len() == 3, "{written:?}");
    }

    #[test]
    fn nothing_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        create(root.path(), "first", None).unwrap();
        let content = || fs::read_to_string(root.path().join("en/01-first.md")).unwrap();
        let before = content();
        assert!(create(root.path(), "first", Some("Other")).unwrap_err().what.contains("first"));
        assert_eq!(content(), before);
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("notes"), "mine").unwrap();
        assert!(create(other.path(), "first", None).is_err());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
        for wrong in ["", "9", "1st", "Upper", "a/b", "..", "a b", "-a", "\u{540d}", &"a".repeat(25)] {
            assert!(create(root.path(), wrong, None).is_err(), "{wrong}");
        }
    }
}
