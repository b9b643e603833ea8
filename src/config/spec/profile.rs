//! Reads the file of a seccomp profile, with every mistake and its place.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::IgnoredAny;

use super::yaml;
use crate::error::{Error, Mistake, Result};
use crate::plan::call::c_string;
use crate::security::seccomp::{NamedProfile, ProfileFile, Seccomp};
use crate::text::{printed, text, text_with};

/// The maximum size of a profile in bytes. Docker's has 13 KiB.
const MAX_SIZE: u64 = 1024 * 1024;

/// What a profile without a file is called in messages.
const INLINE: &str = "seccomp.json";

/// The same value with the content of its file. A relative path begins at `base`.
///
/// # Errors
/// As [`read`].
pub fn resolve(seccomp: Seccomp, base: &Path) -> Result<Seccomp> {
    let Seccomp::File(file) = seccomp else { return Ok(seccomp) };
    let path = file.path_from(base);
    let content = read(&path)?;
    Ok(Seccomp::File(file.read(path, content)))
}

/// The filter of a profile whose text is on the command line itself, as Docker's client sends it.
///
/// # Errors
/// All mistakes of the profile.
pub fn inline(content: &str) -> Result<Seccomp> {
    let content = document(content, INLINE).map_err(|mistakes| Error::mistakes(INLINE, mistakes))?;
    Ok(Seccomp::File(NamedProfile::unread(INLINE.into()).read(INLINE.into(), content)))
}

/// Reads a profile. Only a regular file is read: a FIFO would wait for a writer, and a device may have no end.
///
/// # Errors
/// The file cannot be read; all mistakes of the profile.
pub fn read(path: &Path) -> Result<ProfileFile> {
    let name = &*printed(path);
    let failed = || Error::failed(text_with("seccomp.unread", &[("file", name)]));
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY);
    let opened = options.open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| {
        let error = failed().call(format!("open({})", c_string(path)), error);
        error.todo(text("seccomp.unread.todo"))
    })?;
    if !metadata.is_file() {
        return Err(failed().why(text("seccomp.irregular")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed().call(format!("read(<{name}>)"), error))?;
    let mistakes = |mistakes| Error::mistakes(name, mistakes);
    if bytes.len() as u64 > MAX_SIZE {
        let most = text_with("spec.long", &[("most", "1 MiB")]);
        return Err(mistakes(vec![Mistake::whole(name, most)]));
    }
    let Ok(content) = std::str::from_utf8(&bytes) else {
        return Err(mistakes(vec![Mistake::whole(name, text("spec.utf8"))]));
    };
    document(content, name).map_err(mistakes)
}

/// Reads the text of a profile.
fn document(content: &str, name: &str) -> std::result::Result<ProfileFile, Vec<Mistake>> {
    // The reader of specs gives each mistake its place. It reads YAML, in which almost every JSON document has the same
    // meaning. What is no JSON is refused before. A tab between two values is JSON, but no YAML.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(content) {
        return Err(vec![syntax(content, name, &error)]);
    }
    let content = &content.replace('\t', " ");
    let file: ProfileFile = yaml::read_document(content, name)?;
    match file.contradiction() {
        Some((key, what)) => Err(yaml::mistake_of(content, name, key, &what).into_iter().collect()),
        None => Ok(file),
    }
}

/// A mistake in the syntax of JSON.
fn syntax(content: &str, name: &str, error: &serde_json::Error) -> Mistake {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let source = content.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    // serde_json counts bytes.
    let before = source.get(..error.column().saturating_sub(1)).unwrap_or(source);
    Mistake {
        line: error.line().max(1),
        column: before.chars().count() + 1,
        source: source.into(),
        ..Mistake::whole(name, text_with("seccomp.json", &[("error", message)]))
    }
}
