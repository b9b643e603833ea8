//! The files of an image or a stage: where its paths lead, and what is there. A process that is confined to the layers reads them.

use std::ffi::OsStr;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::context::{ContextError, joined};
use crate::error::io_text;
use crate::image::entries::{ArchiveEntries, ArchiveEntry};
use crate::image::layer::{self, LayerReading, PathPlace, PlaceKind, ReachedPlace};
use crate::image::path_pattern as pattern;
use crate::plan::call::user::IdMaps;

/// Directories of layers, the topmost first, and the ID maps in which their files have their owners.
#[derive(Debug, Clone, Copy)]
pub struct LayerFiles<'l> {
    /// The directories.
    pub layers: &'l [PathBuf],
    /// The maps.
    pub maps: Option<&'l IdMaps>,
}

impl LayerFiles<'_> {
    fn read<T: Send>(
        &self,
        reading: LayerReading,
        take: impl FnOnce(io::PipeReader) -> T + Send,
    ) -> Result<T, ContextError> {
        layer::read_to(reading, self.layers, self.maps, take)
            .map_err(|error| ContextError::Wrong(format!("{error}: {}", error.reasons())))
    }

    fn answer<A: serde::de::DeserializeOwned>(&self, reading: LayerReading) -> Result<A, ContextError> {
        let bytes = self.read(reading, |mut pipe| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).map(|_| bytes)
        })?;
        let bytes = bytes.map_err(|error| ContextError::Wrong(io_text(&error)))?;
        serde_json::from_slice(&bytes).map_err(|error| ContextError::Wrong(error.to_string()))
    }

    /// How far a path leads.
    ///
    /// # Errors
    /// The layers cannot be read.
    pub fn reach(&self, path: &[u8]) -> Result<ReachedPlace, ContextError> {
        let path = Path::new(OsStr::from_bytes(path));
        if self.layers.is_empty() || path.as_os_str().is_empty() {
            let kind = if path.as_os_str().is_empty() { PlaceKind::Directory } else { PlaceKind::Nothing };
            return Ok(ReachedPlace { directory: PathBuf::new(), rest: path.to_owned(), kind });
        }
        self.answer(LayerReading::Reach(path.to_owned()))
    }

    /// What is at each of these paths. No link is followed.
    pub(super) fn kinds(&self, paths: Vec<PathBuf>) -> Result<Vec<PlaceKind>, ContextError> {
        match self.layers.is_empty() {
            true => Ok(vec![PlaceKind::Nothing; paths.len()]),
            false => self.answer(LayerReading::Kinds(paths)),
        }
    }

    /// What a path leads to. None: nothing.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<PathPlace>, ContextError> {
        if self.layers.is_empty() {
            return Ok(None);
        }
        let path = PathBuf::from(OsStr::from_bytes(path));
        let found: Option<PathPlace> = self.answer(LayerReading::Place { path, follows: true })?;
        Ok(found.filter(|found| found.kind != PlaceKind::Nothing))
    }

    /// The paths that a pattern means. With `is_deep`, `**` is any number of directories.
    pub(super) fn expand(&self, written: &[u8], is_deep: bool) -> Result<Vec<Vec<u8>>, ContextError> {
        let parts: Vec<&[u8]> = written.split(|byte| *byte == b'/').collect();
        let Some(first) = parts.iter().position(|part| pattern::has_meta(part)) else {
            return Ok(vec![written.to_owned()]);
        };
        let above = parts[..first].join(&b'/');
        let Some(directory) = self.find(&above)? else { return Ok(Vec::new()) };
        let strip = directory.place.file_name().map_or(0, |name| name.len() + 1);
        let mut all = std::collections::BTreeSet::new();
        self.tree(&directory.place, |entry, _| {
            let name = entry.name.get(strip..).unwrap_or_default();
            let own: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
            if pattern::matches_parts(&parts[first..], &own, is_deep) {
                all.insert(joined(&above, &own.join(&b'/')));
            }
            Ok(())
        })?;
        let all = all.into_iter().collect();
        Ok(if is_deep { pattern::without_nested(all) } else { all })
    }

    /// Visits what is at a place.
    pub(super) fn tree(
        &self,
        place: &Path,
        visit: impl FnMut(ArchiveEntry, &mut dyn Read) -> Result<(), ContextError> + Send,
    ) -> Result<(), ContextError> {
        let name = place.file_name().map(PathBuf::from).unwrap_or_default();
        let reading = LayerReading::Tree { path: place.to_owned(), name };
        self.read(reading, |pipe| each_entry(BufReader::new(pipe), visit))?
    }
}

/// Visits the entries of an archive.
pub(super) fn each_entry(
    archive: impl Read,
    mut visit: impl FnMut(ArchiveEntry, &mut dyn Read) -> Result<(), ContextError>,
) -> Result<(), ContextError> {
    let mut entries = ArchiveEntries::new(archive);
    let wrong = |error: crate::image::entries::Unreadable| ContextError::Wrong(error.0);
    while let Some(entry) = entries.next_entry().map_err(wrong)? {
        visit(entry, &mut entries)?;
    }
    entries.finish().map_err(wrong)
}
