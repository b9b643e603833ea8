//! What the layers of an image have at each path: read from their archives, and put together as an overlay does.
//!
//! A whiteout `.wh.NAME` deletes what lower layers have of that name. `.wh..wh..opq` hides all that lower layers have in its directory.
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

use super::decompress::decompressed;
use super::digest::{Digest, Digesting};
use super::entries::{ArchiveEntries, ArchiveEntry, EntryKind, Unreadable};
use super::manifest::check_layers;
use super::store::{ImageStore, StoredImage};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::{text, text_with};

/// How the name of a mark of a deleted file begins.
const WHITEOUT: &[u8] = b".wh.";

/// The name of the mark of a directory that hides what lower layers have in it.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The maximum number of symbolic links that are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// A path in an image, without the first slash, without links. The root is empty.
pub type ImagePath = Vec<u8>;

/// A file of a layer, as its archive has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// What it is.
    pub kind: EntryKind,
    /// The permissions.
    pub mode: u32,
    /// The owner and the group.
    pub owner: (u32, u32),
    /// The size of its content.
    pub size: u64,
    /// The digest of its content.
    pub content: Option<Digest>,
    /// The target of a symbolic link.
    pub link: Vec<u8>,
    /// The number of a device.
    pub device: (u32, u32),
    /// The extended attributes, by their names.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a layer does to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerChange {
    /// It has a file there.
    Has(LayerFile),
    /// It marks what lower layers have there as deleted.
    Deletes,
    /// It replaces or hides a directory above, so what lower layers have there is not seen.
    Hides,
}

/// What the layers of an image do, path by path. Layers have numbers from 1, the lowest first.
#[derive(Debug, Default)]
pub struct ImageContents {
    changes: BTreeMap<ImagePath, Vec<(usize, LayerChange)>>,
    /// The number of layers.
    pub layers: usize,
}

impl ImageContents {
    /// Reads the archives of all layers of an image.
    ///
    /// # Errors
    /// A layer cannot be read.
    pub fn of(store: &ImageStore, image: &StoredImage) -> Result<ImageContents> {
        let parts = store.parts(&image.descriptor)?;
        check_layers(&parts.manifest, &parts.config, &image.id.to_string())?;
        let mut contents = ImageContents::default();
        for layer in &parts.manifest.layers {
            let blob = store.blob(&layer.digest)?;
            let wrong = |why: String| {
                let what = text_with("image.contents.unread", &[("digest", &layer.digest.to_string())]);
                Error::new(ExitKind::Refused, what).why(why)
            };
            let archive = decompressed(blob).map_err(|error| wrong(io_text(&error)))?;
            contents.add_layer(archive).map_err(|Unreadable(why)| wrong(why))?;
        }
        Ok(contents)
    }

    fn add_layer(&mut self, archive: impl Read) -> std::result::Result<(), Unreadable> {
        self.layers += 1;
        let mut entries = ArchiveEntries::new(archive);
        while let Some(entry) = entries.next_entry()? {
            let mut parts: Vec<&[u8]> =
                entry.name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
            let Some(name) = parts.pop() else {
                self.put(Vec::new(), file_of(&entry, None));
                continue;
            };
            let Some(directory) = self.resolve(parts.iter().map(|part| part.to_vec()).collect()) else {
                return Err(Unreadable(text("image.tar.loop")));
            };
            if name == OPAQUE {
                self.hide_below(&directory, &LayerChange::Hides);
            } else if let Some(deleted) = name.strip_prefix(WHITEOUT) {
                // Marks of old storage drivers, as .wh..wh.plnk, say nothing.
                if !deleted.starts_with(WHITEOUT) {
                    self.delete(join(&directory, deleted));
                }
            } else {
                self.make_directories(&directory);
                let path = join(&directory, name);
                let file = match entry.kind {
                    EntryKind::File => {
                        let mut content = Digesting::new(io::sink());
                        io::copy(&mut entries, &mut content)?;
                        file_of(&entry, Some(content.digester.finish()))
                    }
                    EntryKind::HardLink => match self.linked(&entry.link) {
                        Some(target) => target,
                        None => file_of(&entry, None),
                    },
                    _ => file_of(&entry, None),
                };
                self.put(path, file);
            }
        }
        Ok(())
    }

    /// What is seen at a path, with the number of its layer.
    pub fn at(&self, path: &[u8]) -> Option<(usize, &LayerFile)> {
        match self.changes.get(path)?.last()? {
            (layer, LayerChange::Has(file)) => Some((*layer, file)),
            _ => None,
        }
    }

    /// What each layer does to a path, the lowest first.
    pub fn changes(&self, path: &[u8]) -> &[(usize, LayerChange)] {
        self.changes.get(path).map_or(&[], Vec::as_slice)
    }

    /// All that is seen, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&ImagePath, &LayerFile)> {
        self.changes.keys().filter_map(|path| Some((path, self.at(path)?.1)))
    }

    /// Where a path leads. The links of its directories are followed, its last part is not. None: there are too many links.
    pub fn place_of(&self, path: &[u8]) -> Option<ImagePath> {
        let mut parts: VecDeque<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        while parts.back().is_some_and(|part| matches!(part.as_slice(), b"" | b".")) {
            parts.pop_back();
        }
        match parts.pop_back() {
            None => Some(Vec::new()),
            Some(name) if name == b".." => {
                parts.push_back(name);
                self.resolve(parts)
            }
            Some(name) => Some(join(&self.resolve(parts)?, &name)),
        }
    }

    /// The directory that a path leads to, also if it does not exist. None: there are too many links.
    fn resolve(&self, mut left: VecDeque<Vec<u8>>) -> Option<ImagePath> {
        let (mut at, mut links) = (Vec::new(), 0);
        while let Some(part) = left.pop_front() {
            match part.as_slice() {
                b"" | b"." => {}
                b".." => at = parent(&at),
                name => {
                    let next = join(&at, name);
                    match self.at(&next) {
                        Some((_, file)) if file.kind == EntryKind::Symlink => {
                            links += 1;
                            if links > MAX_LINKS {
                                return None;
                            }
                            if file.link.starts_with(b"/") {
                                at = Vec::new();
                            }
                            let target = file.link.split(|byte| *byte == b'/').rev();
                            target.for_each(|part| left.push_front(part.to_vec()));
                        }
                        _ => at = next,
                    }
                }
            }
        }
        Some(at)
    }

    /// The file that a hard link is a further name of.
    fn linked(&self, target: &[u8]) -> Option<LayerFile> {
        Some(self.at(&self.place_of(target)?)?.1.clone())
    }

    fn note(&mut self, path: ImagePath, change: LayerChange) {
        let layer = self.layers;
        let changes = self.changes.entry(path).or_default();
        // A later entry of the same layer replaces an earlier one.
        changes.retain(|(own, _)| *own != layer);
        changes.push((layer, change));
    }

    fn put(&mut self, path: ImagePath, file: LayerFile) {
        // What was in a directory is not seen any more if the layer has something else there.
        if file.kind != EntryKind::Directory
            && self.at(&path).is_some_and(|(_, old)| old.kind == EntryKind::Directory)
        {
            self.hide_all_below(&path);
        }
        self.note(path, LayerChange::Has(file));
    }

    /// Directories that the layer has no entry for.
    fn make_directories(&mut self, directory: &[u8]) {
        let slashes = directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let paths: Vec<ImagePath> =
            slashes.chain([directory.len()]).map(|at| directory[..at].to_vec()).collect();
        for path in paths.into_iter().filter(|path| !path.is_empty()) {
            if self.at(&path).is_none_or(|(_, file)| file.kind != EntryKind::Directory) {
                self.put(path, LayerFile::directory());
            }
        }
    }

    fn delete(&mut self, path: ImagePath) {
        let is_lower =
            |contents: &ImageContents| contents.at(&path).is_some_and(|(layer, _)| layer < contents.layers);
        if is_lower(self) {
            self.hide_below(&path, &LayerChange::Hides);
            self.note(path, LayerChange::Deletes);
        }
    }

    fn below(&self, directory: &[u8]) -> Vec<(ImagePath, usize)> {
        let prefix = if directory.is_empty() { Vec::new() } else { join(directory, b"") };
        let range = self.changes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let found = range.filter(|(path, _)| !path.is_empty());
        found.filter_map(|(path, _)| Some((path.clone(), self.at(path)?.0))).collect()
    }

    /// What lower layers have in a directory is not seen any more.
    fn hide_below(&mut self, directory: &[u8], change: &LayerChange) {
        let layer = self.layers;
        for (path, own) in self.below(directory) {
            if own < layer {
                self.note(path, change.clone());
            }
        }
    }

    fn hide_all_below(&mut self, directory: &[u8]) {
        for (path, _) in self.below(directory) {
            self.note(path, LayerChange::Hides);
        }
    }
}

impl LayerFile {
    fn directory() -> LayerFile {
        LayerFile {
            kind: EntryKind::Directory,
            mode: 0o755,
            owner: (0, 0),
            size: 0,
            content: None,
            link: Vec::new(),
            device: (0, 0),
            attributes: Vec::new(),
        }
    }
}

fn file_of(entry: &ArchiveEntry, content: Option<Digest>) -> LayerFile {
    let mut attributes = entry.attributes.clone();
    attributes.sort();
    LayerFile {
        // The target of a hard link that leads nowhere has no entry: the layer cannot be unpacked either.
        kind: if entry.kind == EntryKind::HardLink { EntryKind::File } else { entry.kind },
        mode: entry.mode,
        owner: (entry.uid, entry.gid),
        size: entry.size,
        content,
        link: if entry.kind == EntryKind::Symlink { entry.link.clone() } else { Vec::new() },
        device: entry.device,
        attributes,
    }
}

fn join(directory: &[u8], name: &[u8]) -> ImagePath {
    match directory {
        [] => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn parent(path: &[u8]) -> ImagePath {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path[..slash].to_vec()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::tar_writer::ArchiveWriter;

    /// A layer of these files: `d/` is a directory, `a->b` a link, `a=1` a file with a content, `a==b` a hard link.
    fn layer(files: &[&str]) -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new());
        for file in files {
            let (kind, name, link, content) = match (file.split_once("->"), file.split_once("==")) {
                (Some((name, link)), _) => (EntryKind::Symlink, name, link, ""),
                (_, Some((name, link))) => (EntryKind::HardLink, name, link, ""),
                _ if file.ends_with('/') => (EntryKind::Directory, *file, "", ""),
                _ => {
                    let (name, content) = file.split_once('=').unwrap_or((file, ""));
                    (EntryKind::File, name, "", content)
                }
            };
            let entry = ArchiveEntry {
                kind,
                name: name.into(),
                link: link.into(),
                size: content.len() as u64,
                mode: 0o755,
                uid: 0,
                gid: 0,
                mtime: (0, 0),
                device: (0, 0),
                attributes: Vec::new(),
            };
            writer.entry(&entry, &mut content.as_bytes()).unwrap();
        }
        writer.finish().unwrap()
    }

    pub(in crate::image) fn image(layers: &[&[&str]]) -> ImageContents {
        let mut contents = ImageContents::default();
        layers.iter().for_each(|files| contents.add_layer(&layer(files)[..]).unwrap());
        contents
    }

    fn seen(contents: &ImageContents) -> Vec<String> {
        contents.files().map(|(path, _)| String::from_utf8(path.clone()).unwrap()).collect()
    }

    #[test]
    fn layers_are_put_together_as_an_overlay_does() {
        for (layers, wanted) in [
            (&[&["a=1", "b"][..], &[".wh.a"]][..], &["b"][..]),
            // The order of the entries of a layer does not matter.
            (&[&["d/", "d/old"], &["d/new", "d/.wh..wh..opq"]], &["d", "d/new"]),
            (&[&["d/", "d/old", "d/e/", "d/e/old"], &[".wh.d"]], &[]),
            (&[&["d/", "d/old"], &[".wh.d", "d/", "d/new"]], &["d", "d/new"]),
            (&[&["d/", "d/new"], &["d/", "d/new", ".wh.d"]], &["d", "d/new"]),
            (&[&["d/", "d/old"], &["d=file"]], &["d"]),
            (&[&["d=file"], &["d/", "d/x"]], &["d", "d/x"]),
            // Through a link of a lower layer, and out of the root, which is no way out.
            (&[&["usr/", "usr/lib/", "lib->usr/lib"], &["lib/so"]], &["lib", "usr", "usr/lib", "usr/lib/so"]),
            (&[&["up->../../etc", "etc/"], &["up/x"]], &["etc", "etc/x", "up"]),
            (&[&["x/y/z"]], &["x", "x/y", "x/y/z"]),
            (&[&["a=1", "ab=1", "a.b=1"], &[".wh.a", ".wh..wh.plnk"]], &["a.b", "ab"]),
            (&[&["a"], &[".wh.a"], &["a"]], &["a"]),
            (&[&["x"], &[".wh..wh..opq", "y"]], &["y"]),
        ] {
            assert_eq!(seen(&image(layers)), wanted, "{layers:?}");
        }
        let mut loops = ImageContents::default();
        assert!(loops.add_layer(&layer(&["a->a", "a/x"])[..]).is_err());
    }

    #[test]
    fn each_layer_of_a_path_is_known() {
        let contents = image(&[
            &["etc/", "etc/motd=1", "bin->usr/bin"],
            &["etc/motd=22"],
            &["etc/.wh.motd"],
            &["usr/bin/x"],
        ]);
        let changes: Vec<(usize, &str)> = contents
            .changes(b"etc/motd")
            .iter()
            .map(|(layer, change)| {
                let word = match change {
                    LayerChange::Has(_) => "has",
                    LayerChange::Deletes => "deletes",
                    LayerChange::Hides => "hides",
                };
                (*layer, word)
            })
            .collect();
        assert_eq!(changes, [(1, "has"), (2, "has"), (3, "deletes")]);
        assert_eq!(contents.at(b"etc/motd"), None);
        assert_eq!(contents.place_of(b"/bin/./x/").unwrap(), b"usr/bin/x");
        assert_eq!(contents.place_of(b"/bin").unwrap(), b"bin");
        assert_eq!(contents.place_of(b"/etc/../bin/..").unwrap(), b"usr");
        assert_eq!(contents.place_of(b"/").unwrap(), b"");
    }
}
