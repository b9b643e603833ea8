//! `COPY` and `ADD`: finds what the sources mean and where the destination leads, and writes the layer.
//!
//! | the source is | it is copied to |
//! |---|---|
//! | a directory | what is in it, into the destination, which is a directory. A new one has the mode 755 |
//! | a file, and the destination ends with `/`, is a directory, or there are several sources | into the destination, with its name |
//! | a file | the destination itself |
//!
//! The destination is resolved in the files of the image, through all layers: its links lead nowhere else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::context::{BuildContext, ContextError, ContextFile, joined};
use super::copied::{CopiedAs, CopiedLayer};
use super::fetched::FetchedSource;
use super::ignore::IgnoreRules;
use super::layer_files::LayerFiles;
use super::place::{self, CopyTarget};
use super::stop::StopFlag;
use super::unpacked::{archive_in, archive_of, unpack_at};
use crate::image::digest::Digest;
use crate::image::entries::{ArchiveEntry, EntryKind};
use crate::image::layer::{PathPlace, PlaceKind};
use crate::image::path_pattern as pattern;
use crate::text::{printed, text, text_with};

/// Where the sources are.
pub enum SourceFiles<'s> {
    /// In the context.
    Context(&'s BuildContext),
    /// In an image or a stage.
    Layers(LayerFiles<'s>),
}

/// What is copied. All words are expanded.
pub struct CopyRequest<'r> {
    /// The sources: paths with patterns.
    pub sources: Vec<String>,
    /// Where they are.
    pub files: SourceFiles<'r>,
    /// Whether the directories of a source are made in the destination too. `/./` in a source is where they begin.
    pub parents: bool,
    /// Files of servers.
    pub fetched: Vec<FetchedSource>,
    /// Files whose content is in the Dockerfile: the name and the content.
    pub texts: Vec<(String, String)>,
    /// The files of the stage, in which the destination is.
    pub target: LayerFiles<'r>,
    /// Where it is copied to, relative to the root.
    pub destination: String,
    /// The owner and the mode.
    pub copied_as: CopiedAs,
    /// Whether archives of the context are unpacked.
    pub unpacks: bool,
    /// Whether archives of servers are.
    pub unpacks_fetched: bool,
    /// The files that are left out, relative to the source.
    pub excluded: IgnoreRules,
    /// The time of what has no other one.
    pub now: (i64, u32),
    /// What ends the copy early.
    pub stops: &'r StopFlag,
}

/// What a source means.
enum CopySource {
    Context(ContextFile),
    /// The place, and the last part of the path that was asked for.
    Layers(PathPlace, Vec<u8>),
}

impl CopySource {
    fn is_directory(&self) -> bool {
        match self {
            CopySource::Context(file) => file.is_directory(),
            CopySource::Layers(place, _) => place.kind == PlaceKind::Directory,
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            CopySource::Context(file) => file.name(),
            CopySource::Layers(_, name) => name,
        }
    }
}

/// A source, and its path below the destination with `--parents`.
struct FoundSource {
    source: CopySource,
    kept: Vec<u8>,
}

/// The mode of a file of a server: Docker's.
const FETCHED_MODE: u32 = 0o600;

impl CopyRequest<'_> {
    /// Writes the layer to `output`. Returns it, the digest of the content, and whether there is anything.
    ///
    /// # Errors
    /// A source does not exist, or something cannot be read or written.
    pub fn write<W: Write + Send>(&self, output: W) -> Result<(W, Digest, bool), ContextError> {
        let mut found = Vec::new();
        for source in &self.sources {
            found.extend(self.find(source)?);
        }
        // With --parents it is no mistake, as in BuildKit: the destination is made.
        if found.is_empty() && self.texts.is_empty() && self.fetched.is_empty() && !self.parents {
            let source = self.sources.join(" ");
            let why = text_with("build.copy.nothing", &[("source", &printed(&source))]);
            return Err(ContextError::Source(source, why));
        }
        let target = self.target(&found)?;
        let mut layer = CopiedLayer::new(output, self.copied_as.clone(), self.now, self.stops);
        if self.parents {
            layer.directories(&target.existing, &target.rest)?;
        }
        let mut others: BTreeMap<Vec<u8>, CopyTarget> = BTreeMap::new();
        for FoundSource { source, kept } in &found {
            if !self.parents {
                self.copy(source, &target, &mut layer)?;
                continue;
            }
            let above = if source.is_directory() { &kept[..] } else { directory_of(kept) };
            if !others.contains_key(above) {
                let place = [self.destination.as_bytes(), b"/", above, b"/"].concat();
                others.insert(above.to_owned(), self.target_at(&place, true)?);
            }
            self.copy(source, &others[above], &mut layer)?;
        }
        for FetchedSource { name, file, size, mtime } in &self.fetched {
            if target.is_directory && name.is_empty() {
                return Err(ContextError::Wrong(text("build.add.noname")));
            }
            if self.unpacks_fetched
                && let Some(archive) = archive_in(file, name)?
            {
                unpack_at((archive, name), &target, &mut layer)?;
                continue;
            }
            let path = self.place(&target, name, &mut layer)?;
            let entry = ArchiveEntry { mode: FETCHED_MODE, ..text_entry(path, *size, *mtime) };
            layer.add(entry, None, &mut &*file).map_err(|error| error.of(name))?;
        }
        for (name, content) in &self.texts {
            let path = self.place(&target, name.as_bytes(), &mut layer)?;
            let entry = text_entry(path, content.len() as u64, self.now);
            layer.add(entry, None, &mut content.as_bytes())?;
        }
        let targets = [&target].into_iter().chain(others.values());
        place::check(&self.target, targets, &layer.copied, layer.twice.as_deref())?;
        let count = layer.count;
        let (output, content) = layer.finish().map_err(ContextError::Unwritten)?;
        Ok((output, content, count > 0))
    }

    /// The name of the only source, if it is no directory.
    ///
    /// # Errors
    /// It does not exist.
    pub fn file_name(&self) -> Result<Option<String>, ContextError> {
        let found = self.sources.first().map(|source| self.find(source)).transpose()?.unwrap_or_default();
        let file = found.first().filter(|found| !found.source.is_directory());
        Ok(file.map(|file| String::from_utf8_lossy(file.source.name()).into_owned()))
    }

    /// What a source means: at least one thing, unless it is a pattern.
    fn find(&self, source: &str) -> Result<Vec<FoundSource>, ContextError> {
        let path = match &self.files {
            SourceFiles::Context(_) => clean(source.as_bytes()).ok_or_else(|| outside(source))?,
            // As for every process in the image, the directory above its root is the root.
            SourceFiles::Layers(_) => clean_inside(source.as_bytes()),
        };
        check_pattern(source, &path)?;
        // The parts of the path that are not made in the destination.
        let before = source.find("/./").and_then(|at| clean(&source.as_bytes()[..at])).unwrap_or_default();
        let strip = before.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count();
        let found = |source: CopySource, path: &[u8]| {
            let kept = path.split(|byte| *byte == b'/').skip(strip).collect::<Vec<_>>().join(&b'/');
            FoundSource { source, kept }
        };
        let is_pattern = path.split(|byte| *byte == b'/').any(pattern::has_meta);
        // There is no file where a path leads to.
        let absent = |path: &[u8]| {
            let key = match &self.files {
                SourceFiles::Context(_) => "build.copy.absent",
                SourceFiles::Layers(_) => "build.copy.absent.layers",
            };
            let shown = if is_pattern { OsStr::from_bytes(path) } else { source.as_ref() };
            ContextError::Source(source.to_owned(), text_with(key, &[("source", &printed(shown))]))
        };
        let mut all = Vec::new();
        match &self.files {
            SourceFiles::Context(context) => {
                let paths =
                    context.expand(&path, self.parents).map_err(|errno| unread(source.as_bytes(), errno))?;
                for path in paths {
                    match context.find(&path).map_err(|errno| unread(&path, errno))? {
                        Some(file) => all.push(found(CopySource::Context(file), &path)),
                        // As with Docker, a pattern does not leave out a link that leads to nothing.
                        None if !self.parents && context.has_link(&path) => return Err(absent(&path)),
                        None => {}
                    }
                }
            }
            SourceFiles::Layers(files) => {
                for path in files.expand(&path, self.parents)? {
                    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_owned();
                    match files.find(&path)? {
                        Some(place) => all.push(found(CopySource::Layers(place, name), &path)),
                        // A pattern means only names that exist: this one is a link that leads to nothing.
                        None if !self.parents => return Err(absent(&path)),
                        None => {}
                    }
                }
            }
        }
        // A pattern may match nothing, if another source exists.
        if all.is_empty() && !is_pattern {
            return Err(absent(&path));
        }
        Ok(all)
    }

    /// Where the files are written to.
    fn target(&self, found: &[FoundSource]) -> Result<CopyTarget, ContextError> {
        let count = found.len() + self.texts.len() + self.fetched.len();
        let has_directory = found.iter().any(|found| found.source.is_directory());
        self.target_at(self.destination.as_bytes(), count > 1 || has_directory || self.parents)
    }

    fn target_at(&self, written: &[u8], needs_directory: bool) -> Result<CopyTarget, ContextError> {
        CopyTarget::of(&self.target, (written, &self.destination), needs_directory)
    }

    /// The path of a file of this name. The directories above are made.
    fn place<W: Write>(
        &self,
        target: &CopyTarget,
        name: &[u8],
        layer: &mut CopiedLayer<'_, W>,
    ) -> Result<Vec<u8>, ContextError> {
        let whole = joined(&target.existing, &target.rest);
        if target.is_directory {
            layer.directories(&target.existing, &target.rest)?;
            return Ok(joined(&whole, name));
        }
        let above =
            target.rest.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |at| &target.rest[..at]);
        layer.directories(&target.existing, above)?;
        Ok(whole)
    }

    fn copy<W: Write + Send>(
        &self,
        source: &CopySource,
        target: &CopyTarget,
        layer: &mut CopiedLayer<'_, W>,
    ) -> Result<(), ContextError> {
        if let (CopySource::Context(file), SourceFiles::Context(context), true) =
            (source, &self.files, self.unpacks)
            && !source.is_directory()
            && let Some(archive) = archive_of(context, file)?
        {
            return unpack_at((archive, file.path()), target, layer);
        }
        let is_directory = source.is_directory();
        let base = match is_directory {
            // Only what is in it is copied. It gives neither its mode nor its owner to the destination.
            true => {
                layer.directories(&target.existing, &target.rest)?;
                joined(&target.existing, &target.rest)
            }
            false => self.place(target, source.name(), layer)?,
        };
        match (source, &self.files) {
            (CopySource::Context(file), SourceFiles::Context(context)) => {
                context.walk(file, &mut |below, mut entry, stat, content| {
                    if below.is_empty() && is_directory {
                        return Ok(());
                    }
                    if self.is_excluded(below, file.name()) {
                        return Ok(());
                    }
                    entry.name = joined(&base, below);
                    let is_linked = entry.kind == EntryKind::File && stat.st_nlink > 1;
                    let inode = is_linked.then_some((stat.st_dev, stat.st_ino));
                    layer.add(entry, inode, content).map_err(|error| error.of(&joined(file.path(), below)))
                })
            }
            (CopySource::Layers(place, _), SourceFiles::Layers(files)) => {
                let strip = place.place.file_name().map_or(0, |name| name.len());
                let rest = |name: &[u8]| {
                    let rest = name.get(strip..).unwrap_or_default();
                    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
                    rest.strip_suffix(b"/").unwrap_or(rest).to_owned()
                };
                let above = place.place.parent().unwrap_or(Path::new("")).to_owned();
                // The new first names of files whose first name is left out.
                let mut firsts: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
                files.tree(&place.place, |mut entry, content| {
                    let is_root = entry.name.strip_suffix(b"/").unwrap_or(&entry.name).len() == strip;
                    if is_root && is_directory {
                        return Ok(());
                    }
                    let (written, below) = (entry.name.clone(), rest(&entry.name));
                    if self.is_excluded(&below, source.name()) {
                        return Ok(());
                    }
                    entry.name = joined(&base, &below);
                    if entry.kind == EntryKind::HardLink {
                        let first = rest(&entry.link);
                        entry.link = match firsts.get(&first) {
                            Some(new) => new.clone(),
                            None if self.is_excluded(&first, source.name()) => {
                                firsts.insert(first, entry.name.clone());
                                let own = above.join(OsStr::from_bytes(&written));
                                return files.tree(&own, |mut file, content| {
                                    file.name.clone_from(&entry.name);
                                    layer.add(file, None, content).map_err(ContextError::from)
                                });
                            }
                            None => joined(&base, &first),
                        };
                    }
                    // Without --chown, files of an image keep their owners.
                    layer.add(entry, None, content).map_err(ContextError::from)
                })
            }
            _ => Ok(()),
        }
    }
}

impl CopyRequest<'_> {
    fn is_excluded(&self, below: &[u8], name: &[u8]) -> bool {
        self.excluded.is_ignored(if below.is_empty() { name } else { below })
    }
}

/// Checks the pattern of a source.
fn check_pattern(source: &str, path: &[u8]) -> Result<(), ContextError> {
    let mut is_pattern = false;
    for part in path.split(|byte| *byte == b'/') {
        // What follows a pattern is one too.
        is_pattern |= pattern::has_meta(part);
        if is_pattern && pattern::matches(part, b"").is_none() {
            let backslashes = part.iter().rev().take_while(|byte| **byte == b'\\').count();
            let why = match backslashes % 2 {
                1 => text("dockerfile.pattern"),
                _ => text_with("build.copy.bracket", &[("source", &printed(source))]),
            };
            return Err(ContextError::Source(source.to_owned(), why));
        }
    }
    Ok(())
}

/// The path of the directory above.
fn directory_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(&[], |at| &path[..at])
}

/// A path without `.`, `..` and slashes at its ends. None: it leads out of the root.
pub fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// The same for a path in an image, where `..` of the root is the root.
pub fn clean_inside(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

fn outside(source: &str) -> ContextError {
    let why = text_with("build.copy.outside", &[("source", &printed(source))]);
    ContextError::Source(source.to_owned(), why)
}

pub(super) fn unread(path: &[u8], errno: rustix::io::Errno) -> ContextError {
    ContextError::Unread(path.to_owned(), errno.into())
}

fn text_entry(name: Vec<u8>, size: u64, mtime: (i64, u32)) -> ArchiveEntry {
    ArchiveEntry {
        kind: EntryKind::File,
        name,
        link: Vec::new(),
        size,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime,
        device: (0, 0),
        attributes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cleaned_and_does_not_lead_out() {
        let cleaned = |path: &str| clean(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        for (path, wanted) in
            [("/", ""), (".", ""), ("a//b/./c/", "a/b/c"), ("/a/../b", "b"), ("a/b/..", "a")]
        {
            assert_eq!(cleaned(path).as_deref(), Some(wanted), "{path}");
        }
        for path in ["..", "/..", "a/../../b"] {
            assert_eq!(cleaned(path), None, "{path}");
        }
    }
}
