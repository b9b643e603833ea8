//! `sandbox lesson export`: the lessons as HTML pages.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::lesson_named;
use crate::error::{Error, Result};
use crate::render;
use crate::render::page::{Edition, Page};
use crate::teach::course::pack::Pack;
use crate::teach::course::place::write;
use crate::teach::course::progress;
use crate::text::{printed, text, text_with};

/// Where the pages are put.
const DIRECTORY: &str = "sandbox-lessons";

/// How many bytes of a file are read to find out whether it is a page.
const HEAD: u64 = 4096;

/// The flags of `lesson export`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ExportArgs {
    /// Only this lesson: a name or a number; the default is all lessons, and a page of the course
    #[arg(value_name = "LESSON")]
    lesson: Option<String>,
    /// Write HTML pages, which is the only format
    #[arg(long)]
    html: bool,
    /// Write into this directory; `-` prints the page of one lesson
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    pub(super) to: PathBuf,
    /// With the solutions, the right answers, the minutes of each part and the notes for teachers
    #[arg(long)]
    instructor: bool,
    /// With the values of the student who has this seed, in place of examples
    #[arg(long, value_name = "SEED", value_parser = NonEmptyStringValueParser::new())]
    seed: Option<String>,
}

/// Writes the pages.
pub(super) fn run(pack: &Pack, language: &str, args: &ExportArgs) -> Result<u8> {
    let edition = Edition {
        pack,
        language,
        is_instructor: args.instructor,
        seed: args.seed.as_deref(),
        is_whole: args.lesson.is_none(),
    };
    let pages = match &args.lesson {
        Some(name) => {
            vec![edition.page(lesson_named(pack, name, |near| format!("sandbox lesson export {near}"))?)]
        }
        None => edition.pages(),
    };
    if args.to == Path::new("-") {
        let [page] = pages.as_slice() else {
            return Err(Error::usage(text("lesson.export.one")).paste("sandbox lesson export pid --to -"));
        };
        render::out(&page.content);
        return Ok(0);
    }
    // All files are looked at first, so that a refusal leaves every page as it was.
    for page in &pages {
        check(&args.to, &edition, page)?;
    }
    fs::create_dir_all(&args.to).map_err(|error| failed(&args.to, "mkdir", error))?;
    for page in &pages {
        write(&args.to.join(&page.name), page.content.as_bytes())?;
    }
    let first = pages.first().map(|page| args.to.join(&page.name)).unwrap_or_default();
    let (count, path) = (pages.len().to_string(), printed(first));
    let key = if pages.len() == 1 { "lesson.export.done.one" } else { "lesson.export.done" };
    render::out(&(text_with(key, &[("count", &count), ("path", &path)]) + "\n"));
    Ok(0)
}

/// Refuses to replace a file that is not a page of the same edition, and to mix pages with the progress of a learner.
fn check(directory: &Path, edition: &Edition<'_>, page: &Page) -> Result<()> {
    let refused = |key: &str, path: &Path| {
        Error::failed(text_with(key, &[("path", &printed(path))])).todo(text("lesson.export.todo"))
    };
    if directory.join(progress::FILE).exists() {
        return Err(refused("lesson.export.learner", directory));
    }
    let path = directory.join(&page.name);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&path, "lstat", error)),
    };
    let mut head = Vec::new();
    if metadata.is_file() {
        let read = fs::File::open(&path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
        read.map_err(|error| failed(&path, "open", error))?;
    }
    match String::from_utf8_lossy(&head).contains(&edition.mark()) {
        true => Ok(()),
        false => Err(refused("lesson.export.other", &path)),
    }
}

/// The error of a call on a path where pages cannot be written.
fn failed(path: &Path, call: &str, error: std::io::Error) -> Error {
    let path = printed(path);
    Error::failed(text_with("lesson.unwritten", &[("path", &path)]))
        .call(format!("{call}(\"{path}\")"), error)
}
