//! A pack of lessons: the one that is compiled in, or a directory of the same layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::data::LessonData;
use super::picture::{self, Shape};
use super::text::{self, LessonText};
use super::{lint, shipped};
use crate::config::spec::yaml;
use crate::error::{Error, Mistake, Result, io_text};
use crate::text::{Language, printed, text as message, text_with};

/// The languages of lessons. The first one is the default.
pub const LANGUAGES: [&str; 2] = [Language::ALL[0].code(), Language::ALL[1].code()];

/// The directory of the pictures.
const PICTURES: &str = "pictures";

/// The maximum size of a file of a pack, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// The file `pack.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackHead {
    /// The version of the format: 1.
    #[schemars(extend("const" = 1))]
    pub format: u32,
    /// The name of the pack.
    pub name: String,
    /// Its title in each language.
    pub title: BTreeMap<String, String>,
    /// The parts of the course, in their order.
    #[serde(default)]
    pub parts: Vec<Part>,
}

/// A part of a course: the lessons from its first one to the first one of the next part.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The name of its first lesson.
    pub first: String,
    /// Its title in each language.
    pub title: BTreeMap<String, String>,
}

/// A title in this language; in English where there is none.
fn in_language<'a>(titles: &'a BTreeMap<String, String>, language: &str) -> Option<&'a str> {
    let found = titles.get(language).or_else(|| titles.get(LANGUAGES[0])).or_else(|| titles.values().next());
    found.map(String::as_str)
}

/// A pack that was read.
#[derive(Debug, Clone)]
pub struct Pack {
    /// What `pack.yaml` has.
    pub head: PackHead,
    /// The lessons, in their order.
    pub lessons: Vec<Lesson>,
    /// The pictures, by the names of their files.
    pub pictures: BTreeMap<String, Shape>,
}

/// A lesson in all its languages.
#[derive(Debug, Clone)]
pub struct Lesson {
    /// Its name without the number: `pid`.
    pub name: String,
    /// Its number: 2.
    pub number: u32,
    /// The name of its pack. None: the pack that is compiled in.
    pub pack: Option<String>,
    /// The text in each language.
    pub texts: BTreeMap<String, LessonText>,
    /// The data, which all languages share.
    pub data: LessonData,
    /// The files of its exercises, by `EXERCISE/FILE`.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Lesson {
    /// By which name the learner's progress and files are kept: lessons of two packs can have one name.
    pub fn key(&self) -> String {
        match &self.pack {
            Some(pack) => format!("{}{}", prefix(pack), self.name),
            None => self.name.clone(),
        }
    }

    /// The text in this language; in English where there is none.
    pub fn text(&self, language: &str) -> &LessonText {
        // A lesson without any text is refused when the pack is read.
        self.texts.get(language).or_else(|| self.texts.values().next()).expect("a lesson has a text")
    }

    /// The number of an exercise: that of the lesson, and its place in it.
    pub fn number_of(&self, exercise: &str) -> String {
        let mut exercises = self.text("en").exercises();
        let place = exercises.position(|known| known.name == exercise).unwrap_or(0);
        format!("{}.{}", self.number, place + 1)
    }

    /// The language of the text that [`Lesson::text`] returns.
    pub fn language<'a>(&'a self, language: &'a str) -> &'a str {
        match self.texts.contains_key(language) {
            true => language,
            false => self.texts.keys().next().map_or(language, String::as_str),
        }
    }
}

impl Pack {
    /// The title in this language; in English where there is none.
    pub fn title(&self, language: &str) -> &str {
        in_language(&self.head.title, language).unwrap_or(&self.head.name)
    }

    /// The title of the part that begins with this lesson.
    pub fn part(&self, lesson: &Lesson, language: &str) -> Option<&str> {
        let part = self.head.parts.iter().find(|part| part.first == lesson.name)?;
        in_language(&part.title, language)
    }

    /// The lesson whose progress has this key.
    pub fn lesson_of(&self, key: &str) -> Option<&Lesson> {
        self.lessons.iter().find(|lesson| lesson.key() == key)
    }

    /// Whether progress of this key is about a lesson of this pack, or about one that it has had.
    pub fn has_key(&self, key: &str) -> bool {
        match named(&self.head) {
            Some(pack) => key.starts_with(&prefix(&pack)),
            None => !key.contains('/'),
        }
    }

    /// The lesson of this name, or of this number.
    pub fn lesson(&self, name: &str) -> Option<&Lesson> {
        // The name of its file is `06-uts`.
        let is_it = |lesson: &&Lesson| {
            let number = lesson.number.to_string();
            lesson.name == name || number == name || format!("{number:0>2}-{}", lesson.name) == name
        };
        self.lessons.iter().find(is_it)
    }

    /// The pack that is compiled in. The tests lint it, so that no command has to.
    ///
    /// # Errors
    /// A file cannot be read as what it is.
    pub fn shipped() -> Result<Pack> {
        PackFiles::shipped().read(false)
    }

    /// The pack in this directory, or the one that is compiled in, without any mistake that [`lint`] finds.
    ///
    /// # Errors
    /// As [`Pack::in_directory`].
    pub fn linted(root: Option<&Path>) -> Result<Pack> {
        root.map_or_else(|| PackFiles::shipped().read(true), Pack::in_directory)
    }

    /// The pack in this directory; the one that is compiled in if there is none.
    ///
    /// # Errors
    /// Those of [`Pack::in_directory`] and [`Pack::shipped`].
    pub fn in_directory_or_shipped(root: Option<&Path>) -> Result<Pack> {
        root.map_or_else(Pack::shipped, Pack::in_directory)
    }

    /// The pack in a directory.
    ///
    /// # Errors
    /// The directory or a file in it cannot be read, or has mistakes.
    pub fn in_directory(root: &Path) -> Result<Pack> {
        let mut files = BTreeMap::new();
        gather(root, Path::new(""), &mut files)?;
        PackFiles { root: root.to_owned(), files }.read(true)
    }
}

/// The files of a pack, before they are read.
struct PackFiles {
    root: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

/// Reads `pack.yaml`, and the files in the directories of the languages, the exercises and the pictures.
fn gather(root: &Path, inner: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let directory = root.join(inner);
    let unread = |path: &Path, error: &std::io::Error| {
        Error::failed(text_with("lesson.pack.unread", &[("path", &printed(path))])).why(io_text(error))
    };
    let entries = std::fs::read_dir(&directory).map_err(|error| unread(&directory, &error))?;
    for entry in entries.flatten() {
        let inner = inner.join(entry.file_name());
        let name = inner.to_string_lossy().into_owned();
        let path = root.join(&inner);
        let is_ours =
            |part: &str| ["pack.yaml", "exercises", PICTURES].contains(&part) || LANGUAGES.contains(&part);
        if !is_ours(name.split('/').next().unwrap_or_default()) {
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(|error| unread(&path, &error))?;
        if metadata.is_dir() {
            gather(root, &inner, files)?;
        } else if !metadata.is_file() || metadata.len() > MAX_SIZE {
            return Err(Error::failed(text_with("lesson.pack.file", &[("path", &printed(&path))])));
        } else {
            files.insert(name, std::fs::read(&path).map_err(|error| unread(&path, &error))?);
        }
    }
    Ok(())
}

impl PackFiles {
    /// The files that are compiled in.
    fn shipped() -> PackFiles {
        let files = shipped::FILES.iter().flat_map(|files| files.iter());
        let files = files.map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        PackFiles { root: PathBuf::from("lessons"), files }
    }

    /// Reads all files. With `lints`, a pack must have everything that a lesson must have.
    fn read(&self, lints: bool) -> Result<Pack> {
        let mut mistakes =
            self.files.iter().filter_map(|(path, content)| unreadable(path, content)).collect::<Vec<_>>();
        let head = self.document::<PackHead>("pack.yaml", &mut mistakes);
        let mut lessons = Vec::new();
        for stem in self.stems() {
            lessons.extend(self.lesson(&stem, &mut mistakes));
        }
        let pictures = self.pictures(&mut mistakes);
        if let Some(head) = head.filter(|_| mistakes.is_empty()) {
            let pack = named(&head);
            lessons.iter_mut().for_each(|lesson: &mut Lesson| lesson.pack = pack.clone());
            let pack = Pack { head, lessons, pictures };
            if lints {
                lint::pack(&pack, &|path| self.text(path), &mut mistakes);
            }
            if mistakes.is_empty() {
                return Ok(pack);
            }
        }
        for mistake in &mut mistakes {
            mistake.file = printed(self.root.join(&mistake.file));
        }
        mistakes.truncate(crate::error::MAX_MISTAKES);
        Err(Error::mistakes(&printed(&self.root), mistakes))
    }

    /// The names of the lessons with their numbers: `02-pid`.
    fn stems(&self) -> Vec<String> {
        let mut stems: Vec<String> = self
            .files
            .keys()
            .filter_map(|path| path.split_once('/'))
            .filter(|(directory, name)| LANGUAGES.contains(directory) && !name.contains('/'))
            .filter_map(|(_, name)| name.strip_suffix(".md"))
            .map(str::to_owned)
            .collect();
        stems.sort_unstable();
        stems.dedup();
        stems
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(self.files.get(path).map_or(&[], Vec::as_slice)).into_owned()
    }

    fn document<T: serde::de::DeserializeOwned>(&self, path: &str, mistakes: &mut Vec<Mistake>) -> Option<T> {
        let Some(content) = self.files.get(path) else {
            mistakes.push(Mistake::whole(path, message("lesson.lint.missing")));
            return None;
        };
        if unreadable(path, content).is_some() {
            return None;
        }
        match yaml::read_document(&self.text(path), path) {
            Ok(document) => Some(document),
            Err(found) => {
                mistakes.extend(found);
                None
            }
        }
    }

    fn pictures(&self, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Shape> {
        let mut pictures = BTreeMap::new();
        for path in self.files.keys().filter(|path| path.ends_with(".svg")) {
            let Some(name) = path.strip_prefix(PICTURES).and_then(|name| name.strip_prefix('/')) else {
                continue;
            };
            match picture::read(&self.text(path), path) {
                Ok(shape) => drop(pictures.insert(name.to_owned(), shape)),
                Err(found) => mistakes.extend(found),
            }
        }
        pictures
    }

    fn lesson(&self, stem: &str, mistakes: &mut Vec<Mistake>) -> Option<Lesson> {
        let mut texts = BTreeMap::new();
        let mut is_whole = true;
        for language in LANGUAGES {
            let path = format!("{language}/{stem}.md");
            let Some(content) = self.files.get(&path) else { continue };
            if unreadable(&path, content).is_some() {
                is_whole = false;
                continue;
            }
            match text::read(&self.text(&path), &path) {
                Ok(text) => drop(texts.insert(language.to_owned(), text)),
                Err(found) => {
                    mistakes.extend(found);
                    is_whole = false;
                }
            }
        }
        let data = self.document::<LessonData>(&format!("exercises/{stem}.yaml"), mistakes)?;
        let Some((number, name)) = split_stem(stem) else {
            let path = format!("{}/{stem}.md", LANGUAGES[0]);
            mistakes.push(Mistake::whole(&path, message("lesson.lint.number")));
            return None;
        };
        let directory = format!("exercises/{stem}/");
        let files = self
            .files
            .iter()
            .filter_map(|(path, content)| Some((path.strip_prefix(&directory)?.to_owned(), content.clone())));
        is_whole.then(|| Lesson {
            name: name.to_owned(),
            number,
            pack: None,
            texts,
            data,
            files: files.collect(),
        })
    }
}

/// Why a file is no text that can be read: its encoding, or its line ends. Other files of an exercise can be anything.
fn unreadable(path: &str, content: &[u8]) -> Option<Mistake> {
    let is_markdown = path.ends_with(".md");
    if !is_markdown && !path.ends_with(".yaml") {
        return None;
    }
    let lossy = String::from_utf8_lossy(content);
    let at = |end: usize, key: &str| {
        let line = content[..end].iter().filter(|byte| **byte == b'\n').count() + 1;
        text::mistake(&lossy, path, line, message(key))
    };
    if let Err(error) = std::str::from_utf8(content) {
        return Some(at(error.valid_up_to(), "lesson.lint.utf8"));
    }
    (is_markdown && content.windows(2).any(|pair| pair == b"\r\n")).then(|| at(0, "lesson.lint.crlf"))
}

/// The name of the pack that is compiled in.
const SHIPPED: &str = "sandbox";

/// The name of a pack, if it is not the one that is compiled in.
fn named(head: &PackHead) -> Option<String> {
    Some(head.name.clone()).filter(|name| name != SHIPPED)
}

/// What is before the names of a pack's lessons in their keys. It is also a directory, so it has no separator of its own.
fn prefix(pack: &str) -> String {
    format!("{}/", pack.replace('/', "-").trim_start_matches('.'))
}

/// The number and the name of a lesson, from the name of its files: `02-pid`.
pub(super) fn split_stem(stem: &str) -> Option<(u32, &str)> {
    let (number, name) = stem.split_once('-')?;
    Some((number.parse().ok()?, name))
}

/// The path of a file of a lesson in its pack.
pub(super) fn path_of(lesson: &Lesson, language: &str) -> String {
    format!("{language}/{:02}-{}.md", lesson.number, lesson.name)
}
